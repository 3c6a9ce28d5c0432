"""A benchmark that is run for some rows leaves the other rows of its table as they are."""

import shutil

import pandas as pd
import pytest
import toy_runs

from experiments.bench import _rows, device, roofline, scale, stream
from experiments.errors import Refused

BENCH = toy_runs.ROOT / "results" / "bench"
TABLES = {
    "device": (device.COLUMNS, device.KEY),
    "roofline": (roofline.COLUMNS, roofline.KEY),
    "scale": (scale.COLUMNS, [*scale.ALIKE, "interactions"]),
    "stream": (stream.COLUMNS, stream.KEY),
}


def copied(name, folder):
    return shutil.copy(BENCH / f"{name}.csv", folder / f"{name}.csv")


@pytest.mark.parametrize("name", TABLES)
def test_a_row_is_replaced_by_its_key_and_all_others_keep_their_bytes(tmp_path, name):
    path = copied(name, tmp_path)
    before = (BENCH / f"{name}.csv").read_text().splitlines()
    table = _rows.Measured(str(path), *TABLES[name])
    assert len(table.rows) == len(before) - 1
    table.put()
    assert (tmp_path / f"{name}.csv").read_text().splitlines() == before
    third = list(table.rows[2].values())
    at = table.columns.index("commit")
    table.put([*third[:at], "another", *third[at + 1 :]])
    after = (tmp_path / f"{name}.csv").read_text().splitlines()
    assert len(after) == len(before)
    assert [n for n, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [
        3
    ]
    assert "another" in after[3]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_with_other_columns_is_refused_before_anything_is_measured(tmp_path, name):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match="other columns"):
        _rows.Measured(str(tmp_path / "t.csv"), *TABLES[name])


def test_bench_device_keeps_other_sections_and_sizes(tmp_path, monkeypatch):
    path, before = copied("device", tmp_path), pd.read_csv(BENCH / "device.csv")

    def kernels(sizes):
        yield device.Line("kernels", "spmm by user", "of this test", 1.0, "s")
        yield device.Line("kernels", "spmm by user", "of this test", 2.0, "s")

    monkeypatch.setattr(device, "SECTIONS", (kernels,))
    assert device.main(["--small", "--only", "--out", str(path)]) == 0
    after = pd.read_csv(path)
    pd.testing.assert_frame_equal(after.iloc[:-1], before, check_dtype=False)
    assert after["value"].iloc[-1] == 2.0


def test_bench_scale_keeps_other_sizes_and_counts_growth_from_the_smallest(tmp_path, monkeypatch):
    path, before = copied("scale", tmp_path), pd.read_csv(BENCH / "scale.csv")
    facts = ["cpu", "1", "1", "c"]
    lines = [["spmm", 500_000, 10, 10, 64, 0.001, 1.0, 9.0, *facts]]
    monkeypatch.setattr(scale, "table", lambda *_: lines)
    assert scale.main(["--sizes", "500000", "--out", str(path)]) == 0
    after = pd.read_csv(path)
    assert len(after) == len(before) + 1 and (tmp_path / "scale.svg").exists()
    spmm = after[after["stage"] == "spmm"]
    expected = spmm["seconds"] / spmm["interactions"] / (0.001 / 500_000)
    assert spmm["growth"].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    others = after["stage"] != "spmm"
    assert after[others]["growth"].tolist() == pytest.approx(
        before[before["stage"] != "spmm"]["growth"].tolist(), rel=1e-6
    )
