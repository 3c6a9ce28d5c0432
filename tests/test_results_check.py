"""Every number that the pages quote from results/ is computed again from the tables."""

import math
import re
import shutil
from pathlib import Path

import pytest

from experiments import cli
from experiments.commands import _quotes
from experiments.figures import _tables

ROOT = Path(__file__).parent.parent
QUOTE = """[[quote]]
file = "README.md"
folder = "influence_demo"
text = "{text}"
where = {{ model = "mf" }}
show = ["{show}"]
"""


@pytest.fixture
def small(tmp_path):
    """A checkout with one results folder and one page; a function that writes page and quote."""
    (tmp_path / "results").mkdir()
    (tmp_path / "configs").mkdir()
    shutil.copytree(ROOT / "results" / "influence_demo", tmp_path / "results" / "influence_demo")
    shutil.copy(ROOT / "configs" / "influence_demo.toml", tmp_path / "configs")

    def run(text, show="after distance all | method=retrain", page=None):
        (tmp_path / "README.md").write_text(f"# Page\n\nsome words, {page or text}, and more\n")
        quote = QUOTE.format(text=text, show=show)
        (tmp_path / "results" / "quoted.toml").write_text(quote)
        return cli.main(["results_check", "--root", str(tmp_path)])

    return run


def test_the_committed_pages_say_what_the_committed_tables_say(capsys):
    assert cli.main(["results_check", "--root", str(ROOT)]) == 0
    out = capsys.readouterr().out
    assert " 0 wrong" in out and "results/README.md:" in out
    assert "demo: 108 cells of " in out and "not those of its config" not in out


def distance(n):
    tables = _tables.read(ROOT / "results" / "influence_demo")
    words = ["after distance all | method=retrain", {"model": "mf"}]
    return _quotes.computes(tables, *words, ROOT)[n]


def test_a_wrong_number_is_named_with_its_page_line_and_right_value(small, capsys):
    mean, half = f"{distance(0):.3f}", f"{distance(1):.3f}"
    assert small(f"{mean} ± {half}") == 0
    assert small(f"{float(mean) + 0.001:.3f} ± {half}") == 1
    err = capsys.readouterr().err
    assert "README.md, line 3, of results/influence_demo" in err
    assert mean[:4] in err and "± " not in err
    assert small(f"{mean} ± {float(half) + 0.001:.3f}") == 1
    assert "± " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"show": "distant all"}, "nothing is called 'distant'"),
        ({"show": "after distance all | method=nobody"}, "0 cells"),
        ({"show": "after distance all | colour=red"}, "no column 'colour'"),
        ({"show": "after distance all | method"}, "'method' in .* is not column=value"),
        ({"show": "after distance all"}, "several cells of one seed"),
        ({"show": "after distance all | method=retrain", "page": "nothing"}, "0 lines hold"),
        ({"text": "no number"}, "has 0 numbers"),
        ({"show": "audit values | method=ifru"}, "audit.csv"),
    ],
)
def test_a_quote_that_cannot_be_computed_is_refused_in_one_line(words, message, small, capsys):
    assert small(**({"text": ".1"} | words)) == 2
    err = capsys.readouterr().err
    assert re.search(message, err) and err.count("\n") == 1


def test_a_page_or_a_list_of_quotes_that_is_not_there_is_refused(tmp_path, capsys):
    assert cli.main(["results_check", "--root", str(tmp_path)]) == 2
    assert "quoted.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("| `replay` | 92 ± 6 % | .74 |", [("92", "6"), (".74", None)]),
        ("-.000 ± .003, +.001", [("-.000", ".003"), ("+.001", None)]),
        ("NDCG@10 of 5.6e-6 in 1,000 rows", [("5.6e-6", None), ("1,000", None)]),
        ("`auc_2`, v0.2 and x64", []),
    ],
)
def test_numbers_are_found_in_words(text, numbers):
    assert _quotes.told(text) == numbers


@pytest.mark.parametrize(
    ("said", "computed", "right"),
    [
        (".12", 0.1249, True),
        (".12", 0.1251, False),
        (".12", 0.125, True),  # a half may have been rounded either way
        ("-.000", -0.0004, True),
        ("1,234", 1234.4, True),
        ("5.6e-6", 5.64e-6, True),
        ("5.6e-6", 5.66e-6, False),
        ("1", math.nan, False),
    ],
)
def test_a_number_agrees_where_rounding_gives_what_is_said(said, computed, right):
    assert _quotes.agrees(said, computed) == right


def test_shares_are_ratios_of_means_and_differences_are_paired():
    tables = _tables.read(ROOT / "results" / "influence_demo")
    where = {"model": "mf"}
    stage = {s: _quotes.series(tables, f"{s} auc | method=replay", where) for s in _quotes.STAGES}
    gain, goal = stage["after"] - stage["before"], stage["reference"] - stage["before"]
    share = _quotes.computes(tables, "share auc | method=replay", where, ROOT)
    assert share[0] == pytest.approx(100 * gain.mean() / goal.mean()) and share[2] == 3
    each = _quotes.computes(tables, "recovered auc | method=replay", where, ROOT)[0]
    assert each == pytest.approx(100 * (gain / goal).mean())
    words = "residual | method=ifru less residual | method=replay"
    apart = _quotes.computes(tables, words, where, ROOT)
    res = _tables.local_residual(tables)
    cells = _tables.finished(tables)
    by = {
        m: cells[(cells.model == "mf") & (cells.method == m)].set_index("seed")["cell"].map(res)
        for m in ("ifru", "replay")
    }
    assert apart[:2] == pytest.approx(_tables.interval(by["ifru"] - by["replay"])[:2])
    alone = "after auc | method=replay less before auc | method=replay"
    assert _quotes.computes(tables, alone, where, ROOT)[0] == pytest.approx(gain.mean())
