"""Recommendation unlearning in JAX: pure functions, from sparse kernels to unlearning methods."""

from jaxforget import als, layout, methods, metrics, models, sparse, types  # noqa: F401

__version__ = "0.1.0"
