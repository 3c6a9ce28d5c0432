"""Explicit alternating least squares: only the observed values are fitted."""

from jax import Array

from jaxforget import _checks, als
from jaxforget._settings import checked
from jaxforget.models import _als
from jaxforget.types import Interactions, Model, Terms

TRACED = ("reg", "max_sweeps", "tol", "init_scale")  # may be arguments of a compiled program


@checked
def build(
    *,
    dim: int,
    reg: float,
    nu: float = 1.0,
    max_sweeps: int = 15,
    tol: float = 0.0,
    cg_steps: int = 0,
    init_scale: float = 1.0,
) -> Model:
    """Builds ALS on observed values: ``min sum_n w (value - x.y)^2 + sum ridge |row|^2``.

    A value is a rating on any scale: 0 and negative numbers are fitted like any other. No mean is
    subtracted: a statistic that training keeps would have to be forgotten too.

    Args:
      dim: factor dimension.
      reg, nu: ridge penalty ``reg count^nu`` of a row with ``count`` remembered interactions;
        ``reg > 0``.
      max_sweeps, tol: passes stop at the first of the two; ``tol`` bounds ``als.optimality``.
      cg_steps: 0 solves rows exactly; otherwise CG steps from the old row.
      init_scale: factors start uniform in ``[0, init_scale)``.

    Raises:
      ValueError: a setting is out of range.

    Source: Zhou et al., AAIM 2008 (ALS-WR, ``nu = 1``).
    """
    _checks.finite("explicit_als", nu=nu)
    _als.check("explicit_als", dim=dim, max_sweeps=max_sweeps, tol=tol, cg_steps=cg_steps)

    def terms(train: Interactions, weights: Array, *, statistics: Array | None = None) -> Terms:
        del statistics  # no weight is computed from the data
        return als.explicit(train, weights, reg=reg, nu=nu)

    return _als.build(
        terms,
        dim=dim,
        init_scale=init_scale,
        max_sweeps=max_sweeps,
        tol=tol,
        cg_steps=cg_steps,
        implicit=False,
    )


TOY = {"dim": 3, "reg": 0.1}
