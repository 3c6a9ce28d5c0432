"""The public face: what ``import jaxforget`` gives, and the names that scripts elsewhere import."""

import importlib
import inspect

import pytest

import jaxforget as jf

# scripts outside the repository import these: module, names
PUBLIC = {
    "jaxforget.types": "Interactions Split ForgetSet Factors Solution Model Method",
    "jaxforget.sparse": "spmm sddmm",
    "jaxforget.layout": "build",
    "jaxforget.als": "solve_row solve_rows sweep run objective residual",
    "jaxforget.certificate": "duality_gap Certificate",
    "jaxforget.graph": "propagate",
    "jaxforget.influence": "hvp cg forget_gradient",
    "jaxforget.importance": "reach top take put",
    "jaxforget.partition": "random balanced member",
    "jaxforget.forget": "random users items popular flipped",
    "jaxforget.metrics": "evaluate",
    "jaxforget.data": "load",
    "jaxforget.split": "split",
    "jaxforget.interop": "save_factors load_factors",
    "jaxforget.models": "load",
    "jaxforget.methods": "load",
    "jaxforget.models.lightgcn": "build TOY",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_importable_where_it_was(module):
    found = importlib.import_module(module)
    missing = [name for name in PUBLIC[module].split() if not hasattr(found, name)]
    assert not missing


def test_everything_listed_is_an_attribute_and_nothing_private_leaks():
    assert sorted(jf.__all__) == jf.__all__
    shown = {name for name in dir(jf) if not name.startswith("_")}
    assert shown == set(jf.__all__) - {"__version__"}
    for name in shown:
        assert inspect.ismodule(getattr(jf, name)), name


@pytest.mark.parametrize("name", sorted(set(jf.__all__) - {"__version__"}))
def test_every_public_module_says_what_it_is_for(name):
    module = getattr(jf, name)
    assert len(module.__doc__.splitlines()[0]) > 20
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name}.__all__ lists {public}"


def test_short_names_and_long_ones_are_one_module():
    from jaxforget.graph import propagate as short

    from jaxforget.gradient.graph import propagate

    assert short is propagate and jf.graph is jf.gradient.graph
    assert jf.importance is jf.gradient.influence.importance


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert jf.__version__ == version("jaxforget")
