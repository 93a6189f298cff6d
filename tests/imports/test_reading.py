"""Files of text: which kind one is, its columns, and its rows with their problems."""

import csv
import random
from contextlib import suppress
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from admin_app.errors import InvalidInput
from admin_app.formula_cells import disarm
from admin_app.imports import csv_rows
from admin_app.imports.reading import (
    ENCODINGS,
    MAX_CELL_CHARACTERS,
    FileFormat,
    Layout,
    guess,
    open_rows,
)
from tests.imports.files import problems, read, refusal

CSV, JSON = FileFormat.CSV, FileFormat.JSON_LINES
TEXT = "name,price\nCafé für zwei,1.50\nPão,2\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (TEXT.encode(), Layout(CSV)),
        (TEXT.encode("utf-8-sig"), Layout(CSV)),
        (TEXT.encode("cp1252"), Layout(CSV, "cp1252")),
        (TEXT.encode("utf-16"), Layout(CSV, "utf-16")),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), Layout(CSV, "utf-16")),
        (TEXT.encode("utf-16-le"), Layout(CSV, "utf-16")),
        (TEXT.encode("utf-16-be"), Layout(CSV, "utf-16-be")),
        (TEXT.replace(",", ";").encode(), Layout(CSV, delimiter=";")),
        (TEXT.replace(",", "\t").replace("\n", "\r").encode(), Layout(CSV, delimiter="\t")),
    ],
)
def test_encoding_and_delimiter_are_guessed(path: Path, content: bytes, layout: Layout) -> None:
    columns, rows = read(path, content)
    assert guess(path, "x") == layout
    assert columns == ["name", "price"]
    assert [row.cells for row in rows] == [["Café für zwei", "1.50"], ["Pão", "2"]]


def test_a_delimiter_is_one_that_parts_all_rows_alike(path: Path) -> None:
    content = 'name;price;text\nA, B, C;1,50;"x; y"\nD;2,00;a|b|c\n'
    assert [row.cells for row in read(path, content)[1]] == [
        ["A, B, C", "1,50", "x; y"],
        ["D", "2,00", "a|b|c"],
    ]
    assert read(path, "name\na, b\nc\n", Layout(CSV, delimiter="§"))[1][0].cells == ["a, b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "This file is empty."),
        (b"\n \r\n", "This file is empty."),
        (b"name,price\n\n", "This file has column names but no rows."),
        (b"a\0\0b,\x01\x02\n" * 9, "This is not a file of text."),
        (random.Random(8).randbytes(5000), "This is not a file of text."),
        (b"%PDF-1.7\n", "This is a PDF."),
        (b"\x89PNG\r\n\x1a\n", "This is a picture."),
        (b"\x1f\x8b\x08", "This file is compressed."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "This is an old Excel file (.xls)"),
        (b"<!DOCTYPE html><table>", "This is a web page"),
        (b' [ {"name": "A"} ]', "This is one JSON array."),
        (b"[" * 100_000, "This is one JSON array."),
        (b'{"name":\n "A"}', "None of the first lines of this file is a JSON object."),
        (",".join(f"c{n}" for n in range(10_000)).encode() + b"\n1\n", "This file has 10,000 columns;"),
        (b'name,"price\n1,2\n', "The first row of this file cannot be read as the names of its columns."),
    ],
)
def test_what_cannot_be_imported_is_refused_in_a_sentence(path: Path, content: bytes, said: str) -> None:
    assert refusal(path, content).startswith(said)


def test_a_file_too_large_or_missing_is_refused_before_it_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(InvalidInput, match=r"^This file has 500 MB; at most 200 MB can be read\."):
        guess(path, "x")
    with pytest.raises(InvalidInput, match=r"^no�such cannot be read \(No such file or directory\)\.$"):
        guess(path.with_name("missing"), "no\nsuch")
    with pytest.raises(InvalidInput, match=r"^x{100} cannot be read \(File name too long\)\.$"):
        guess(path.with_name("x" * 5000), "x" * 5000)


@pytest.mark.parametrize(
    "layout", [Layout(CSV, "rot13"), Layout(CSV, delimiter=""), Layout(CSV, delimiter='"')]
)
def test_a_layout_that_nobody_could_choose_is_refused(path: Path, layout: Layout) -> None:
    assert refusal(path, TEXT, layout).startswith("Choose ")


def test_columns_have_names_each_of_them_once(path: Path) -> None:
    columns, _ = read(path, ' Name ,,price,price,"two\n lines",price (2)\n1,2,3,4,5,6\n')
    assert columns == ["Name", "Column 2", "price", "price (2)", "two lines", "price (2) (2)"]


def test_rows_that_cannot_be_read_keep_neither_others_nor_their_line_numbers_from_being_right(
    path: Path,
) -> None:
    content = (
        b"name,price\n"
        b"A,1\n"
        b"\n"
        b",\n"
        b"only one\n"
        b"1,2,3\n"
        b'"two\nlines",2\n'
        b'"swallows,3\n'
        b'B"b,4\n'
        b"C\xff\xc3\xa9,5\n"
        b"D\0,6\n"
        b"caf\xc3\xa9 cr\xc3\xa8me,7\n" + b"x" * (MAX_CELL_CHARACTERS + 1) + b",8\n"
        b'"E,9\n'
        b"F,10\n"
    )
    columns, rows = read(path, content, Layout(CSV))
    assert columns == ["name", "price"]
    assert problems(rows) == {
        5: "The row has 1 cell, the header has 2.",
        6: "The row has 3 cells, the header has 2.",
        9: "The quotation marks of this row do not pair up.",
        11: "This is not valid UTF-8. Choose another encoding, or save the file as “CSV UTF-8”.",
        12: "This row has characters that cannot be stored.",
        14: "This row is far too long; perhaps a quotation mark is missing.",
        15: "The quotation marks of this row do not pair up.",
    }
    assert {row.line: list(row.cells) for row in rows if row.line != 14} == {
        2: ["A", "1"],
        5: ["only one"],
        6: ["1", "2", "3"],
        7: ["two\nlines", "2"],
        9: ['"swallows,3'],
        10: ['B"b', "4"],
        11: ["C\ufffdé", "5"],
        12: ["D\ufffd", "6"],
        13: ["café crème", "7"],
        15: ['"E,9'],
        16: ["F", "10"],
    }


def test_one_broken_byte_does_not_make_a_file_windows_1252(path: Path) -> None:
    _, rows = read(path, "name\nMüller\nJörg\n".encode() + b"M\xfcller\n")
    assert [row.cells[0] for row in rows] == ["Müller", "Jörg", "M\ufffdller"]
    assert list(problems(rows)) == [4]


def test_quotation_marks_that_never_pair_up_do_not_take_forever(path: Path) -> None:
    with patch.object(csv_rows, "MAX_REREAD_CHARACTERS", 3_000_000):
        said = refusal(path, "x,y\n" + 'a","b\n' * 400_000)
    assert said.startswith("Up to line 166,6")
    assert said.endswith(
        "the quotation marks of too many rows do not pair up. Check how this file was saved."
    )


def test_json_lines_keep_values_as_they_were_written(path: Path) -> None:
    columns, rows = read(
        path,
        '{"name": "=A", "price": 12.50, "is_active": true}\n'
        "\n"
        '{"price": 1e400, "name": null, "images": ["https://a", "https://b"]}\r\n'
        f'{{"name": "\'=é", "price": {"9" * 5000}, "is_active": false}}\n',
    )
    assert guess(path, "x") == Layout(JSON)
    assert columns == ["name", "price", "is_active", "images"]
    assert [(row.line, list(row.cells), row.problem) for row in rows] == [
        (1, ["=A", "12.50", "true", ""], ""),
        (3, ["", "1e400", "", "https://a\nhttps://b"], ""),
        (4, ["'=é", "9" * 5000, "false", ""], ""),
    ]


def test_json_lines_that_cannot_be_read_are_problems_of_their_row(path: Path) -> None:
    good = '{"name": "A"}\n' * 100
    hostile = (
        "{broken\n"
        "[1]\n"
        '{"name": {"first": "A"}}\n'
        '{"\\u001b[2J": 1}\n'
        '{"name": NaN}\n'
        '{"name": ' + "[" * 100_000 + "\n"
        '{"name": "\\ud800\\u0000"}\n'
        '{"name": "' + "x" * 200_000 + '"}\n'
        '{"name": "' + "x" * 2_000_000 + '"}\n'
        '{"name": "B", "name": "C"}\n'
        '{"name": "B"}\n'
    )
    _, rows = read(path, good + hostile)
    not_an_object = "This line is not a JSON object."
    too_long = "This row is far too long; perhaps a quotation mark is missing."
    assert problems(rows) == {
        101: not_an_object,
        102: not_an_object,
        103: "“name” is neither a text nor a number, nor a list of such.",
        104: "“\ufffd[2J” is no key of the first 100 rows.",
        105: not_an_object,
        106: not_an_object,
        107: "This row has characters that cannot be stored.",
        108: too_long,
        109: too_long,
        110: "The same key stands in this line more than once.",
    }
    assert len(rows) == 111
    assert rows[-1].cells == ["B"]
    assert rows[-2].cells == ['{"name": "B", "name": "C"}']
    assert rows[106].cells == ["\ufffd\ufffd"]


CELLS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.builds(str.__add__, st.sampled_from("=+-@\t\r\n'\""), st.text("a=+'\"\n,;", max_size=4)),
)
"""Text that a spreadsheet might take for a formula more often than not."""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5)
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|", "^", "§"]),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    has_bom=st.booleans(),
    style=st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\n")]),
)
def test_a_table_that_was_written_is_read_back(
    path: Path,
    table: list[list[str]],
    delimiter: str,
    encoding: str,
    has_bom: bool,
    style: tuple[int, str],
) -> None:
    assume(all(any(row) for row in table))
    written = StringIO()
    quoting, ending = style
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerow([f"c{place}" for place in range(len(table[0]))])
    writer.writerows([disarm(cell) for cell in row] for row in table)
    text = ("\ufeff" if has_bom and encoding.startswith("utf") else "") + written.getvalue()
    try:
        content = text.encode(encoding)
        assume(content.decode(encoding).removeprefix("\ufeff") == text.removeprefix("\ufeff"))
    except UnicodeError:
        assume(False)
    _, rows = read(path, content, Layout(CSV, encoding, delimiter))
    assert [(list(row.cells), row.problem) for row in rows] == [(row, "") for row in table]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [b"a", b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"{", b'{"a":1}\n', b"]", b"\xd8"]
            )
        ).map(b"".join),
    ),
    format_=st.sampled_from([CSV, JSON]),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    is_guessed=st.booleans(),
)
@example(b"\xfe\xff\xd8", CSV, "utf-16", False)
def test_hostile_bytes_are_refused_or_read_but_never_raise(
    path: Path, content: bytes, format_: FileFormat, encoding: str, is_guessed: bool
) -> None:
    path.write_bytes(b"a,b\n" * (not is_guessed) + content)
    with suppress(InvalidInput):
        layout = guess(path, "x") if is_guessed else Layout(format_, encoding)
        with open_rows(path, layout) as file:
            for row in file:
                assert row.problem or len(row.cells) == len(file.columns)
                "".join(row.cells).encode()
                assert "\0" not in "".join(row.cells)
