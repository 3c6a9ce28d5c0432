"""The library's plug-in resolver, loaded by its path: importing the library would load jax."""

import importlib.util
from pathlib import Path
from types import ModuleType


def _load() -> ModuleType:
    """``jaxforget/_plugins.py``, which imports nothing but the standard library."""
    package = importlib.util.find_spec("jaxforget")  # finds a top-level package without importing
    path = Path(package.submodule_search_locations[0]) / "_plugins.py"
    spec = importlib.util.spec_from_file_location(f"{__package__}._library_plugins", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_library = _load()
Door, Target = _library.Door, _library.Target
resolve, load, names, suggest = (
    _library.resolve,
    _library.load,
    _library.names,
    _library.suggest,
)
FIGURES = Door(
    "figure",
    f"{__package__}.figures",
    Path(__file__).parent / "figures",
    "jaxforget.figures",
    "draw",
)
DOORS = {**_library.DOORS, "figures": FIGURES}
