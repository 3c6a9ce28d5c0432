"""How tests are compiled: most of their time is compiling, so in the ways that take least of it.

The code is of one piece and not optimised, and fusions are written by XLA's older emitters, where
jaxlib still has them. ``make test-all`` runs what users run.
"""

from importlib.metadata import version

FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if version("jaxlib").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
