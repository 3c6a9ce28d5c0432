"""Every row of a file is read exactly, or the file is refused with the line and its content."""

import gzip
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given

from jaxforget.data import _formats, _lines
from jaxforget.data._lines import unix
from jaxforget.prepare import interop

NOW = 1672531200 * 10**9  # in nanoseconds
COLUMNS = {"user": "user", "item": "item", "rating": "value"}


def wrote(tmp_path, text, name="ratings.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,item,rating\nu1,i1,4\nu1,i2,3,5\n", r"line 3: expected 3 columns .*: 'u1,i2,3,5'"),
        ("user,item,rating\nu1,i1,3,5\n", r"line 2: expected 3 columns .*, got 4"),
        ("user,item,rating\nu1,i1\n", r"line 2: expected 3 columns .*, got 2"),
        ('user,item,rating\nu1,"i1,4\nu2,i2",3\n', "line 2: a quote is not closed on its line"),
        ("user,item,rating\nu1,i1,1e39\n", "line 2: value must be a finite number; got '1e39'"),
        ("user,item,rating\nu1,i1,nan\n", "line 2: value must be a finite number; got 'nan'"),
        ("user,item,rating\n" + "u" * 100_000 + ",i1\n", "line 2: expected 3"),
        ('{"user": 1, "item": 2}\n{"user": 1, "item": 3}\n', "line 1: this is JSON"),
    ],
)
def test_a_row_that_would_be_misread_is_refused(text, words, tmp_path):
    with pytest.raises(ValueError, match=words) as fault:
        _formats.read_delimited(wrote(tmp_path, text), COLUMNS)
    assert len(str(fault.value)) < 400 and "\n" not in str(fault.value)


def test_an_unbalanced_quote_in_a_table_of_tabs_swallows_no_row(tmp_path):
    text = 'u1\t"5th\t1\nu2\ti\t2\nu3\ti\t3\nu4\t7"\t4\n'
    with pytest.raises(ValueError, match="line 1: a quote is not closed"):
        _formats.read_delimited(wrote(tmp_path, text), ["user", "item", "value"], separator="\t")
    plain = _formats.read_delimited(
        wrote(tmp_path, text), ["user", "item", "value"], separator="\t", quote=None
    )
    assert plain.value.tolist() == [1, 2, 3, 4] and plain.item[0] == '"5th'


@pytest.mark.parametrize(
    ("times", "want"),
    [
        (["0.25", "0.75"], [0.25, 0.75]),
        (["1672531200000000001", "1672531200000000002"], [NOW + 1, NOW + 2]),
        (["978300760.0", "978300761"], [978300760, 978300761]),
        (["1e30", "5"], [1e30, 5.0]),
        (["-3", "4"], [-3, 4]),
    ],
)  # fmt: skip
def test_times_are_what_the_file_says(times, want, tmp_path):
    text = "".join(f"u{n},i{n},{t}\n" for n, t in enumerate(times))
    frame = _formats.read_delimited(wrote(tmp_path, text), ["user", "item", "time"])
    assert frame.time.tolist() == want and len(set(frame.time)) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_kind_are_line_ends(end, tmp_path):
    lists = wrote(tmp_path, end.join(["0 1 2", "1 0", "2", "3 4"]) + end, "train.txt")
    frame = _formats.read_adjacency(lists)
    assert frame.user.tolist() == [0, 0, 1, 3] and frame.item.tolist() == [1, 2, 0, 4]
    table = wrote(tmp_path, end.join(["user,item,rating", "a,b,1", "c,d,2"]) + end)
    assert _formats.read_delimited(table, COLUMNS).value.tolist() == [1, 2]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "utf-8-sig"])
def test_other_encodings_are_decoded(encoding, tmp_path):
    path = wrote(tmp_path, "user,item,rating\nå,ö,4\n", encoding=encoding)
    frame = _formats.read_delimited(path, COLUMNS, encoding=encoding)
    assert frame.user.tolist() == ["å"] and frame.value.tolist() == [4]


def test_an_encoding_that_nobody_knows_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown encoding: klingon: name an encoding"):
        _formats.read_delimited(wrote(tmp_path, "u,i\n"), ["user", "item"], encoding="klingon")


def test_ids_beyond_64_bits_and_lists_of_ids_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: ids must lie in \[0, 2\*\*63\); got 9{20}"):
        _formats.read_adjacency(wrote(tmp_path, f"0 {'9' * 20}\n", "train.txt"))
    path = wrote(tmp_path, "user_id:token\titem_id:token_seq\nu\ta b\n", "x.inter")
    with pytest.raises(ValueError, match="line 1: item_id:token_seq holds several ids"):
        _formats.read_recbole(path)


def test_an_archive_that_cannot_be_opened_is_one_clear_error(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "user,item,rating\nu,i,1\n")
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of a password
        content[content.index(mark) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.zip: .*encrypted.*: unpack it by another program"):
        _formats.read_delimited(path, COLUMNS)
    cut = tmp_path / "x.csv.gz"
    cut.write_bytes(gzip.compress(b"user,item,rating\n" + b"u,i,1\n" * 1000)[:-20])
    with pytest.raises(ValueError, match="damaged or cut short"):
        _formats.read_delimited(cut, COLUMNS)


fields = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters='",'),
    min_size=1,
    max_size=6,
).filter(lambda x: x.strip() == x and not x.startswith("{"))
rows = st.lists(st.tuples(fields, fields, st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=8)


@given(rows, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_written_is_read_back(tmp_path_factory, table, end, quoted):
    quote = '"' if quoted else ""
    lines = [f"{quote}{u}{quote},{quote}{i}{quote},{float(v)!r}" for u, i, v in table]
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes((end.join(["user,item,rating", *lines]) + end).encode())
    frame = _formats.read_delimited(path, COLUMNS)
    assert list(zip(frame.user, frame.item)) == [(u, i) for u, i, _ in table]
    np.testing.assert_array_equal(frame.value, np.float32([v for *_, v in table]))


@given(rows, st.integers(0, 7), st.sampled_from([",", ",5", '"', ",,"]))
def test_a_row_with_more_in_it_is_read_whole_or_refused(tmp_path_factory, table, at, more):
    lines = [f"{u},{i},{float(v)!r}" for u, i, v in table]
    lines[at % len(lines)] += more
    path = tmp_path_factory.getbasetemp() / "more.csv"
    path.write_bytes(("\n".join(["user,item,rating", *lines]) + "\n").encode())
    try:
        frame = _formats.read_delimited(path, COLUMNS)
    except ValueError as fault:
        assert f"line {at % len(lines) + 2}" in str(fault)
    else:
        assert more in (",", ",,") and len(frame) == len(table)  # nothing but empty fields


RETAIL = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
    '536365,85123A,"HOLDER, WHITE",6,2010-12-01 08:26:00,2.55,17850.0\n'
    "536414,22139,,56,2010-12-01 11:52:00,0.0,\n"
    "C536379,D,Discount,-1,2010-12-01T09:41:00.5+01:00,27.5,14527.0\n"
)
RETAIL_COLUMNS = {"CustomerID": "user", "StockCode": "item", "Quantity": "value"}
RETAIL_COLUMNS |= {"InvoiceDate": "time"}


def test_incomplete_lines_are_dropped_and_dates_are_read_where_that_is_asked_for(tmp_path):
    path = wrote(tmp_path, "\n" + RETAIL + ",,,,,,\n")
    with pytest.raises(ValueError, match="line 3: time must be a finite number; got '2010-12-01"):
        _formats.read_delimited(path, RETAIL_COLUMNS)
    with pytest.raises(ValueError, match="line 4: user is empty"):
        _formats.read_delimited(path, RETAIL_COLUMNS, times="iso")
    frame = _formats.read_delimited(path, RETAIL_COLUMNS, times="iso", incomplete="drop")
    assert frame.user.tolist() == ["17850.0", "14527.0"] and frame.value.tolist() == [6, -1]
    assert frame.time.tolist() == [1291191960.0, 1291192860.5]
    assert [frame[name].dtype for name in ("value", "time")] == [np.float32, np.float64]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,A,x,6,yesterday,2.55,u", "line 5: time must be a date such as .*; got 'yesterday'"),
        ("1,A,x,six,2010-12-01,2.55,u", "line 5: value must be a finite number; got 'six'"),
        ("1,A,x,6,2010-12-01,2.55", "line 5: expected 7 columns"),
        ("1,A,x,6,2010-12-01,2.55,,u", "line 5: expected 7 columns"),
        ('1,"A,x,6,2010-12-01,2.55,\n1,A",x,6,2010-12-01,2.55,', "line 5: a quote is not closed"),
    ],
)
def test_a_damaged_line_is_not_an_incomplete_one(line, words, tmp_path):
    path = wrote(tmp_path, RETAIL + line + "\n")
    with pytest.raises(ValueError, match=words):
        _formats.read_delimited(path, RETAIL_COLUMNS, times="iso", incomplete="drop")


@given(st.datetimes(), st.sampled_from([0, 60, -330]))
def test_dates_become_the_unix_seconds_of_their_moment(moment, minutes):
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assume(1 < moment.year < 9999)
    text = unix(moment.isoformat())
    assert moment == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=int(Fraction(text) * 10**6)
    )


@pytest.mark.parametrize("name", ["ratings.csv.gz", "ratings.zip"])
def test_a_small_file_that_unpacks_without_end_is_stopped(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_lines, "UNPACKED_BYTES", 10_000)
    path, text = tmp_path / name, "user,item,rating\n" + "u1,i1,4\n" * 100_000
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ratings.csv", text)
    with pytest.raises(ValueError, match=f"{name}: unpacks to more than [0-9,]+ bytes"):
        _formats.read_delimited(path, COLUMNS)


@pytest.mark.parametrize("field", ["5.0", "9007199254740993.0", "1e3", "TRUE", "True", "1_0", "٣"])
def test_an_integer_id_that_is_none_is_refused_and_takes_no_digits_from_others(field, tmp_path):
    text = f"user,item\n9007199254740993,1\n9007199254740992,2\n{field},3\n"
    for n in (1, 40_000):  # pandas finds the types of a long file piece by piece
        path = wrote(tmp_path, text.replace("2\n", "2\n" + "7,7\n" * n, 1))
        want = rf"line {4 + n}: user must be an integer, 0 or more; got '{field}'"
        with pytest.raises(ValueError, match=want):
            _formats.read_delimited(path, {"user": "user", "item": "item"}, text=())
    alone = wrote(tmp_path, f"user,item\n{field},7\n")
    with pytest.raises(ValueError, match="line 2: user must be an integer"):
        interop.read_pairs(alone, np.array([1, 3, 5, 10, 1000]), np.array([7]))


def test_integers_are_read_to_the_last_digit_with_signs_and_spaces(tmp_path):
    ids = ["9007199254740993", "9007199254740992", "+5", " 7", "8 ", "\t021", str(2**63 - 1)]
    path = wrote(tmp_path, "".join(f"{user},1\n" for user in ids))
    frame = _formats.read_delimited(path, ["user", "item"], text=())
    assert frame.user.tolist() == [*map(int, ids)] and frame.user.dtype == np.int64


@pytest.mark.parametrize("field", ["TRUE", "1_0", "٣"])
def test_a_word_is_no_value_and_no_time(field, tmp_path):
    for role in ("value", "time"):
        with pytest.raises(ValueError, match=f"line 1: {role} must be a finite number; got"):
            _formats.read_delimited(wrote(tmp_path, f"u,i,{field}\n"), ["user", "item", role])
    large = _formats.read_delimited(wrote(tmp_path, f"u,i,{'9' * 25}\n"), ["user", "item", "value"])
    assert large.value.tolist() == [np.float32(1e25)]


def test_nanoseconds_keep_their_digits_or_are_refused(tmp_path):
    columns, times = (
        ["user", "item", "time"],
        ["1512345678901234567.0", "1512345678901234568", "1e3"],
    )
    text = "".join(f"u{n},i,{time}\n" for n, time in enumerate(times))
    found = _formats.read_delimited(wrote(tmp_path, text), columns).time
    assert found.tolist() == [1512345678901234567, 1512345678901234568, 1000]
    for other in (".5", "18446744073709551615"):
        path = wrote(tmp_path, f"{text}v,i,{other}\n")
        with pytest.raises(ValueError, match=r"line [14]: the time \d+\.?\d* would lose digits"):
            _formats.read_delimited(path, columns)


def test_digits_of_other_scripts_are_no_ids_in_lists(tmp_path):
    for field in ("1_0", "٣", "x"):
        with pytest.raises(ValueError, match=f"line 2: ids must be integers; got '{field}'"):
            _formats.read_adjacency(wrote(tmp_path, f"0 1\n1 {field}\n", "train.txt"))
    with pytest.raises(ValueError, match=r"line 1: not \(user,item\) and items"):
        _formats.read_candidates(wrote(tmp_path, "(٣,1)\t2\n", "negative.txt"))


@pytest.mark.parametrize("row", ['"5"3,7', '7,"ab"c', '"a,"b,7', '"5" ,7'])
def test_text_after_a_closing_quote_is_refused(row, tmp_path):
    for before in ("", '"9","9"\n', '"say ""hi""",9\n'):
        where = 1 + before.count("\n")
        with pytest.raises(ValueError, match=rf"line {where}: ',' expected after '\"'"):
            _formats.read_delimited(wrote(tmp_path, f"{before}{row}\n"), ["user", "item"])


def test_quotes_that_are_closed_are_read_as_they_stand(tmp_path):
    text = '"a,b","c ""d"""\r\n5"x,"y"\n"",z\n'.replace('"",z', '"w",z')
    for mark in ("", "\ufeff"):
        frame = _formats.read_delimited(wrote(tmp_path, mark + text), ["user", "item"])
        assert frame.user.tolist() == ["a,b", '5"x', "w"]
        assert frame.item.tolist() == ['c "d"', "y", "z"]


def test_an_id_with_a_nul_is_refused(tmp_path):
    for encoding in ("utf-8", "utf-16"):
        path = wrote(tmp_path, "a,1\na\0,2\n", encoding=encoding)
        with pytest.raises(ValueError, match=r"line 2: user holds the character NUL; got 'a\\x00'"):
            _formats.read_delimited(path, ["user", "item"], encoding=encoding)
    table = pd.DataFrame({"user": ["a", "a\0"], "item": [1, 1], "value": [1.0, 1.0]})
    with pytest.raises(ValueError, match=r"the user id .* holds the character NUL"):
        interop.encode(table)
