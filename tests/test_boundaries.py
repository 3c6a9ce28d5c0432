"""The rules that keep the house clean, read from the syntax trees: a red test, not a memory."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "jaxforget").rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))
TOUCHES_FILES = ("os", "pathlib", "io", "gzip", "zipfile", "shutil", "tempfile", "csv")
# what may import what: only from a later floor to an earlier one, never to a neighbour on its own
FLOORS = (
    ("_jax",),
    ("types", "_plugins", "_checks", "_varying", "_weights"),
    ("_settings", "_shares"),
    ("sparse",),
    ("als", "metrics", "data"),
    ("gradient", "prepare"),
    ("shards", "models"),
    ("methods",),
    ("erase",),
)
LONG_FILES = {
    "jaxforget/types.py": 300,  # one page: the vocabulary, and what a loss and a model must offer
}
FILE_READERS = ("interop.py", "_factor_files.py", "requests.py", "_plugins.py")
VARYING = ("while_loop", "fori_loop", "cond", "switch")  # of jax.lax; jaxforget._varying has these
NEVER = ("time", "datetime", "logging", "random", "urllib", "requests", "numpy.random")


def place(path):
    return str(path.relative_to(ROOT))


def imports(tree):
    """Every imported module as a dotted name; ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(tree):
    """Every dotted name in use, such as ``jax.config.update``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)


def within(name, modules):
    return any(name == module or name.startswith(module + ".") for module in modules)


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_the_library_never_imports_experiments_nor_reads_configs_or_results(path):
    tree = ast.parse(path.read_text())
    assert not [name for name in imports(tree) if within(name, ("experiments",))]
    strings = [
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    assert not [s for s in strings if s.startswith(("configs/", "results/"))]


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_packages_import_only_what_lies_below_them(path):
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    own = path.relative_to(ROOT / "jaxforget").parts[0].removesuffix(".py")
    if own == "__init__":  # the public face looks at all of them
        return
    for name in imports(ast.parse(path.read_text())):
        if within(name, ("jaxforget",)):
            other = name.split(".")[1]
            allowed = other == own or floor_of[other] < floor_of[own]
            assert allowed, f"{place(path)} imports {name}, which lies above or beside it"


@pytest.mark.parametrize("folder", ["data", "models", "methods"])
def test_no_plug_in_imports_another_of_its_kind(folder):
    for path in (ROOT / "jaxforget" / folder).glob("[!_]*.py"):
        others = {p.stem for p in path.parent.glob("[!_]*.py")} - {path.stem}
        package = f"jaxforget.{folder}"
        found = [
            n
            for n in imports(ast.parse(path.read_text()))
            if within(n, [f"{package}.{other}" for other in others])
        ]
        assert not found, f"{place(path)} imports {found}"


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_only_data_and_interop_touch_files_and_nothing_knows_the_time(path):
    tree = ast.parse(path.read_text())
    names = set(imports(tree)) | {n.replace("np.random", "numpy.random") for n in attributes(tree)}
    reads_files = path.parent.name == "data" or path.name in FILE_READERS
    banned = () if reads_files else TOUCHES_FILES
    if path.name == "split.py":
        allowed = ("numpy.random",)  # the legacy shuffle of published splits
    else:
        allowed = ()
    modules = [n for n in imports(tree) if within(n, (*banned, *NEVER))]
    if path.name == "_lines.py":  # dates that stand in files
        modules = [n for n in modules if not within(n, ("datetime",))]
        assert not {"datetime.now", "datetime.today", "datetime.utcnow"} & names
    assert not modules
    assert not [n for n in names if n.startswith("numpy.random") and not within(n, allowed)]
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert "print" not in calls
    assert reads_files or "open" not in calls


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_the_library_never_asks_for_a_device_nor_changes_the_configuration(path):
    names = set(attributes(ast.parse(path.read_text())))
    assert not names & {
        "jax.devices",
        "jax.device_put",
        "jax.local_devices",
        "jax.config.update",
        "jax.device_count",
        "jax.default_backend",
        "os.environ",
    }


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_no_array_is_made_at_import_time(path):
    calls = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            calls.append(ast.unparse(node.value.func))
    assert not [c for c in calls if c.split(".")[0] in ("jnp", "np", "jax", "numpy")]


@pytest.mark.parametrize("path", LIBRARY + EXPERIMENTS, ids=place)
def test_files_and_functions_stay_short(path):
    """At most 250 lines a file, and 40 a function, not counting its signature and docstring."""
    text = path.read_text()
    assert len(text.splitlines()) <= LONG_FILES.get(place(path), 250)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 40, f"{path.name}: the body of {node.name} has {length} lines"


def modules_after(statement):
    code = f"import sys; {statement}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_library_loads_jax_and_optax_only():
    ours = modules_after("import jaxforget")
    base = modules_after(
        "import jax, optax, jax.extend, jax.scipy.linalg, importlib.metadata, zipfile"
    )
    assert ours - base <= {"jaxforget", "difflib", "fractions"}
    assert "pandas" not in ours and "matplotlib" not in ours


def test_importing_the_library_wakes_no_device():
    code = "import jaxforget, jax._src.xla_bridge as b; print(len(b._backends))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "0", done.stderr


# the rooms of the runner, as those of the library: a room imports itself and what lies before it
ROOMS = (
    ("errors", "files", "plugins", "statistics"),
    ("config", "frames", "whole"),
    ("lab", "figures"),
    ("commands", "bench"),
    ("cli",),
    ("__main__",),
)


def relative_imports(path):
    """Every import from inside the runner, as the dotted path from its folder."""
    package = path.relative_to(ROOT / "experiments").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = [*base, *(node.module or "").split(".")] if node.module else list(base)
            yield from (".".join([*module, alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=place)
def test_the_rooms_of_the_runner_import_only_what_lies_before_them(path):
    own = path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")
    if own == "__init__":
        return
    floor_of = {name: floor for floor, names in enumerate(ROOMS) for name in names}
    for name in relative_imports(path):
        other = name.split(".")[0]
        allowed = other == own or floor_of[other] < floor_of[own]
        assert allowed, f"{place(path)} imports {name}, which lies beside or after it"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=place)
def test_the_runner_never_imports_itself_by_name(path):
    """Installed, it is not called ``experiments``."""
    names = imports(ast.parse(path.read_text()))
    assert not [name for name in names if within(name, ("experiments", "jaxforget_experiments"))]


@pytest.mark.parametrize("path", LIBRARY, ids=place)
def test_loops_conditions_and_gradients_are_those_that_may_stand_in_shard_map(path):
    if path.name == "_varying.py":
        return
    plain = {f"{at}lax.{name}" for at in ("", "jax.") for name in VARYING}
    plain |= {"jax.grad", "jax.value_and_grad"}
    used = plain.intersection(attributes(ast.parse(path.read_text())))
    assert not used, f"{place(path)}: take {sorted(used)} from jaxforget._varying"
