"""Alternating least squares: objectives, rows, passes, proximal steps and certificates.

The mathematics of Unlearn-ALS ("Netflix and Forget", arXiv 2302.06676).
"""

from jaxforget.als import (
    certificate,
    confidence,
    dealing,
    local,
    mesh,
    objectives,
    passes,
    proximal,
    row,
    rows,
)
from jaxforget.als.objectives import cost, explicit, implicit, objective, optimality, residual
from jaxforget.als.passes import alternate, descend, half_sweep, run, solve_rows, sweep
from jaxforget.als.row import downdate_row, solve_row

__all__ = [
    "alternate",
    "certificate",
    "confidence",
    "cost",
    "dealing",
    "descend",
    "downdate_row",
    "explicit",
    "half_sweep",
    "implicit",
    "local",
    "mesh",
    "objective",
    "objectives",
    "optimality",
    "passes",
    "proximal",
    "residual",
    "row",
    "rows",
    "run",
    "solve_row",
    "solve_rows",
    "sweep",
]
