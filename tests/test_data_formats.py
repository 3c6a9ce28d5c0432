"""The readers on small files, good and bad: same table however packed, one error per fault."""

import gzip
import zipfile

import numpy as np
import pytest

from jaxforget import data
from jaxforget.data import _formats


def delimited(path, content, columns=("user", "item", "value"), **settings):
    path.write_bytes(content)
    return _formats.read_delimited(path, list(columns), **{"text": ()} | settings)


# Reading

ROWS = b"7,3,4.5\n7,1,2\n2,3,0.5\n"
WANTED = {"user": [7, 7, 2], "item": [3, 1, 3], "value": [4.5, 2.0, 0.5]}


def packed(folder, form):
    if form == "plain":
        (folder / "r.csv").write_bytes(ROWS)
        return "r.csv"
    if form == "gz":
        (folder / "r.csv.gz").write_bytes(gzip.compress(ROWS, mtime=0))
        return "r.csv.gz"
    with zipfile.ZipFile(folder / "r.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/r.csv", ROWS)
        if form == "only member":
            return "r.zip"
        archive.writestr("in/s.csv.gz", gzip.compress(ROWS, mtime=0))
        archive.writestr("README", "more")
    return "r.zip!in/r.csv" if form == "member" else "r.zip!in/s.csv.gz"


@pytest.mark.parametrize("form", ["plain", "gz", "member", "gz member", "only member"])
def test_a_file_reads_the_same_however_it_is_packed(tmp_path, form):
    path = packed(tmp_path, form)
    columns = ["user", "item", "value"]
    frame = data.read("delimited", tmp_path, path=path, columns=columns, text=[])
    assert frame.to_dict("list") == WANTED
    assert frame.dtypes.to_dict() == {"user": np.int64, "item": np.int64, "value": np.float32}
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [
        tmp_path / path.partition("!")[0]
    ], "nothing is unpacked"


def test_columns_are_taken_in_the_order_that_is_said(tmp_path):
    frame = delimited(
        tmp_path / "r", b"9;x;5;1\n8;y;4;2\n", ["time", "_", "item", "user"], separator=";"
    )
    assert frame.to_dict("list") == {
        "user": [1, 2],
        "item": [5, 4],
        "value": [1.0, 1.0],
        "time": [9, 8],
    }
    assert frame["time"].dtype == np.int64 and frame["value"].dtype == np.float32


def test_a_header_is_read_by_name_and_other_columns_are_skipped(tmp_path):
    (tmp_path / "r").write_bytes(b'\xef\xbb\xbfiid,"note",uid\r\n5,"a, b",1\r\n6,,2\r\n')
    frame = _formats.read_delimited(tmp_path / "r", {"uid": "user", "iid": "item"}, text=())
    assert frame.to_dict("list") == {"user": [1, 2], "item": [5, 6], "value": [1.0, 1.0]}


def test_text_ids_keep_zeros_words_that_mean_missing_and_stray_quotes(tmp_path):
    content = b'NA\t0111161\t1\nnull\t1"0\t2\nnan\t1.0\t3\n'
    frame = delimited(tmp_path / "r", content, separator="\t", text=("user", "item"), quote=None)
    assert frame["user"].tolist() == ["NA", "null", "nan"]
    assert frame["item"].tolist() == ["0111161", '1"0', "1.0"]


def test_quoted_ids_may_hold_the_separator_and_an_escaped_quote(tmp_path):
    content = b'"1";"a;\\"b";"5"\r\n"2";"c";"0"\r\n'
    frame = delimited(tmp_path / "r", content, separator=";", text=("item",), escape="\\")
    assert frame["item"].tolist() == ['a;"b', "c"]


def test_blank_lines_at_the_end_are_no_fault(tmp_path):
    assert len(delimited(tmp_path / "r", ROWS + b"\n\n")) == 3


@pytest.mark.parametrize("blank", ["\n", "  \n", "\r\n\r\n", "\n \t\n", "\ufeff\n"])
@pytest.mark.parametrize("more", [{}, {"note": "x"}, {"value": "2.0"}])
def test_a_header_after_blank_lines_is_no_interaction(tmp_path, blank, more):
    rows = [["user", "item", *more], ["a", "x", *more.values()], ["b", "y", *more.values()]]
    (tmp_path / "r").write_text(blank + "".join(",".join(row) + "\n" for row in rows), newline="")
    roles = {"user": "user", "item": "item"} | {x: x for x in more if x == "value"}
    frame = _formats.read_delimited(tmp_path / "r", roles)
    assert frame["user"].tolist() == ["a", "b"] and frame["item"].tolist() == ["x", "y"]
    assert frame["value"].tolist() == [2.0 if "value" in more else 1.0] * 2


@pytest.mark.parametrize("name", ['i""d', "a\nb", "a\r\nb"])
def test_a_header_with_quotes_or_line_breaks_in_a_name_is_no_interaction(tmp_path, name):
    (tmp_path / "r").write_text(f'user,item,"{name}"\na,x,5\nb,"y",6\n', newline="")
    frame = _formats.read_delimited(tmp_path / "r", {"user": "user", "item": "item"})
    assert frame["user"].tolist() == ["a", "b"] and frame["item"].tolist() == ["x", "y"]


def test_a_recbole_header_after_a_blank_line_is_no_interaction(tmp_path):
    (tmp_path / "a.inter").write_text("\nuser_id:token\titem_id:token\n1\t2\n")
    assert data.read("recbole", tmp_path, path="a.inter")["user"].tolist() == ["1"]
    (tmp_path / "a.inter").write_text("\nuser:token\titem_id:token\n1\t2\n")
    with pytest.raises(ValueError, match=r"a\.inter, line 2: the header must have user_id"):
        data.read("recbole", tmp_path, path="a.inter")


def test_double_colon_files_have_times_or_not(tmp_path):
    (tmp_path / "with").write_bytes(b"1::010::3.5::99\n2::020::4::98\n")
    (tmp_path / "without").write_bytes(b"1::010::3.5\n2::020::4\n")
    timed = _formats.read_double_colon(tmp_path / "with", text=("item",))
    assert timed["time"].tolist() == [99, 98] and timed["item"].tolist() == ["010", "020"]
    assert "time" not in _formats.read_double_colon(tmp_path / "without")


def test_recbole_columns_are_found_by_name_in_any_order(tmp_path):
    (tmp_path / "a.inter").write_text(
        "item_id:token\ttimestamp:float\trating:float\tuser_id:token\n07\t12.0\t4\tu1\n8\t13\t5\tu2\n"
    )
    frame = data.read("recbole", tmp_path, path="a.inter")
    assert frame.to_dict("list") == {
        "user": ["u1", "u2"],
        "item": ["07", "8"],
        "value": [4.0, 5.0],
        "time": [12, 13],
    }
    frame = data.read("recbole", tmp_path, path="a.inter", value=None, time=None)
    assert frame["value"].tolist() == [1.0, 1.0] and "time" not in frame


def test_a_recbole_header_with_spaces_is_refused_by_what_is_wrong(tmp_path):
    """As some tools write it over rows with tabs."""
    (tmp_path / "a.inter").write_text("user_id:token item_id:token\nu1\ti1\n")
    with pytest.raises(ValueError, match=r"a.inter, line 1: spaces between the fields"):
        data.read("recbole", tmp_path, path="a.inter")


def test_recbole_without_the_named_field_says_what_there_is(tmp_path):
    (tmp_path / "a.inter").write_text("user:token\titem_id:token\n1\t2\n")
    with pytest.raises(ValueError, match=r"a\.inter, line 1.*user_id.*got user, item_id"):
        data.read("recbole", tmp_path, path="a.inter")
    assert len(data.read("recbole", tmp_path, path="a.inter", user="user")) == 1


def test_adjacency_lists_hold_users_without_items(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"0 5 6 \n1\n\n3 5\r\n4 \n")
    (tmp_path / "b.txt").write_bytes(b"1 9\n")
    frame = data.read("adjacency", tmp_path, path=["a.txt", "b.txt"])
    assert frame.to_dict("list") == {
        "user": [0, 0, 3, 1],
        "item": [5, 6, 5, 9],
        "value": [1.0] * 4,
    }


# Bad files

BAD_LINES = {
    "too few columns": (b"1,2,3\n1,2\n", r"line 2: expected 3 columns.*got 2"),
    "too many columns": (b"1,2,3\n1,2,3,4\n", r"line 2: expected 3 columns.*got 4"),
    "far too many columns": (b"1,2,3\n1,2,3\n1,2,3,4,5,6\n", r"line 3: expected 3 columns.*got 6"),
    "all lines too long": (b"1,2,3,4\n1,2,3,4\n", r"line 1: expected 3 columns.*got 4"),
    "all lines too short": (b"1,2\n1,2\n", r"line 1: expected 3 columns.*got 2"),
    "a word for a rating": (b"1,2,3\n1,2,good\n", r"line 2: value must be a finite number.*'good'"),
    "separators alone": (b"1,2,3\n,,\n", "line 2: user must be an integer, 0 or more; got ''"),
    "separators alone, in front": (b",,\n1,2,3\n", "line 1: user must be an integer"),
    "quotes alone": (b'1,2,3\n""\n', "line 2: expected 3 columns.*got 1"),
    "a space of another kind": ("1,2,3\n\u00a0\n".encode(), "line 2: expected 3 columns.*got 1"),
    "no rating": (b"1,2,3\n\n1,2,\n", r"line 3: value must be a finite number; got ''"),
    "nan": (b"1,2,3\n1,2,nan\n", r"line 2: value must be a finite number; got 'nan'"),
    "infinity": (b"1,2,3\n1,2,1e999\n", r"line 2: value must be a finite number"),
    "negative user": (b"1,2,3\n-1,2,3\n", r"line 2: user must be an integer, 0 or more; got '-1'"),
    "negative item": (b"1,-2,3\n", r"line 1: item must be an integer, 0 or more; got '-2'"),
    "a word for an id": (b"1,2,3\n1,b,3\n", r"line 2: item must be an integer"),
    "a fraction for an id": (b"1,2,3\n1,2.5,3\n", r"line 2: item must be an integer"),
    "digits of another script": ("1,2,3\n+1,٣,3\n".encode(), r"line 2: item must be an integer"),
    "an id beyond 64 bits": (b"1,2,3\n1,9223372036854775808,3\n", r"line 2: item must be an int"),
    "a header where none was said": (b"user,item,rating\n1,2,3\n", r"line 1: user must be an int"),
    "an open quote": (b'1,2,3\n1,"2,3\n1,2,3\n', r"line 2: "),
    "bytes that are no utf-8": (b"1,2,3\n1,2,3\n1,\xe9,3\n", r"line 3: not utf-8"),
    "an empty file": (b"", r"line 1: no interactions in this file"),
    "blank lines only": (b"\n\n", r"line 1: no interactions in this file"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_one_error_with_the_file_and_the_line(tmp_path, name):
    content, message = BAD_LINES[name]
    with pytest.raises(ValueError, match=message) as caught:
        delimited(tmp_path / "ratings.csv", content)
    assert str(caught.value).startswith(f"{tmp_path / 'ratings.csv'}, line ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [0, 1])
def test_an_empty_text_id_is_refused(tmp_path, field):
    row = ["a", "b", "1"]
    row[field] = ""
    with pytest.raises(ValueError, match=f"line 2: {('user', 'item')[field]} is empty"):
        delimited(tmp_path / "r", b"a,b,1\n" + ",".join(row).encode(), text=("user", "item"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1::2::3\n1::2:3\n", "line 2: expected 3 columns"),
        (b"1::2::x\n", "line 1: value must"),
        (b"1::2\n", "line 1: expected 4 columns"),
        (b"1:x:2::3\n", "line 1: expected 4 columns"),
    ],
)
def test_bad_double_colon_lines_are_named_too(tmp_path, content, message):
    (tmp_path / "r.dat").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        _formats.read_double_colon(tmp_path / "r.dat")


def test_a_header_without_rows_is_an_empty_file(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"u,i\n")
    with pytest.raises(ValueError, match=r"r\.csv, line 2: no interactions"):
        _formats.read_delimited(tmp_path / "r.csv", {"u": "user", "i": "item"})


def test_a_gz_cut_short_names_a_line_within_what_is_left(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{u},{i},{v}\n" for u, i, v in rng.integers(0, 10**6, (20_000, 3)).tolist()]
    whole = gzip.compress("".join(lines).encode())
    (tmp_path / "r.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"r\.csv\.gz, line \d+: the file is damaged") as caught:
        _formats.read_delimited(tmp_path / "r.csv.gz", ["user", "item", "value"], text=())
    line = int(str(caught.value).partition(", line ")[2].partition(":")[0])
    assert 1_000 < line < 19_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.gz", b"not gzip at all"),
        ("r.zip", b"not a zip"),
        ("r.gz", gzip.compress(ROWS, mtime=0)[:-3]),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_damaged(tmp_path, name, content):
    with pytest.raises(ValueError, match=f"{name}, line .*damaged or cut short"):
        delimited(tmp_path / name, content)


def test_a_zip_with_a_spoilt_member_is_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("r.csv", ROWS * 1000)
    spoilt = (tmp_path / "r.zip").read_bytes().replace(b"4.5", b"5.5", 1)  # a rating like any other
    (tmp_path / "r.zip").write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"r\.zip!r\.csv, line .*damaged"):
        _formats.read_delimited(tmp_path / "r.zip!r.csv", ["user", "item", "value"], text=())


def test_a_zip_without_the_member_lists_what_it_holds(tmp_path):
    packed(tmp_path, "member")
    for address in ("r.zip", "r.zip!in/other.csv"):
        with pytest.raises(ValueError, match=r"r\.zip!NAME with one of in/r\.csv, in/s"):
            _formats.read_delimited(tmp_path / address, ["user", "item", "value"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 1\n2 x\n", "line 2: ids must be integers"),
        (b"0 1\n2 -3\n", "line 2: ids must lie in"),
        (b"", "line 1: no interactions"),
        (b"0\n1\n", "line 1: no interactions"),
    ],
)
def test_bad_adjacency_lines_are_named(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.txt, {message}"):
        data.read("adjacency", tmp_path, path="a.txt")


def test_adjacency_lists_in_json_number_users_by_position(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[[5, 6],\n [], [], [5]]")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"[[], [9]]"))
    frame = data.read("adjacency", tmp_path, path=["a.json", "b.json.gz"])
    assert frame.to_dict("list") == {
        "user": [0, 0, 3, 1],
        "item": [5, 6, 5, 9],
        "value": [1.0] * 4,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[[1], [2]", "not JSON: Expecting ',' delimiter"),
        (b"", "not JSON: Expecting value"),
        (b"[" * 100_000, "not JSON"),
        (b'{"0": [1]}', "must be a list that holds a list of items for each user"),
        (b"[1, 2]", "must be a list that holds a list of items for each user"),
        (b"[[1, 2.0]]", r"items must be integers in \[0, 2\*\*63\); got 2.0"),
        (b"[[true]]", "items must be integers .* got True"),
        (b'[["7"]]', "items must be integers .* got '7'"),
        (b"[[-1]]", "items must be integers .* got -1"),
        (b"[[9223372036854775808]]", "items must be integers .* got 9223372036854775808"),
        (b"[[], []]", "items must be integers .* got none"),
    ],
)
def test_bad_lists_in_json_are_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.json: {message}"):
        data.read("adjacency", tmp_path, path="a.json")


@pytest.mark.parametrize("columns", [["user", "value"], ["user", "item", "user"], ["user", "itm"]])
def test_columns_must_name_user_and_item_once(tmp_path, columns):
    with pytest.raises(ValueError, match="columns must name 'user' and 'item'"):
        delimited(tmp_path / "r", ROWS, columns)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"separator": "||"}, "separator must be one ASCII character or '::'; got '||'"),
        ({"separator": ""}, "separator must be one ASCII character or '::'; got ''"),
        ({"separator": "\n"}, "separator must be one ASCII character"),
        ({"separator": None}, "separator must be one ASCII character or '::'; got None"),
        ({"quote": "''"}, "quote must be one ASCII character or None"),
        ({"quote": ""}, "quote must be one ASCII character or None; got ''"),
        ({"escape": "ab"}, "escape must be one ASCII character or None"),
        ({"separator": "\u00a6"}, "separator must be one ASCII character"),
        ({"separator": "'", "quote": "'"}, "separator .* is the quote or the escape too"),
    ],
)
def test_a_mark_is_one_character(tmp_path, settings, message):
    with pytest.raises(ValueError, match=f"read_delimited: {message}"):
        delimited(tmp_path / "r", ROWS, **settings)


# Sampled negatives

NEGATIVES = "(0,25)\t1064\t174\n(1,133)\t1072\t1072\n"


def test_the_file_of_sampled_negatives_is_read_as_it_is(tmp_path):
    (tmp_path / "test.negative").write_text(NEGATIVES)
    users, items = _formats.read_candidates(tmp_path / "test.negative")
    assert users.tolist() == [0, 1] and users.dtype == np.int32
    assert items.tolist() == [[25, 1064, 174], [133, 1072, 1072]]


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("(1,133)", "1,133", r"line 2: not \(user,item\)"),
        ("\t174", "\t-174", "line 1: not"),
        ("\t174", "", "line 2: 3 items, not 2"),
        ("\t174", f"\t{2**31}", r"line 1: an id of 2\*\*31"),
        (NEGATIVES, "", "no line"),
    ],
)
def test_a_bad_file_of_negatives_is_refused_with_its_line(tmp_path, old, new, fault):
    (tmp_path / "test.negative").write_text(NEGATIVES.replace(old, new))
    with pytest.raises(ValueError, match=fault):
        _formats.read_candidates(tmp_path / "test.negative")
