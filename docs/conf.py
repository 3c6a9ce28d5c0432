"""Settings of Sphinx: `make docs` builds into `docs/_build/html`; no page needs a network."""

import importlib.metadata
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

# the notebooks mostly compile: without LLVM's optimisations it is faster, and done once
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(HERE / "_build" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

project = "jaxforget"
copyright = "the authors of jaxforget, Apache-2.0"
version = release = importlib.metadata.version("jaxforget")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "from_code"]
exclude_patterns = ["_build", "README.md", "examples"]

html_theme = "furo"  # brings its own style and fonts of the reader's system: nothing is fetched
html_title = f"jaxforget {release}"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = html_show_sourcelink = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # pages that include a file begin below its first heading

nb_execution_mode = "force"
nb_execution_timeout = 600  # of a cell; a busy machine is slow to compile
nb_execution_raise_on_error = True
nb_merge_streams = True

napoleon_use_rtype = False  # what is returned is a sentence, not a type
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

# names of other libraries, whose pages are not at hand; "..." is what an annotation leaves open
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(jax|jaxlib|numpy|np|jnp|pandas|optax|collections|pathlib|scipy|typing)\..*"),
    ("py:.*", r"(Array|Any|Callable|Path|Mapping|Sequence|Iterable|Literal|optional|namedtuple)"),
    ("py:.*", r"(None|int|float|bool|str|tuple|list|dict|object|ValueError|FileNotFoundError)"),
]
