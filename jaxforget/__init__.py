"""Recommendation unlearning in JAX: pure functions, from sparse kernels to unlearning methods.

The line from a file to a measured, unlearnt model::

    import jax
    import jaxforget as jf

    ratings = jf.preprocess.binarise(jf.data.read("movietweetings", None), threshold=7.0)
    parts = jf.split.split_frame(ratings, seed=0, shares=(0.8, 0.1, 0.1)).split
    train, request = jf.forget.random(jax.random.key(0), parts.train, 0.05)

    model = jf.models.load("ials")(dim=32, reg=20.0, alpha=4.0)
    method = jf.methods.load("unlearn_als")(model, max_sweeps=10)
    state, info = jax.jit(method.fit)(jax.random.key(1), train, request.before)
    state, info = jax.jit(method.unlearn)(jax.random.key(2), state, train, request)
    print(info["residual"], jf.metrics.evaluate(state, parts, request)["ndcg@10"])

Packages by idea: ``sparse`` (the kernels), ``als`` and ``gradient`` (the two papers), ``metrics``,
``prepare``, ``shards``, and the doors ``data``, ``models``, ``methods``, each found by file name;
``erase`` meets requests to a model that is being served.
"""

import importlib.metadata as _metadata
import sys as _sys

from jaxforget import (
    als,
    data,
    erase,
    gradient,
    methods,
    metrics,
    models,
    prepare,
    shards,
    sparse,
    types,
)
from jaxforget.als import certificate
from jaxforget.gradient import descent, graph, influence
from jaxforget.gradient.influence import importance
from jaxforget.prepare import forget, interop, preprocess, shilling, split
from jaxforget.shards import partition
from jaxforget.sparse import layout

try:
    __version__ = _metadata.version("jaxforget")
except _metadata.PackageNotFoundError:  # a checkout that was never installed
    __version__ = "unknown"

__all__ = [
    "__version__",
    "als",
    "certificate",
    "data",
    "descent",
    "erase",
    "forget",
    "gradient",
    "graph",
    "importance",
    "influence",
    "interop",
    "layout",
    "methods",
    "metrics",
    "models",
    "partition",
    "prepare",
    "preprocess",
    "shards",
    "shilling",
    "sparse",
    "split",
    "types",
]

# the short names are modules too: ``from jaxforget.graph import propagate`` works as it reads
for _module in (
    certificate,
    descent,
    forget,
    graph,
    importance,
    influence,
    interop,
    layout,
    partition,
    preprocess,
    shilling,
    split,
):
    _sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module
