"""Influence functions: what a request pulls at the parameters, and where that moves them."""

from jaxforget.gradient.influence import (
    curvature,
    damping,
    flow,
    importance,
    precondition,
    pull,
    region,
    released,
    replay,
    steps,
)
from jaxforget.gradient.influence.cg import cg
from jaxforget.gradient.influence.curvature import bends, gauss_newton, hessian, hvp, need_margins
from jaxforget.gradient.influence.pull import forget_gradient
from jaxforget.gradient.vectors import add, axpy, dot, norm

__all__ = [
    "add",
    "axpy",
    "bends",
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
    "need_margins",
    "norm",
    "precondition",
    "pull",
    "region",
    "released",
    "replay",
    "steps",
]
