"""The pages keep up with the code: cards, settings, examples to copy, and what notebooks run."""

import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.flatten_util import ravel_pytree

import jaxforget
from jaxforget import forget, models
from jaxforget.metrics import claims

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
LONGEST = 60  # lines of a method that is written out in the docs


def load(path):
    """A module of ``docs``, which is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


signatures = load(DOCS / "extensions" / "signatures.py")


def plug_ins(folder):
    return sorted((ROOT / "jaxforget" / folder).glob("[!_]*.py"))


def blocks(path, fence):
    return re.findall(rf"```{fence}\n(?::[^\n]*\n)*(.*?)```", path.read_text(), re.DOTALL)


def test_every_method_has_a_card_with_its_settings_and_every_card_a_method():
    methods = {path.stem for path in plug_ins("methods")}
    cards = {path.stem for path in (DOCS / "methods").glob("*.md")} - {"index"}
    assert cards == methods
    listed = (DOCS / "methods" / "index.md").read_text()
    for name in methods:
        text = (DOCS / "methods" / f"{name}.md").read_text()
        assert f"```{{settings}} jaxforget/methods/{name}.py\n" in text
        parts = ("Claim", "Formula", "Settings", "Cost", "When it fails", "Source")
        assert [part for part in parts if f"**{part}.**" not in text] == []
        assert f"[{name}]({name}.md)" in listed and f"\n{name}\n" in listed


@pytest.mark.parametrize("folder, page", [("models", "models.md"), ("data", "data.md")])
def test_every_model_and_reader_has_its_table(folder, page):
    text = (DOCS / page).read_text()
    for path in plug_ins(folder):
        assert f"```{{settings}} jaxforget/{folder}/{path.name}\n" in text


@pytest.mark.parametrize(
    "folder, function", [("methods", "build"), ("models", "build"), ("data", "read")]
)
def test_every_setting_is_explained_and_nothing_else_is(folder, function):
    for path in plug_ins(folder):
        found = signatures.settings(path, function)
        assert [s.name for s in found if not s.meaning] == [], path.name
        given = {argument.arg for argument in signatures.definition(path, function).args.args}
        explained = signatures.explained(path, function).keys()
        assert explained - given == {s.name for s in found}, path.name


def test_the_config_reference_names_the_keys_of_the_schema():
    fields = importlib.import_module("experiments.config.fields")
    text = (DOCS / "config.md").read_text()
    for name in ("Experiment", "Split", "Request"):
        (body,) = re.findall(rf"```{{fields}} {name}\n(.*?)\n```", text, re.DOTALL)
        assert set(signatures.entries(body)) == set(getattr(fields, name).__struct_fields__)


def test_every_public_module_is_on_a_page_of_the_reference():
    shown = set(signatures.PACKAGES)
    for package in signatures.PACKAGES:
        shown |= {f"{package}.{module}" for module in signatures.modules(package)}
    there = {
        module.name.removeprefix("jaxforget.")
        for module in pkgutil.walk_packages(jaxforget.__path__, "jaxforget.")
        if "._" not in module.name
    }
    assert shown == there


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_method_to_copy_is_short_is_shown_and_runs(path, labelled):
    assert len(path.read_text().splitlines()) <= LONGEST
    page = (DOCS / "tutorials" / "add_method.md").read_text()
    assert f"```{{literalinclude}} ../examples/{path.name}\n" in page
    module, model = load(path), toy_model()
    method = module.build(model, **module.TOY)
    assert claims.of(module.build, module.TOY).kind in ("exact", "approximate")
    train, request = forget.random(jax.random.key(0), labelled, 0.1)
    state, _ = jax.jit(method.fit)(jax.random.key(1), train, request.before)
    new, info = jax.jit(method.unlearn)(jax.random.key(1), state, train, request)
    assert info and all(np.ndim(value) == 0 for value in info.values())
    factors = method.factors(new, train, request.after)
    assert factors.users.shape[0] == 12 and factors.items.shape[0] == 10
    assert all(np.isfinite(x).all() for x in factors)


def toy_model():
    module = importlib.import_module("jaxforget.models.mf")
    return models.load("mf")(**module.TOY)


def test_bagging_unlearns_as_if_never_loaded(labelled):
    module = load(DOCS / "examples" / "bagging.py")
    method = module.build(toy_model(), **module.TOY)  # two members
    train, request = forget.random(jax.random.key(0), labelled, 0.1)
    fit = jax.jit(method.fit)
    state, _ = fit(jax.random.key(1), train, request.before)
    new, _ = jax.jit(method.unlearn)(jax.random.key(2), state, train, request)
    never, _ = fit(jax.random.key(2), train, request.after)
    for got, want in zip(jax.tree.leaves(new), jax.tree.leaves(never)):
        np.testing.assert_array_equal(got, want)
    members = np.mean([u @ i.T for u, i in zip(*new)], axis=0)
    served = method.factors(new, train, request.after)
    np.testing.assert_allclose(served.users @ served.items.T, members, rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="share must lie in"):
        module.build(toy_model(), n_members=2, share=1.5)


def test_one_step_is_the_dense_newton_step_of_the_difference(labelled):
    module, model = load(DOCS / "examples" / "one_step.py"), toy_model()
    train, request = forget.random(jax.random.key(0), labelled, 0.1)
    method = module.build(model, damping=3.0, n_steps=200, tol=1e-10)
    params, _ = jax.jit(method.fit)(jax.random.key(1), train, request.before)
    unlearn = jax.jit(method.unlearn)
    new, info = unlearn(jax.random.key(2), params, train, request)
    flat, back = ravel_pytree(params)

    @jax.jit
    def dense(flat, request):
        def loss(flat, weights):
            return model.loss(back(flat), train, weights, weights)

        pull = jax.grad(loss)(flat, request.before) - jax.grad(loss)(flat, request.after)
        return pull, jax.hessian(loss)(flat, request.after) + 3.0 * jnp.eye(len(flat))

    pull, damped = dense(flat, request)
    want = flat + np.linalg.solve(damped, pull)
    assert info["min_curvature"] > 0
    np.testing.assert_allclose(ravel_pytree(new)[0], want, rtol=1e-7, atol=1e-9)
    _, empty = forget.random(jax.random.key(0), labelled, count=0)
    same, _ = unlearn(jax.random.key(2), params, train, empty)
    np.testing.assert_array_equal(ravel_pytree(same)[0], flat)  # not a bit moves


def run(code, cwd):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def notebook(name):
    path = DOCS / "tutorials" / f"{name}.md"
    return run("\n".join(blocks(path, r"{code-cell} ipython3")), path.parent)


@pytest.mark.slow
def test_the_notebook_on_pure_functions_runs():
    told = notebook("jax")
    assert "the same by sddmm: True" in told
    before, after = (
        np.array(re.search(rf"{word} +\[(.*?)\]", told)[1].split(), float)
        for word in ("before", "after")
    )
    assert (after < before).all()  # of four seeds


@pytest.mark.slow
def test_the_notebook_on_erasing_runs():
    told = notebook("erase")
    assert "35 of 20,734 interactions to be erased" in told and "is no model of" in told
    assert "differs from the optimum that never saw the 35" in told and "verified  |M - M*|" in told
    assert "3 requests," in told


@pytest.mark.slow
def test_the_notebook_on_methods_runs():
    told = notebook("add_method")
    assert "never loaded: 0.0" in told
    distances = re.findall(r"before ([\d.]+), after ([\d.]+)", told)
    assert len(distances) == 2 and all(float(a) < float(b) for b, a in distances)


def test_the_notebook_on_data_runs():
    told = notebook("add_data")
    assert "did you mean 'separator'?" in told and "'my_plays'" in told


@pytest.mark.slow
def test_the_notebook_on_unlearning_runs():
    told = notebook("unlearn")
    distance = dict(re.findall(r"(before|unlearnt) +distance ([\d.]+)", told))
    assert float(distance["unlearnt"]) < 0.5 * float(distance["before"])


@pytest.mark.slow
def test_the_notebook_on_certificates_runs():
    told = notebook("certified")
    assert "\n[]\n" in told and "FAILED  the factors are not those of the receipt" in told


def contributed(first_line):
    (code,) = (b for b in blocks(ROOT / "CONTRIBUTING.md", "python") if b.startswith(first_line))
    scope = {"__name__": "contributed"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), scope)
    return scope


def test_the_data_set_of_contributing_reads(tmp_path):
    (tmp_path / "plays.tsv").write_text("ann\ttango\t5\nbob\t7\t1\n")
    frame = contributed('"""Plays')["read"](tmp_path)
    assert frame["item"].tolist() == ["tango", "7"] and frame["value"].tolist() == [5, 1]


def test_the_model_of_contributing_fits_and_forgets(toy):
    model = contributed('"""The same popularity')["build"]()
    train, request = forget.random(jax.random.key(0), toy, 0.2)
    new, info = model.fit(jax.random.key(1), train, request.after)
    kept = np.asarray(train.items)[np.asarray(request.after) > 0]
    np.testing.assert_array_equal(new.items[:, 0], np.bincount(kept, minlength=10))
    assert info["most"] == new.items.max()
    assert np.isfinite(model.loss(new, train, request.after, request.after))


def test_the_figure_of_contributing_draws_from_committed_tables():
    class Tables:
        cells, metrics, timings = (
            pd.read_csv(ROOT / "results" / "demo" / f"{name}.csv")
            for name in ("cells", "metrics", "timings")
        )

    figure, frame = contributed('"""How long')["draw"](Tables)
    assert set(frame["method"]) == set(Tables.cells["method"]) and figure.axes
