"""Influence functions: what a request pulls at the parameters, and where that moves them."""

from jaxforget.gradient.influence import (
    curvature,
    damping,
    flow,
    importance,
    linear,
    precondition,
    problem,
    pull,
    region,
    released,
    replay,
    single,
    steps,
)
from jaxforget.gradient.influence.cg import cg
from jaxforget.gradient.influence.curvature import gauss_newton, hessian, hvp
from jaxforget.gradient.influence.pull import forget_gradient
from jaxforget.gradient.vectors import add, axpy, dot, norm

__all__ = [
    "add",
    "axpy",
    "cg",
    "curvature",
    "damping",
    "dot",
    "flow",
    "forget_gradient",
    "gauss_newton",
    "hessian",
    "hvp",
    "importance",
    "linear",
    "norm",
    "precondition",
    "problem",
    "pull",
    "region",
    "released",
    "replay",
    "single",
    "steps",
]
