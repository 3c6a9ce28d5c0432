"""In a checkout, the runner under the name that it has where installed.

A wheel holds the folder ``experiments`` as the package ``jaxforget_experiments``. An editable
install finds this file instead, so that the command ``jaxforget`` runs the files of the checkout.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parent / "experiments")]  # makes this module that package
__spec__.submodule_search_locations = __path__
