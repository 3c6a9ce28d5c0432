"""The commands, as a user meets them: in a process of their own, or through ``main``."""

import hashlib
import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import jax
import pytest
import toy_runs

from experiments import cli, plugins
from experiments.commands import data as datasets
from experiments.commands import doctor
from experiments.config import schema
from experiments.errors import Refused
from jaxforget.data import Source

CONTENT = b"1\t1\t5\t0\n"


@pytest.fixture(autouse=True)
def precision():
    """A run in this process chooses its own precision; the next test gets back what it had."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def refused(capsys, *words):
    """Runs a command that must be refused; returns its one line."""
    assert cli.main([str(word) for word in words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


# ---- what does not wake jax


def test_help_plan_collect_figures_and_report_do_not_import_jax(tmp_path):
    drawn = 'figures = ["pass_curves", "ratio_curves", "tolerance_times"]'
    text = toy_runs.TOML.replace(drawn, 'figures = ["tolerance_times"]')
    path = toy_runs.write(tmp_path, text)
    toy_runs.fill(path, tmp_path)
    script = (
        "import sys\n"
        "from experiments import cli\n"
        f"more = [{path!r}, '--results', {str(tmp_path)!r}]\n"
        "assert cli.main(['--help']) == 0\n"
        "assert 'pandas' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "for command in ('plan', 'collect', 'figures', 'report'):\n"
        "    assert cli.main([command, *more]) == 0, command\n"
        "found = sorted({m.partition('.')[0] for m in sys.modules})\n"
        "assert not {'jax', 'jaxlib', 'optax', 'jaxforget'} & set(found), found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=toy_runs.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_command_explains_itself(capsys):
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"  {name} " in listed
        if name == "bench":
            assert cli.main([name, "--help"]) == 0
        else:
            with pytest.raises(SystemExit) as leave:
                cli.main([name, "--help"])
            assert leave.value.code == 0
        assert "usage" in capsys.readouterr().out


def test_an_unknown_command_or_benchmark_is_refused_with_the_nearest_one(capsys):
    assert "did you mean 'figures'" in refused(capsys, "figure")
    assert "no benchmark" in refused(capsys, "bench", "nothing_of_this_name")


def test_plan_counts_what_exists(tmp_path, capsys):
    path = toy_runs.write(tmp_path)
    cells = toy_runs.fill(path, tmp_path)
    (tmp_path / "toy" / "cells" / f"{cells[0].id}.json").unlink()
    assert cli.main(["plan", path, "--results", str(tmp_path), "--only", "method=retrain"]) == 0
    out = capsys.readouterr().out
    assert out.count("retrain ials") == 6
    assert "6 cells (5 ok, 1 to run) on 3 trained models" in out


# ---- what is refused writes nothing


@pytest.mark.parametrize(
    "words",
    [
        ["request.ratio=2"],
        ["methods.ladder.tol=nan"],
        ["methods.lader.tol=1"],
        ["models.ials.dim=x"],
        ["--only", "method=nothing"],
        ["--shard", "4/4"],
        ["models.ials.reg=-1.0"],  # only build knows
        ["data.use=movielens", "data.size=1m"],  # not under this root
        ['data.steps=[{use="binarise",threshold=99.0}]'],  # nothing is left
    ],
)
def test_a_run_that_is_refused_says_one_line_and_writes_nothing(tmp_path, capsys, words):
    path = toy_runs.write(tmp_path)
    results, root = tmp_path / "results", tmp_path / "root"
    refused(capsys, "run", path, *words, "--results", results, "--root", root)
    assert not results.exists() and not root.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1,2,3\n1,2\n", "columns"),
        (b"1,2,3\n1,3,many\n", "many"),
        (b"1,2,3\n-1,3,1\n", "-1"),
        (b"", "no interactions"),
    ],
)
def test_bad_data_are_refused_by_file_and_reason(tmp_path, capsys, content, words):
    path = toy_runs.small(tmp_path)
    (tmp_path / "small.csv").write_bytes(content)
    line = refused(capsys, "run", path, "--results", tmp_path / "results", "--root", tmp_path)
    assert "small.csv" in line and words in line
    assert not (tmp_path / "results").exists()


def test_a_count_beyond_the_data_is_refused(tmp_path, capsys):
    text = toy_runs.TOML.replace("ratio = [0.01, 0.1]", "count = [3, 10_000_000]")
    path = toy_runs.small(tmp_path, text.replace("ratio = 0.1", ""))
    line = refused(capsys, "run", path, "--results", tmp_path / "results")
    assert "request" in line and "10000000" in line
    assert not (tmp_path / "results").exists()


def test_a_request_for_pairs_that_are_not_there_is_refused(tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("user,item\nnobody,nothing\n")
    text = toy_runs.TOML.replace("ratio = [0.01, 0.1]", f'path = "{tmp_path}/pairs.csv"')
    text = text.replace('kind = "random"', 'kind = "pairs"').replace("ratio = 0.1", "")
    path = toy_runs.write(tmp_path, text)
    assert "nobody" in refused(capsys, "run", path, "--results", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_collect_and_figures_without_results_say_what_to_do_first(tmp_path, capsys):
    path = toy_runs.write(tmp_path)
    assert "run" in refused(capsys, "collect", path, "--results", tmp_path)
    assert "collect" in refused(capsys, "figures", path, "--results", tmp_path)


# ---- data sets


@pytest.fixture
def server(tmp_path):
    """A local server of one folder: (address of its file, the folder)."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "u.data").write_bytes(CONTENT)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/u.data"
        serving.shutdown()


def source(url, sha256):
    return Source(
        name="toy",
        url=url,
        sha256=sha256,
        folder="toy",
        licence="MIT",
        citation="Nobody 2026",
        counts="1 user x 1 item",
        files=("toy/u.data",),
    )


def test_fetch_prints_the_licence_and_stores_a_verified_file(tmp_path, server, capsys, monkeypatch):
    good = source(server, hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(datasets, "sources", lambda: {"toy": ("delimited", good)})
    assert cli.main(["data", "fetch", "toy", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "MIT" in out and "Nobody 2026" in out and "1 user x 1 item" in out
    assert (tmp_path / "toy" / "u.data").read_bytes() == CONTENT


def test_a_wrong_hash_names_both_values_and_keeps_nothing(tmp_path, server):
    with pytest.raises(Refused) as error:
        datasets.fetch(source(server, "0" * 64), tmp_path)
    assert "0" * 64 in str(error.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(error.value)
    assert not [path for path in (tmp_path / "toy").rglob("*") if path.is_file()]


def test_a_file_with_another_hash_is_not_overwritten(tmp_path, server):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "u.data").write_bytes(b"mine")
    with pytest.raises(Refused, match="move it away"):
        datasets.fetch(source(server, hashlib.sha256(CONTENT).hexdigest()), tmp_path)
    assert (tmp_path / "toy" / "u.data").read_bytes() == b"mine"


def test_an_address_that_does_not_answer_is_one_line(tmp_path, server):
    with pytest.raises(Refused, match="toy"):
        datasets.fetch(source(server + ".missing", None), tmp_path)
    assert not [path for path in (tmp_path / "toy").rglob("*") if path.is_file()]


def test_offline_forbids_the_network(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setattr(datasets, "sources", lambda: {"toy": ("delimited", source(server, None))})
    assert cli.main(["data", "fetch", "toy", "--root", str(tmp_path), "--offline"]) == 2
    assert "--offline" in capsys.readouterr().err
    assert not (tmp_path / "toy").exists()


def test_what_no_hash_can_check_is_fetched_only_when_that_is_said(
    tmp_path, server, capsys, monkeypatch
):
    monkeypatch.setattr(datasets, "sources", lambda: {"toy": ("delimited", source(server, None))})
    words = ["data", "fetch", "toy", "--root", str(tmp_path)]
    assert cli.main(words) == 2
    assert "--trust-unhashed" in capsys.readouterr().err and not (tmp_path / "toy").exists()
    assert cli.main([*words, "--trust-unhashed"]) == 0
    assert "none to compare with" in capsys.readouterr().out
    assert (tmp_path / "toy" / "u.data").read_bytes() == CONTENT


def test_list_and_show_tell_licence_and_counts(capsys):
    assert cli.main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "movietweetings" in out and "MIT" in out and "44,613" in out
    assert cli.main(["data", "show", "ml-1m"]) == 0
    out = capsys.readouterr().out
    assert "Harper" in out and "movielens" in out and "sha256" in out
    assert "did you mean 'ml-1m'" in refused(capsys, "data", "show", "ml1m")


# ---- doctor


def test_doctor_prints_what_a_bug_report_needs():
    done = toy_runs.command("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("jaxlib", "device_kind", "x64", "matmul_precision", "git_sha", "known"):
        assert word in done.stdout
    assert str(Path.home()) not in done.stdout


def test_doctor_knows_the_bad_combinations():
    assert "scatter-add" in doctor.complaints("gpu", "0.11.0", 8)[0]
    assert "scatter-add" in doctor.complaints("gpu", "0.10.2", 8)[0]
    assert "deadlock" in doctor.complaints("cpu", "0.10.2", 2)[0]
    assert doctor.complaints("gpu", "0.11.1", 8) == []
    assert doctor.complaints("gpu", "0.10.1", 8) == []


def test_doctor_tells_of_huge_pages_where_they_help():
    assert "hugetlb" in doctor.advice("cpu", "Linux", "")[0]
    assert doctor.advice("cpu", "Linux", "glibc.malloc.check=0:glibc.malloc.hugetlb=1") == []
    assert doctor.advice("cpu", "Darwin", "") == doctor.advice("gpu", "Linux", "") == []
    assert doctor.complaints("cpu", "0.11.0", 2) == []


# ---- one real run, small, in one process


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run on the embedded data; its config, its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    path = toy_runs.small(folder)
    words = ["run", path, *TINY, "--results", folder]
    done = toy_runs.command(*words)
    assert done.returncode == 0, done.stderr + done.stdout
    return path, folder, done.stdout


TINY = ["seeds=0,1", "request.ratio=0.1", "methods.ladder.tol=0.1", "split.seed=0", "ks=5"]


def rows(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "toy/cells").glob("*.json"))]


def test_a_run_stores_one_whole_cell_per_point_with_full_provenance(finished):
    _, folder, out = finished
    found = rows(folder)
    assert len(found) == 8 and {row["status"] for row in found} == {"ok"}
    for row in found:
        assert {stage for stage, *_ in row["metrics"]} == {"before", "after", "reference"}
        assert {"fit", "unlearn", "reference"} == set(row["info"])
        for fact in ("jax", "jaxlib", "numpy", "scipy", "pandas", "python", "platform"):
            assert row["provenance"][fact]
        for fact in ("xla_flags", "x64", "matmul_precision", "key_impl", "started", "host"):
            assert fact in row["provenance"]
        assert row["timings"]["unlearn_seconds"] > 0 and row["timings"]["peak_memory_mb"] > 0
        assert str(Path.home()) not in json.dumps(row)
    assert len({row["data_hash"] for row in found}) == 1  # one split seed
    assert out.count("ndcg@5") == 8 and "[8/8]" in out and "eta 0 s" in out


def test_one_seed_gives_every_method_the_same_start_and_the_same_reference(finished):
    for row in (found := rows(finished[1])):
        twins = [other for other in found if other["spec"]["seed"] == row["spec"]["seed"]]
        for stage in ("before", "reference"):
            assert len({str([m for m in t["metrics"] if m[0] == stage]) for t in twins}) == 1
    assert len({str(row["metrics"]) for row in found}) == len(found)


def test_a_finished_run_is_not_repeated(finished):
    path, folder, _ = finished
    before = {p: p.stat().st_mtime_ns for p in (folder / "toy/cells").iterdir()}
    done = toy_runs.within("run", path, *TINY, "--results", folder)
    assert done.returncode == 0 and "8 already there" in done.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "toy/cells").iterdir()}


BROKEN = """
from jaxforget.types import Method
from jaxforget.gradient import model


def build(model, *, how: str):
    if how == "refuse":
        raise ValueError("needs a model of another kind")

    def unlearn(key, state, train, forget):
        raise RuntimeError("no luck")

    return Method(model.fit, unlearn, model.factors)
"""


def test_a_failed_cell_stops_nothing_and_is_run_again_only_when_asked(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setitem(toy_runs.ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    text = toy_runs.TOML.split("[methods.unlearn_als]")[0]
    text += '[methods.a]\nuse = "broken:build"\nhow = ["fail", "refuse"]\n'
    path = toy_runs.small(tmp_path, text)
    words = ["run", path, "seeds=0", "request.ratio=0.1", "ks=[]", "--results", tmp_path]
    words.append("--allow-code")
    first = toy_runs.command(*words)
    by_status = {row["status"]: row for row in rows(tmp_path)}
    assert set(by_status) == {"ok", "failed", "skipped"}, first.stderr
    assert "no luck" in by_status["failed"]["traceback"]
    assert by_status["skipped"]["reason"] == "needs a model of another kind"
    assert first.returncode == 1
    assert by_status["failed"]["id"] in first.stderr and "--retry" in first.stderr
    second = toy_runs.command(*words)  # still failed, not run again
    assert second.returncode == 1 and "3 already there" in second.stdout
    (tmp_path / "broken.py").write_text(
        BROKEN.replace('raise RuntimeError("no luck")', "return state, {}")
    )
    third = toy_runs.command(*words, "--retry")
    assert third.returncode == 0 and "2 already there" in third.stdout
    assert {row["status"] for row in rows(tmp_path)} == {"ok", "skipped"}


def test_every_in_tree_data_set_has_a_signature(tmp_path):
    for name in plugins.names(plugins.DOORS["data"]):
        assert not schema.find("data", name, "data.use").open
