"""How far the lists moved of users whom nobody asked to forget."""

from typing import Any

import numpy as np

K = 10  # length of the lists that are compared
SAMPLE = 2_000  # users whose lists are compared


def staying(train: Any, forget: Any) -> np.ndarray:
    """The users who lose nothing by a request and have something."""
    users = np.asarray(train.users)
    return np.setdiff1d(users, users[np.asarray(forget.before) > np.asarray(forget.after)])


def of_users(factors: Any, users: np.ndarray) -> Any:
    """The model of some users alone."""
    from jaxforget.types import Factors

    return Factors(factors.users[users], factors.items)


def distances(new: Any, old: Any, best: Any) -> dict[str, float]:
    """How far all predictions are from those of the best model, and from those before."""
    import jax

    from jaxforget.metrics.distance import prediction_distance

    apart = jax.jit(prediction_distance)
    return {"distance": float(apart(new, best)), "moved": float(apart(new, old))}


def overlap(a: Any, b: Any, train: Any, weights: Any, users: np.ndarray) -> tuple[int, float]:
    """How many of some users were compared, and the share of their lists that two models share.

    The models hold the rows of these users alone.
    """
    import jax.numpy as jnp

    from jaxforget.metrics import ranking
    from jaxforget.sparse import layout

    chosen = np.sort(np.random.default_rng(0).permutation(len(users))[:SAMPLE])
    number = np.full(train.n_users, -1)
    number[users[chosen]] = np.arange(len(chosen))
    kept = (number[np.asarray(train.users)] >= 0) & (np.asarray(weights) > 0)
    ids, items, values = (np.asarray(x)[kept] for x in (train.users, train.items, train.values))
    sizes = {"n_users": len(chosen), "n_items": train.n_items}
    seen = layout.build(number[ids], items, values, **sizes)
    models = (of_users(x, chosen) for x in (a, b))
    k = min(K, train.n_items)
    return len(chosen), float(
        ranking.overlap(*models, [(seen, jnp.ones_like(seen.values))], ks=[k])[k]
    )
