"""The slow truth: dense matrices and loops that a reader can check by eye."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget.sparse.degrees import degrees
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, ForgetSet, Model


def dense(train, values):
    """[U, I] with the values at their places; repeated pairs add up."""
    out = np.zeros((train.n_users, train.n_items))
    np.add.at(out, (np.asarray(train.users), np.asarray(train.items)), np.asarray(values))
    return out


def implicit_dense(train, weights, alpha):
    """Confidence and preference of every cell: 1 and 0 where nothing is remembered."""
    seen = dense(train, weights) > 0
    return np.where(seen, alpha * dense(train, train.values), 1.0), seen.astype(float)


def implicit_row(fixed, confidence, preference, reg):
    """One row of Hu-Koren-Volinsky by dense normal equations."""
    lhs = fixed.T @ np.diag(confidence) @ fixed + reg * np.eye(fixed.shape[1])
    return np.linalg.solve(lhs, fixed.T @ (confidence * preference))


def implicit_objective(users, items, confidence, preference, reg):
    errors = confidence * (preference - users @ items.T) ** 2
    return errors.sum() + reg * ((users**2).sum() + (items**2).sum())


def implicit_sweep(users, items, confidence, preference, reg):
    """One pass, users first, row by row."""
    rows = zip(confidence, preference)
    users = np.stack([implicit_row(items, c, p, reg) for c, p in rows])
    columns = zip(confidence.T, preference.T)
    return users, np.stack([implicit_row(users, c, p, reg) for c, p in columns])


def without(train, weights, build):
    """The same training set with the forgotten interactions never loaded."""
    kept = np.asarray(weights) > 0
    columns = (np.asarray(x)[kept] for x in (train.users, train.items, train.values))
    return build(*columns, n_users=train.n_users, n_items=train.n_items)


def request(train, rows):
    """Forgets the interactions at the given rows of a training set; all others are remembered."""
    ones = jnp.ones_like(train.values)
    return ForgetSet(ones, ones.at[jnp.asarray(rows, jnp.int32)].set(0))


def gone(request):
    """Which interactions are forgotten, ``[N]`` bool; checks what every request promises."""
    before, after = np.asarray(request.before), np.asarray(request.after)
    assert before.shape == after.shape and before.dtype == after.dtype
    assert ((after == before) | (after == 0)).all()
    return (before > 0) & (after == 0)


def same(a, b):
    """Whether two pytrees of one structure are equal bit for bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def factors(train, dim, *, seed=0, scale=1.0):
    """Random factors of the right sizes, in float64."""
    rng = np.random.default_rng(seed)
    sizes = (train.n_users, train.n_items)
    return Factors(*(jnp.asarray(scale * rng.normal(size=(n, dim))) for n in sizes))


def tally():
    """A model that compiles at once: noisy sums of values, whose product is the score."""

    def fit(key, train, weights, start=None):
        del start
        users, items = degrees(train, weights * train.values)
        noise = 0.1 * jax.random.normal(key, (train.n_users, 1), users.dtype)
        ones = jnp.ones((train.n_items, 1), users.dtype)
        pair = Factors(jnp.append(users[:, None], noise, 1), jnp.append(items[:, None], ones, 1))
        return pair, {"total": jnp.sum(users)}

    def loss(params, train, weights, edges):
        del edges
        return jnp.sum(weights * (sddmm(train, *params) - train.values) ** 2)

    return Model(lambda train: train, fit, lambda params, train, edges: params, loss)
