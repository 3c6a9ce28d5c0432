"""Passes over a mesh of four devices against passes on one, as a script: prints what it found.

JAX decides once how many devices a CPU shows itself as, so ``test_mesh`` runs this in a process of
its own.
"""

import collections
import dataclasses
import functools
import json
import re

import jax
from hlo import COLLECTIVES

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

import jax.numpy as jnp  # noqa: E402  (after the settings above)
import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from jaxforget import als, models  # noqa: E402
from jaxforget.als import dealing, mesh, mesh_users  # noqa: E402
from jaxforget.sparse import layout  # noqa: E402
from jaxforget.types import Factors  # noqa: E402

SIZES = [(60, 40, 4), (120, 40, 8), (100, 300, 16)]
RESULT = re.compile(r"= f64\[([\d,]*)\]\S* (all-gather|all-reduce)(?:-start)?\(")


def skewed(n_users, n_items, n):
    """A few rows have most interactions; three users and two items have none."""
    rng = np.random.default_rng(0)
    weights = [(np.arange(size) + 3.0) ** -1.0 for size in (n_users, n_items)]
    drawn = [rng.choice(len(w), n, p=w / w.sum()) for w in weights]
    users, items = np.divmod(np.unique(drawn[0] * n_items + drawn[1]), n_items)
    values = rng.integers(1, 6, len(users)).astype(float)
    return layout.build(users, items, values, n_users=n_users + 3, n_items=n_items + 2)


def fitting(train):
    """As many of the interactions as four devices can share equally."""
    n = len(train.users) // 4 * 4
    columns = (np.asarray(x)[:n] for x in (train.users, train.items, train.values))
    return layout.build(*columns, n_users=train.n_users, n_items=train.n_items)


def gap(got, want):
    """Largest difference of two factors, relative to the largest number."""
    pairs = zip(map(np.asarray, got), map(np.asarray, want), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def compare(train, kind, cg_steps, dtype, axis_type, shape):
    """One device against the mesh: training, then unlearning."""
    there = jax.make_mesh(shape, ("x", "y")[: len(shape)], axis_types=(axis_type,) * len(shape))
    rng = np.random.default_rng(1)
    train = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == float else x, train)
    weights = jnp.asarray(rng.integers(0, 2, len(train.values)), dtype)
    sizes = (train.n_users, train.n_items)
    start = Factors(*(jnp.asarray(0.1 * rng.normal(size=(n, 8)), dtype) for n in sizes))
    options = {"alpha": 3.0} if kind == "implicit" else {"nu": 1.0}
    dealt = dealing.deal(train, there.size)
    ours, theirs, found = mesh.to_tables(dealt, start), start, {}
    run = jax.jit(lambda t, s: mesh.descend(t, s, mesh=there, max_sweeps=3, cg_steps=cg_steps))
    program = None
    for stage, w in (("fit", jnp.ones_like(weights)), ("unlearn", weights)):
        terms = getattr(als, kind)(train, w, reg=2.0, **options)
        parts = mesh.spread(dealt, terms)
        placed = jax.device_put((ours, parts.users, parts.items), mesh.sharding(there))
        args = placed[0], mesh.Spread(*placed[1:], parts.unobserved)
        program = program or run.lower(*args).compile()
        ours = program(*args)
        theirs, _ = als.descend(theirs, train, terms, max_sweeps=3, cg_steps=cg_steps)
        back = mesh.from_tables(dealt, jax.device_get(ours), train)
        found[stage] = gap(back, theirs)
        ours = jax.device_get(ours)
    found["collectives"] = dict(collections.Counter(COLLECTIVES.findall(program.as_text())))
    found["devices"] = len(jax.tree.leaves(args)[0].sharding.device_set)
    return found


def loads(train):
    """Most interactions of a device, over their mean."""
    slots = [np.asarray(side.slots) for side in dealing.deal(train, 4)]
    return [float((s < len(train.users)).sum(axis=1).max() / len(train.users) * 4) for s in slots]


def traffic(train, dim):
    """Bytes that the collectives of one pass give each of four devices, as compiled."""
    there = jax.make_mesh((4,), ("rows",))
    sizes = (train.n_users, train.n_items)
    dealt = dealing.deal(train, 4)
    tables = mesh.to_tables(dealt, Factors(*(jnp.ones((n, dim)) for n in sizes)))
    terms = als.implicit(train, jnp.ones_like(train.values), reg=2.0, alpha=3.0)
    run = jax.jit(lambda t, s: mesh.descend(t, s, mesh=there, max_sweeps=1, cg_steps=1))
    text = run.lower(tables, mesh.spread(dealt, terms)).compile().as_text()
    found = collections.Counter()
    for shape, kind in RESULT.findall(text):
        found[kind] += 8 * int(np.prod([int(n) for n in shape.split(",") if n]))
    return {"sizes": sizes, "dim": dim, **found}


def users_alone(train):
    """Users over four devices, items on each: training, unlearning, and its collectives."""
    there = jax.make_mesh((2, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    rng, sizes = np.random.default_rng(1), (train.n_users, train.n_items)
    weights = jnp.asarray(rng.integers(0, 2, len(train.values)), float)
    theirs = Factors(*(jnp.asarray(0.1 * rng.normal(size=(n, 8))) for n in sizes))
    dealt = dealing.deal_users(train, 4)
    ours = Factors(mesh.to_table(dealt, theirs.users), theirs.items)
    descend = functools.partial(mesh_users.descend, mesh=there, max_sweeps=3, cg_steps=3)
    run, gaps = jax.jit(descend), []
    for w in (jnp.ones_like(weights), weights):
        terms = als.implicit(train, w, reg=2.0, alpha=3.0)
        parts = mesh_users.spread(dealt, terms)
        text = run.lower(ours, parts).compile().as_text()
        ours = jax.device_get(run(ours, parts))
        theirs, _ = als.descend(theirs, train, terms, max_sweeps=3, cg_steps=3)
        back = mesh.from_table(dealt, jnp.asarray(ours.users), train.n_users)
        gaps.append(gap((back, ours.items), theirs))
    return {"gaps": gaps, "collectives": dict(collections.Counter(COLLECTIVES.findall(text)))}


def over_edges(train):
    """Difference of a LightGCN whose interactions lie on four devices from one on one device."""
    there = jax.make_mesh((4,), ("edges",), axis_types=(AxisType.Auto,))
    n = len(train.users)

    def spread(x):
        split = x.ndim and len(x) == n
        return jax.device_put(x, NamedSharding(there, P("edges") if split else P()))

    train = dataclasses.replace(train, values=(train.values > 3).astype(float))
    model = models.load("lightgcn")(
        dim=8, n_layers=2, init_scale=0.1, reg=0.01, lr=0.05, batch_size=64, n_epochs=3
    )
    args = (jax.random.key(0), train, jnp.ones(n))
    ours, theirs = (jax.jit(model.fit)(*a)[0] for a in (jax.tree.map(spread, args), args))
    return gap(jax.device_get(ours), theirs)


if __name__ == "__main__":
    small = skewed(60, 40, 900)
    cases = [("implicit", 0, "float64", AxisType.Auto, (4,))]
    cases += [("implicit", 3, "float64", AxisType.Explicit, (4,))]
    cases += [("implicit", 0, "float32", AxisType.Explicit, (2, 2))]
    cases += [("explicit", 3, "float64", AxisType.Explicit, (4,))]
    results = [compare(small, *case) for case in cases]
    bytes_ = [traffic(skewed(u, i, 900), dim) for u, i, dim in SIZES]
    loads_ = loads(skewed(6000, 4000, 200_000))
    found = {"runs": results, "loads": loads_, "bytes": bytes_}
    found |= {"edges": over_edges(fitting(small)), "users": users_alone(small)}
    print(json.dumps(found))
