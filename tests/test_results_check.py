"""The numbers that the pages quote: the committed ones hold, and a wrong one is named."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from experiments import cli
from experiments.commands import _queries, _quotes, results_check
from experiments.errors import Refused

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "results"
QUOTE = """
[[quote]]
file = "page.md"
section = "seeds"
folder = "influence_seeds"
text = "the flow # ± # %"
numbers = ["{mean,ci95}%: recovery auc [method=ifru_flow]"]
"""
PAGE = "# Page\n\n## seeds: of fifteen\n\nIt is known that the\nflow 83 ± 5 % or 7 of it.\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A page with one quote, beside the tables of one committed folder."""
    (tmp_path / "results" / "influence_seeds").mkdir(parents=True)
    for name in ("cells", "metrics", "timings"):
        source = TABLES / "influence_seeds" / f"{name}.csv"
        shutil.copy(source, tmp_path / "results" / "influence_seeds")
    (tmp_path / "results" / "quoted.toml").write_text(QUOTE)
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.chdir(tmp_path)
    _queries.read.cache_clear()
    yield tmp_path
    _queries.read.cache_clear()


def checked(capsys):
    code = cli.main(["results-check"])
    return code, *capsys.readouterr()


@pytest.mark.slow  # CI runs the command itself
def test_the_committed_pages_quote_their_tables(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    _queries.read.cache_clear()
    code, out, err = checked(capsys)
    assert code == 0, out + err
    assert "all checked numbers hold" in out
    assert "influence_seeds: " in out and "ids as today" in out


def test_a_page_that_holds_says_what_it_does_not_check(folder, capsys):
    code, out, _ = checked(capsys)
    assert code == 0
    assert "page.md: 2 numbers checked; 1 numbers in 1 lines are not checked" in out


def test_a_changed_number_is_named_with_its_line(folder, capsys):
    (folder / "page.md").write_text(PAGE.replace("83 ±", "84 ±"))
    code, out, _ = checked(capsys)
    wrong = [line for line in out.splitlines() if " quotes " in line]
    assert code == 1 and len(wrong) == 1
    assert wrong[0].startswith("page.md:6: ")
    assert "quotes 84, computed 82.8" in wrong[0]


def test_a_changed_table_is_found(folder, capsys):
    path = folder / "results" / "influence_seeds" / "metrics.csv"
    table = pd.read_csv(path)
    chosen = (table["stage"] == "after") & (table["metric"] == "auc") & (table["split"] == "test")
    table.loc[chosen, "value"] += 0.001
    table.to_csv(path, index=False)
    assert checked(capsys)[0] == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"influence_seeds"\n', '"not_there"\n', "not_there/cells.csv is not there"),
        ("mean,ci95", "mean,mode", "expected one of"),
        ("recovery auc", "recoverd auc", "is no quantity"),
        ("recovery auc", "before auc test 7", "have no such number"),
        ("recovery auc", "before auc test x", "'x' is no length of lists"),
        ("recovery auc", "cells method", "holds words, not numbers"),
        ("method=ifru_flow", "method=ifru_flow seed=1|2", "an interval of 2 values: none is"),
        ("method=ifru_flow", "method=nobody", "no cell is left"),
        ("method=ifru_flow", "colour=red", "no column 'colour'"),
        ("method=ifru_flow", "seed=first", "holds numbers"),
        ("method=ifru_flow", "ifru_flow", "is no filter"),
        ("{mean,ci95}%", "mean%", "has 2 numbers, the queries 1"),
        ('section = "seeds"', 'section = "none"', "no section 'none'"),
        ("the flow #", "the river #", "is not in page.md"),
        ("text =", "words =", "unknown key 'words'"),
        ("numbers = [", 'numbers = "', "results/quoted.toml: "),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_line(folder, capsys, old, new, said):
    path = folder / "results" / "quoted.toml"
    assert old in QUOTE
    path.write_text(QUOTE.replace(old, new))
    code, out, err = checked(capsys)
    assert code == 2 and not out
    assert err.count("\n") == 1 and "quoted.toml" in err and said in err


def test_a_page_or_a_file_of_quotes_that_is_not_there_is_refused(folder, capsys):
    (folder / "page.md").unlink()
    assert checked(capsys)[0] == 2
    (folder / "results" / "quoted.toml").unlink()
    code, _, err = checked(capsys)
    assert code == 2 and err.count("\n") == 1


@pytest.mark.parametrize(
    ("quoted", "value", "holds"),
    [
        (".31", 0.3149, True),
        (".31", 0.3151, False),
        ("-.000", -0.0004, True),
        ("+.001", -0.001, False),
        ("35,690", 35690.4, True),
        ("5.6e-6", 5.64e-6, True),
        ("5.6e-6", 5.66e-6, False),
        ("0", 0.2, False),
        ("0", 0.0, True),
    ],
)
def test_a_number_holds_to_the_digits_quoted(quoted, value, holds):
    assert _quotes.agrees(quoted, value) == holds


def test_digits_that_belong_to_words_code_or_lists_are_no_numbers():
    text = (
        "## 3 of\n1. NDCG@10 of 100K is `k 4` .25, 2-3, CG-3, 35,690, -7 %\n```\n8\n```\n1e-5 6/2"
    )
    found = [spot.text for spot in _quotes.everything(text)]
    assert found == [".25", "2", "3", "35,690", "-7", "1e-5", "6", "2"]


def test_words_that_stand_twice_are_refused():
    quote = _quotes.Quote("here", "page.md", "a", "is #", "", [])
    with pytest.raises(Refused, match="2 times"):
        _quotes.find(quote, "## a\nis 1 is 2\n")


def test_a_number_is_matched_whole():
    quote = _quotes.Quote("here", "page.md", "a", "# to #", "", [])
    spots = _quotes.find(quote, "## a\n.45 to 1.25.\n")
    assert [spot.text for spot in spots] == [".45", "1.25"]


def test_braces_spread_the_leftmost_first():
    made = _queries.spread("{mean,ci95}: after {ndcg,auc} test")
    assert made == [
        "mean: after ndcg test",
        "ci95: after ndcg test",
        "mean: after auc test",
        "ci95: after auc test",
    ]


def test_queries_by_hand():
    """Paired, pooled and divided numbers against the plain computation."""
    where = {"folder": "influence_seeds"}
    cells = pd.read_csv(TABLES / "influence_seeds" / "cells.csv", dtype={"cell": str})
    table = pd.read_csv(TABLES / "influence_seeds" / "metrics.csv", dtype={"cell": str})
    table = table[(table["metric"] == "auc") & (table["split"] == "test")]
    auc = table.pivot(index="cell", columns="stage", values="value")
    auc = auc.join(cells.set_index("cell")[["method", "seed"]])
    replay = auc[auc["method"] == "replay"].set_index("seed")
    flow = auc[auc["method"] == "ifru_flow"].set_index("seed")

    def one(text):
        return _queries.evaluate(text, TABLES, where)[0][1]

    gain, goal = replay["after"] - replay["before"], replay["reference"] - replay["before"]
    assert one("pooled: recovery auc [method=replay]") == pytest.approx(gain.sum() / goal.sum())
    assert one("mean%: recovery auc [method=replay]") == pytest.approx(100 * (gain / goal).mean())
    paired = "after auc test [method=replay] - after auc test [method=ifru_flow]"
    assert one(f"mean: {paired}") == pytest.approx((replay["after"] - flow["after"]).mean())
    both = "mean: after auc test [method=replay] over mean: before auc test [method=replay]"
    assert one(both) == pytest.approx(replay["after"].mean() / replay["before"].mean())


def committed(path):
    """A file's text as committed; the file itself where there is no checkout."""
    name = path.relative_to(ROOT).as_posix()
    found = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True)
    return (found.stdout if found.returncode == 0 else path.read_bytes()).decode()


def test_the_page_names_the_commits_of_every_folder():
    """The last table of results/README.md is that of the committed timings.

    ``make demo`` writes two folders of the working copy anew.
    """
    text = committed(TABLES / "README.md")
    for path in sorted(TABLES.glob("*/timings.csv")):
        row = re.search(rf"(?m)^\| `{path.parent.name}` \| ([^|]*) \|", text)
        timings = pd.read_csv(io.StringIO(committed(path)), dtype=str)
        commits = {sha[:7] for sha in timings["git_sha"]}
        assert row and set(re.findall(r"[0-9a-f]{7}", row[1])) == commits, path.parent.name


def test_a_config_that_makes_other_cells_is_reported(folder, capsys):
    (folder / "configs").mkdir()
    config = (ROOT / "configs" / "influence_seeds.toml").read_text()
    (folder / "configs" / "influence_seeds.toml").write_text(config.replace("dim = 48", "dim = 47"))
    assert "ids differ: 75 of 75" in results_check.provenance(Path("results/influence_seeds"))


def test_labels_that_differ_in_case_alone_are_not_averaged_together():
    names = pd.Series(["mf", "MF", "True", "x"])
    assert _queries._holds(names, "mf").tolist() == [True, False, False, False]
    assert _queries._holds(names, "MF|x").tolist() == [False, True, False, True]
    for word in ("true", "True", "TRUE"):
        assert _queries._holds(pd.Series([True, False]), word).tolist() == [True, False]
        assert _queries._holds(pd.Series([True, None, False]), word).tolist() == [1, 0, 0]
