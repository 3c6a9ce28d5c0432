"""A number that a benchmark cannot measure is refused in words, before anything is measured."""

import argparse
import math
import re

import pytest
import toy_runs

from experiments import cli
from experiments.bench import _options

FILES = sorted((toy_runs.ROOT / "experiments" / "bench").glob("[!_]*.py"))
WORDS = [
    ("als", "--runs", "0"),
    ("als", "--dim", "0"),
    ("kernels", "--interactions", "-5"),
    ("kernels", "--runs", "many"),
    ("stream", "--requests", "0"),
    ("stream", "--dim", "1.5"),
    ("certificate", "--share", "2"),
    ("certificate", "--share", "1"),
    ("certificate", "--tol", "0"),
    ("certificate", "--tol", "nan"),
    ("certificate", "--reg", "-1"),
    ("influence", "--ratio", "0"),
    ("partition", "--balanced", "-1"),
    ("partition", "--epochs", "0"),
    ("scale", "--sizes", "0"),
    ("scale", "--sizes"),
    ("erase", "--seeds", "0"),
    ("erase", "--repeats", "0"),
    ("gowalla", "--seeds", "-1"),
    ("gowalla_forgetting", "--dim", "0"),
    ("gowalla_shards", "--seeds", "0"),
    ("ncf", "--dim", "0"),
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_number_that_cannot_be_measured_is_refused(capsys, words):
    with pytest.raises(SystemExit) as end:
        cli.main(["bench", *words])
    assert end.value.code == 2
    assert f"argument {words[1]}: " in capsys.readouterr().err


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_benchmark_takes_any_number(path):
    assert not re.findall(r"type=(?:int|float)\b", path.read_text())


def test_numbers_that_can_be_measured_are_read():
    assert _options.count("1") == 1 and _options.at_least(0)("0") == 0
    assert _options.fraction("0.01") == 0.01 and _options.positive("1e3") == 1000
    for text in ("inf", "nan", "0", "x", str(-math.inf)):
        with pytest.raises(argparse.ArgumentTypeError, match=re.escape(repr(text))):
            _options.positive(text)
