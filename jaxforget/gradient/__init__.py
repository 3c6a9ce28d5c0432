"""Models trained by gradient: losses, propagation, descent, and influence functions.

The mathematics of IFRU ("Recommendation Unlearning via Influence Function", arXiv 2307.02147).
"""

from jaxforget.gradient import descent, graph, guard, influence, losses, model, vectors

__all__ = ["descent", "graph", "guard", "influence", "losses", "model", "vectors"]
