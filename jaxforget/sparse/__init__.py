"""The interactions as a sparse matrix: its layout, the two kernels, and what is built on them."""

from jaxforget.sparse import (
    arithmetic,
    compact,
    degrees,
    dense,
    draws,
    kernels,
    layout,
    search,
)
from jaxforget.sparse.kernels import sddmm, spmm

__all__ = [
    "arithmetic",
    "compact",
    "degrees",
    "dense",
    "draws",
    "kernels",
    "layout",
    "sddmm",
    "search",
    "spmm",
]
