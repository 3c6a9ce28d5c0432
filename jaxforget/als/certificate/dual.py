"""The gradient of the implicit objective as an operator, split along a pair of bases.

All of it in coordinates where every ridge is 1, so that a dual point is feasible if its largest
singular value is at most 1. Nothing here holds a ``[U, I]`` array.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.als.certificate import lanczos
from jaxforget.sparse.kernels import spmm
from jaxforget.types import Interactions

CHUNK = 256  # columns of the small Gram formed at a time


class Gradient(NamedTuple):
    """G = C o (P - M): sparse minus low rank."""

    train: Interactions
    values: Array  # [N]
    users: Array  # [U, D]
    items: Array  # [I, D]

    def times(self, right: Array) -> Array:
        return spmm(self.train, self.values, right, by="user") - self.users @ (self.items.T @ right)

    def transposed(self, left: Array) -> Array:
        return spmm(self.train, self.values, left, by="item") - self.items @ (self.users.T @ left)


class Bases(NamedTuple):
    """Orthonormal (or zero) columns; they hold the part left diag(sizes) right' of M."""

    left: Array  # [U, K]
    sizes: Array  # [K]
    right: Array  # [I, K]


def triplets(users: Array, items: Array) -> Bases:
    """Singular triplets of ``users @ items.T``, exactly, from two tall QR and one small SVD."""
    users, upper = jnp.linalg.qr(users)
    items, other = jnp.linalg.qr(items)
    left, sizes, right = jnp.linalg.svd(upper @ other.T, full_matrices=False)
    return Bases(users @ left, sizes, items @ right.T)


def settled(gradient: Gradient, bases: Bases, ridge: Array) -> Bases:
    """Zeroes the singular vectors of M whose coupling to the rest of G would cost more than they.

    A dropped coupling costs its square; a part of M outside the bases at most twice its size.
    Alternating passes leave many such vectors: nearly dead, of no direction in particular.
    """
    forward, backward = gradient.times(bases.right), gradient.transposed(bases.left)
    below = jnp.sum(project(bases.left, forward) ** 2, axis=0)
    beside = jnp.sum(project(bases.right, backward) ** 2, axis=0)
    good = ridge * jnp.maximum(below, beside) <= 2 * bases.sizes
    return Bases(*(jnp.where(good if part.ndim == 1 else good[None], part, 0) for part in bases))


def search(
    gradient: Gradient, bases: Bases, key: Array, *, steps: int, width: int, n: int
) -> Array:
    """Finds ``[I, n]`` approximate leading right singular vectors of the rest of G, by Lanczos."""
    size = len(bases.right)
    width = min(width, size)
    start = project(bases.right, jax.random.normal(key, (size, width), bases.right.dtype))
    steps = min(steps, -(-size // width) + 1)
    basis, small = lanczos.krylov(rest(gradient, bases), start, steps=steps)
    return basis @ jnp.linalg.eigh(small)[1][:, -n:]


def deflate(gradient: Gradient, bases: Bases, block: Array) -> Bases:
    """Adds singular pairs of the rest of G from the span of ``block [I, J]``, where they are large."""
    right = lanczos.extension(block, bases.right)
    left = project(bases.left, project(bases.left, gradient.times(right)))
    squares, turn = jnp.linalg.eigh(left.T @ left)
    useful = squares > 0.25  # only values near the radius, 1, matter
    scale = jnp.where(useful, 1 / jnp.sqrt(jnp.where(useful, squares, 1)), 0)
    left, right = left @ (turn * scale[None]), right @ jnp.where(useful[None], turn, 0)
    return Bases(
        jnp.concatenate([bases.left, left], axis=1),
        jnp.pad(bases.sizes, (0, left.shape[1])),
        jnp.concatenate([bases.right, right], axis=1),
    )


def compact(bases: Bases, n: int) -> Bases:
    """Keeps ``n`` columns, zeros last: a block that repeats the basis leaves as many zeros."""
    kept = jnp.argsort(-jnp.sum(bases.right**2, axis=0))[:n]
    return Bases(bases.left[:, kept], bases.sizes[kept], bases.right[:, kept])


def project(basis: Array, block: Array) -> Array:
    return block - basis @ (basis.T @ block)


def rest(gradient: Gradient, bases: Bases):
    """``x -> N'N x`` for ``N = (1 - left left') G (1 - right right')``."""

    def matmat(block):
        image = gradient.times(project(bases.right, block))
        image = project(bases.left, project(bases.left, image))
        return project(bases.right, gradient.transposed(image))

    return matmat


def cholesky_bound(gradient: Gradient, bases: Bases, key: Array) -> Array:
    """Bounds the largest eigenvalue of ``N'N`` deterministically.

    It is below t if ``t - N'N`` has a Cholesky factor, by more than rounding can hide (Rump, BIT
    2006); t climbs a short ladder from the Lanczos estimate. The key only affects the estimate.
    """
    size = len(bases.right)
    columns = jnp.arange(-(-size // CHUNK) * CHUNK).reshape(-1, CHUNK)
    unit = functools.partial(jax.nn.one_hot, num_classes=size, axis=0, dtype=bases.right.dtype)
    gram = lax.map(lambda ids: rest(gradient, bases)(unit(ids)), columns)
    gram = jnp.moveaxis(gram, 0, 1).reshape(size, -1)[:, :size]
    gram = (gram + gram.T) / 2
    lower, _ = lanczos.largest(lambda x: gram @ x, size, key, steps=12, width=8, failure=0.5)
    rounding = 4 * size**2 * jnp.finfo(gram.dtype).eps  # of the factorisation and of the Gram

    def attempt(carry):
        k, *_ = carry
        bound = jnp.maximum(lower, 1e-3) * (1 + 1e-3 * 8.0**k)
        shifted = bound * (1 - rounding) * jnp.eye(size, dtype=gram.dtype) - gram
        factor = lax.linalg.cholesky(shifted, symmetrize_input=False)
        return k + 1, bound, jnp.all(jnp.isfinite(factor))

    start = (jnp.zeros((), gram.dtype), jnp.trace(gram), jnp.zeros((), bool))
    _, bound, proved = lax.while_loop(lambda c: (c[0] < 5) & ~c[2], attempt, start)
    return jnp.where(proved, bound, jnp.trace(gram))
