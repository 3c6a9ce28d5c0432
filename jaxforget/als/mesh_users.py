"""Alternating least squares with the users over a mesh and the items on every device.

For far more users than items: ``mesh`` gathers the users on every device once a pass, which neither
their number nor that of the devices makes smaller. Here a user never leaves its device. The users
are solved for without any exchange; each CG step for the items adds up one table ``[I, D]`` over
the devices.
"""

import functools
from typing import Any, NamedTuple

import jax
from jax import Array, lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.als import row_steps
from jaxforget.als.dealing import OneSide
from jaxforget.als.mesh import System, require_devices, system
from jaxforget.als.objectives import gram
from jaxforget.types import Factors, Terms


class Spread(NamedTuple):
    """An objective with the users over the devices of a mesh."""

    users: System
    ridge_items: Array  # [I]
    unobserved: Array  # scalar, as in ``Terms``


def spread(dealt: OneSide, terms: Terms) -> Spread:
    """Gives every device its part of an objective; once, before the passes.

    Args:
      dealt: the interactions, from ``dealing.deal_users``.
      terms: of the same interactions.
    """
    return Spread(system(dealt, terms, terms.ridge_users), terms.ridge_items, terms.unobserved)


@checked
def descend(
    factors: Factors, spread: Spread, *, mesh: Mesh, max_sweeps: int, cg_steps: int
) -> Factors:
    """Takes ``max_sweeps`` passes of ``cg_steps`` CG steps, users first, as ``passes.descend``.

    Args:
      factors: users ``[P R, D]`` in the order of the devices, items ``[I, D]``.
      spread: the objective.
      mesh: of P devices with Auto axes; all of them are used as one.
      max_sweeps: number of passes.
      cg_steps: from the old row, at least 1: exact rows would need a matrix per item.

    Returns:
      the factors: the users lie over the devices, the items on each of them.

    Raises:
      ValueError: the users were dealt to another number of devices.
    """
    require_devices(spread.users, mesh)
    axes = mesh.axis_names

    def on_device(rows, users, ridge_items, unobserved):
        curvature, target, ridge = (x[0] for x in (users.curvature, users.target, users.ridge))
        train = jax.tree.map(lambda x: x[0], users.train)
        steps = functools.partial(row_steps.conjugate_gradients, curvature, target)

        def both(_, rows):
            x, y = rows
            x = steps(ridge, unobserved * gram(y), train, y, x, by="user", n_steps=cg_steps)
            everywhere = unobserved * lax.psum(gram(x), axes)
            y = steps(
                ridge_items, everywhere, train, x, y,
                by="item", n_steps=cg_steps, add_up=lambda part: lax.psum(part, axes),
            )  # fmt: skip
            return x, y

        return _varying.fori_loop(0, max_sweeps, both, rows)

    where: Any = (P(axes), P())  # of users and items
    specs = (where, P(axes), P(), P())
    run = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=where)
    rows = run(tuple(factors), spread.users, spread.ridge_items, spread.unobserved)
    return Factors(*rows)
