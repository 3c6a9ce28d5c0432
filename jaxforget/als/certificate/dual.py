"""The gradient of the implicit objective as an operator, split along a pair of bases.

All of it is scaled so that every ridge is 1: a dual point is then feasible if its largest singular
value is at most 1. With bases ``left`` and ``right``, the remainder of G is
``N = (1 - left left') G (1 - right right')``. Nothing here holds a ``[U, I]`` array.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget.als.certificate import lanczos
from jaxforget.sparse.kernels import spmm
from jaxforget.types import Interactions

CHUNK = 256  # columns of N'N that cholesky_bound forms at a time

# Square of the smallest singular value of N that is worth a column of the bases: only values near
# 1, where a dual point ceases to be feasible, matter to the bound.
SMALLEST_USEFUL = 0.25


class Gradient(NamedTuple):
    """``G = C o (P - M)``: a sparse matrix minus one of low rank."""

    train: Interactions
    values: Array  # [N] of the sparse matrix
    users: Array  # [U, D] of M, the low-rank matrix
    items: Array  # [I, D]

    def matmat(self, right: Array) -> Array:
        """``G right``: ``[I, K] -> [U, K]``."""
        return spmm(self.train, self.values, right, by="user") - self.users @ (self.items.T @ right)

    def rmatmat(self, left: Array) -> Array:
        """``G' left``: ``[U, K] -> [I, K]``."""
        return spmm(self.train, self.values, left, by="item") - self.items @ (self.users.T @ left)


class Bases(NamedTuple):
    """Orthonormal (or zero) columns, of which ``left diag(sizes) right'`` is a part of M."""

    left: Array  # [U, K]
    sizes: Array  # [K] singular values of M; 0 where a column is no part of it
    right: Array  # [I, K]


def triplets(users: Array, items: Array) -> Bases:
    """Computes the singular triplets of ``users @ items.T`` by two tall QR and one small SVD."""
    users, upper = jnp.linalg.qr(users)
    items, lower = jnp.linalg.qr(items)
    left, sizes, right = jnp.linalg.svd(upper @ lower.T, full_matrices=False)
    return Bases(users @ left, sizes, items @ right.T)


def triplet_error(users: Array, items: Array, bases: Bases) -> Array:
    """Bounds what the computed singular values of ``users @ items.T`` lack of its nuclear norm.

    With ``E = users (items' V) - U S`` and ``F`` the part of ``items`` beside V, the matrix is
    ``U S V' + E V' + users F'``; a nuclear norm is at most ``sqrt(K)`` Frobenius norms, and that of
    a product at most the product of them.
    """
    inside = items.T @ bases.right
    first = users @ inside - bases.left * bases.sizes[None]
    beside = items - bases.right @ inside.T
    root = jnp.sqrt(jnp.asarray(first.shape[1], first.dtype))
    return root * jnp.linalg.norm(first) + jnp.linalg.norm(users) * jnp.linalg.norm(beside)


def drop_loose(gradient: Gradient, bases: Bases, ridge: Array) -> Bases:
    """Zeroes the triplets of M that loosen the bound less when left out of the bases.

    A triplet in the bases costs the square of its coupling to N, if the dual point has to drop the
    coupling; a triplet left out costs at most twice its singular value. Alternating passes leave
    many triplets of nearly zero size and arbitrary directions, which are better left out.

    Args:
      ridge: scalar, the largest product of a user's and an item's ridge, which unscales squares.
    """
    forward, backward = gradient.matmat(bases.right), gradient.rmatmat(bases.left)
    below = jnp.sum(project(bases.left, forward) ** 2, axis=0)
    beside = jnp.sum(project(bases.right, backward) ** 2, axis=0)
    good = ridge * jnp.maximum(below, beside) <= 2 * bases.sizes
    return Bases(*(jnp.where(good if part.ndim == 1 else good[None], part, 0) for part in bases))


def search(
    key: Array, gradient: Gradient, bases: Bases, *, steps: int, width: int, n: int
) -> Array:
    """Computes ``[I, n]`` approximate leading right singular vectors of N by block Lanczos.

    Args:
      key: of the random start.
      gradient: G.
      bases: which split N off.
      steps, width: block steps and block width.
      n: how many vectors.
    """
    size = len(bases.right)
    width = min(width, size)
    start = project(bases.right, jax.random.normal(key, (size, width), bases.right.dtype))
    steps = min(steps, -(-size // width) + 1)
    basis, small = lanczos.krylov(remainder(gradient, bases), start, steps=steps)
    return basis @ jnp.linalg.eigh(small)[1][:, -n:]


def deflate(gradient: Gradient, bases: Bases, block: Array) -> Bases:
    """Adds the large singular pairs of N within the span of ``block [I, J]`` to the bases."""
    right = lanczos.extension(block, bases.right)
    left = project(bases.left, project(bases.left, gradient.matmat(right)))
    squares, turn = jnp.linalg.eigh(left.T @ left)
    useful = squares > SMALLEST_USEFUL
    scale = jnp.where(useful, 1 / jnp.sqrt(jnp.where(useful, squares, 1)), 0)
    left, right = left @ (turn * scale[None]), right @ jnp.where(useful[None], turn, 0)
    return Bases(
        jnp.concatenate([bases.left, left], axis=1),
        jnp.pad(bases.sizes, (0, left.shape[1])),
        jnp.concatenate([bases.right, right], axis=1),
    )


def drop_zeros(bases: Bases, n: int) -> Bases:
    """Keeps ``n`` of the columns, nonzero ones first.

    ``deflate`` adds a zero column for every direction of its block that the bases already span.
    """
    order = jnp.argsort(-jnp.sum(bases.right**2, axis=0))[:n]
    return Bases(bases.left[:, order], bases.sizes[order], bases.right[:, order])


def project(basis: Array, block: Array) -> Array:
    """``(1 - basis basis') block``."""
    return block - basis @ (basis.T @ block)


def remainder(gradient: Gradient, bases: Bases) -> Callable[[Array], Array]:
    """Returns the function ``x -> N'N x``, ``[I, b] -> [I, b]``."""

    def matmat(block):
        image = gradient.matmat(project(bases.right, block))
        image = project(bases.left, project(bases.left, image))
        return project(bases.right, gradient.rmatmat(image))

    return matmat


def cholesky_bound(key: Array, gradient: Gradient, bases: Bases) -> Array:
    """Bounds the largest eigenvalue of ``N'N`` from above, whatever the key.

    ``t`` is a bound if ``t - N'N`` has a Cholesky factor, with an allowance for what rounding can
    hide (Rump, BIT 2006). The values of t that are tried grow from a Lanczos estimate, which the
    key affects; if none has a factor, the trace is the bound.
    """
    size = len(bases.right)
    columns = jnp.arange(-(-size // CHUNK) * CHUNK).reshape(-1, CHUNK)
    unit = functools.partial(jax.nn.one_hot, num_classes=size, axis=0, dtype=bases.right.dtype)
    gram = lax.map(lambda ids: remainder(gradient, bases)(unit(ids)), columns)
    gram = jnp.moveaxis(gram, 0, 1).reshape(size, -1)[:, :size]
    gram = (gram + gram.T) / 2
    lower, _ = lanczos.top_eigenvalue(key, lambda x: gram @ x, size, steps=12, width=8, failure=0.5)
    rounding = 4 * size**2 * jnp.finfo(gram.dtype).eps  # of the factorisation and of the Gram

    def attempt(carry):
        k, *_ = carry
        bound = jnp.maximum(lower, 1e-3) * (1 + 1e-3 * 8.0**k)
        shifted = bound * (1 - rounding) * jnp.eye(size, dtype=gram.dtype) - gram
        factor = lax.linalg.cholesky(shifted, symmetrize_input=False)
        return k + 1, bound, jnp.all(jnp.isfinite(factor))

    start = (jnp.zeros((), gram.dtype), jnp.trace(gram), jnp.zeros((), bool))
    _, bound, proved = _varying.while_loop(lambda c: (c[0] < 5) & ~c[2], attempt, start)
    return jnp.where(proved, bound, jnp.trace(gram))
