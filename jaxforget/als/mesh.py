"""Alternating least squares over a mesh of devices, for tables that are larger than one of them.

Every device holds a share of the users and of the items (``dealing.deal``). A half-sweep gathers
the rows of the other side from all devices, adds up the devices' Grams, and solves the device's own
rows by the solvers that a single device uses: two all-gathers and two all-reduces a pass.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxforget import _varying
from jaxforget._jax import vary_alike
from jaxforget._settings import checked
from jaxforget.als import row_steps, rows
from jaxforget.als.dealing import Dealt, OneSide
from jaxforget.als.objectives import gram
from jaxforget.types import Factors, Interactions, Terms


class System(NamedTuple):
    """What the normal equations of a side's rows are made of; the devices are the first axis."""

    train: Interactions  # [P, ...]
    curvature: Array  # [P, M], 0 for padding
    target: Array  # [P, M], 0 for padding
    ridge: Array  # [P, R], 1 for padding


class Spread(NamedTuple):
    """An objective over the devices of a mesh."""

    users: System
    items: System
    unobserved: Array  # scalar, as in ``Terms``


def sharding(mesh: Mesh) -> NamedSharding:
    """How what has the devices as its first axis lies on the mesh, for ``jax.device_put``."""
    return NamedSharding(mesh, P(mesh.axis_names))


def spread(dealt: Dealt, terms: Terms) -> Spread:
    """Gives every device its part of an objective; once, before the passes.

    Args:
      dealt: the interactions, from ``dealing.deal``.
      terms: of the same interactions: ``objectives.implicit`` or ``explicit``, of any weights. An
        interaction of weight 0 is as if never loaded, as on one device.

    Returns:
      ``Spread``.
    """

    return Spread(
        system(dealt.users, terms, terms.ridge_users),
        system(dealt.items, terms, terms.ridge_items),
        terms.unobserved,
    )


def system(side: OneSide, terms: Terms, ridge: Array) -> System:
    """The normal equations of one side's rows, each device's by its own interactions.

    Args:
      side: the rows and interactions of every device.
      terms: the objective.
      ridge: ``[rows]`` of this side, from ``terms``.
    """
    curvature, target = (
        x.at[side.slots].get(mode="fill", fill_value=0) for x in (terms.curvature, terms.target)
    )
    ridge = ridge.at[side.rows].get(mode="fill", fill_value=1)
    return System(side.train, curvature, target, ridge)


def to_tables(dealt: Dealt, factors: Factors) -> Factors:
    """The factors in the order of the devices: ``[P R, D]`` of each side, 0 for padding."""

    return Factors(*(to_table(side, x) for side, x in zip(dealt, factors, strict=True)))


def to_table(side: OneSide, rows: Array) -> Array:
    """``[P R, D]`` the rows of one side in the order of the devices, 0 for padding."""
    return rows.at[side.rows.ravel()].get(mode="fill", fill_value=0)


def from_tables(dealt: Dealt, tables: Factors, train: Interactions) -> Factors:
    """The factors ``[U, D]`` and ``[I, D]`` of ``train``, from tables in the devices' order."""

    sizes = (train.n_users, train.n_items)
    return Factors(*(from_table(*parts) for parts in zip(dealt, tables, sizes, strict=True)))


def from_table(side: OneSide, table: Array, n_rows: int) -> Array:
    """``[n_rows, D]`` the rows of one side in the order of the data."""
    out = jnp.zeros((n_rows, table.shape[1]), table.dtype)
    return out.at[side.rows.ravel()].set(table, mode="drop")


def require_devices(system: System, mesh: Mesh) -> None:
    """Raises the ``ValueError`` of what was dealt to another number of devices."""
    n_devices = len(system.curvature)
    if n_devices != mesh.size:
        raise ValueError(f"dealt to {n_devices} devices, but the mesh has {mesh.size}: deal again")


@checked
def descend(
    tables: Factors, spread: Spread, *, mesh: Mesh, max_sweeps: int, cg_steps: int = 0
) -> Factors:
    """Takes ``max_sweeps`` passes, users first, as ``passes.descend`` does on one device.

    Unlearning is the same passes on the objective without the request, from the old tables.

    Args:
      tables: ``[P R, D]`` of each side, from ``to_tables``.
      spread: the objective.
      mesh: of P devices; all its axes are used as one, of either type (Auto or Explicit).
      max_sweeps: number of passes.
      cg_steps: 0 solves every row exactly; otherwise CG steps from the old row.

    Returns:
      the tables, one part on each device. Equal to one device's factors up to rounding.

    Raises:
      ValueError: the tables were dealt to another number of devices.

    Example:
      >>> from jaxforget.als import dealing, objectives
      >>> from jaxforget.sparse import layout
      >>> mesh = jax.make_mesh((1,), ("rows",))
      >>> train = layout.build([0, 1], [1, 0], [1.0, 2.0])
      >>> dealt = dealing.deal(train, mesh.size)
      >>> terms = objectives.implicit(train, jnp.ones(2), reg=1.0, alpha=2.0)
      >>> start = to_tables(dealt, Factors(jnp.ones((2, 3)), jnp.ones((2, 3))))
      >>> descend(start, spread(dealt, terms), mesh=mesh, max_sweeps=2).users.shape
      (2, 3)
    """
    require_devices(spread.users, mesh)
    axes = mesh.axis_names
    parts = (tables, spread.users, spread.items)
    if AxisType.Explicit in mesh.axis_types:  # the types of arrays say where they lie
        parts = jax.tree.map(lambda x: jax.reshard(x, sharding(mesh)), parts)

    def on_device(tables, users, items, unobserved):
        users, items = jax.tree.map(lambda x: x[0], (users, items))
        step = functools.partial(_half, unobserved=unobserved, axes=axes, cg_steps=cg_steps)

        def both(_, tables):
            x = step(users, tables.items, tables.users)
            return Factors(x, step(items, x, tables.items))

        return _varying.fori_loop(0, max_sweeps, both, tables)

    specs = (P(axes), P(axes), P(axes), P())
    run = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(axes))
    tables, users, items = parts
    return run(tables, users, items, spread.unobserved)


def _half(system: System, fixed: Array, start: Array, *, unobserved, axes, cg_steps) -> Array:
    """Solves the device's rows of one side; ``fixed`` are its rows of the other."""
    everywhere = unobserved * lax.psum(gram(fixed), axes)
    fixed = lax.all_gather(fixed, axes, tiled=True)
    equations = (system.curvature, system.target, system.ridge, everywhere, system.train, fixed)
    if cg_steps:
        return row_steps.conjugate_gradients(*equations, start, by="user", n_steps=cg_steps)
    return vary_alike(rows.solve_exactly(*equations, by="user"), start)
