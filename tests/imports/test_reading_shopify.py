"""Shopify's product CSV: lines become products."""

import csv
from io import StringIO
from pathlib import Path

import pytest

from admin_app.imports.html_text import plain_text
from admin_app.imports.reading import Row
from tests.imports.files import problems, read

COLUMNS = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,"
    "Option2 Name,Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Grams,"
    "Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Fulfillment Service,"
    "Variant Price,Variant Compare At Price,Variant Requires Shipping,Variant Taxable,Variant Barcode,"
    "Image Src,Image Position,Image Alt Text,Gift Card,SEO Title,SEO Description,Variant Image,"
    "Variant Weight Unit,Variant Tax Code,Cost per item,Status"
)
NEWER = "Title,URL handle,Description,Published on online store,Status,Price,Product image URL,Image position"


HEADER = COLUMNS.split(",")


def shop(path: Path, *lines: dict[str, str], header: list[str] = HEADER) -> list[Row]:
    written = StringIO()
    writer = csv.DictWriter(written, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    columns, rows = read(path, written.getvalue())
    assert columns == header
    return rows


def cell(row: Row, column: str, header: list[str] = HEADER) -> str:
    return row.cells[header.index(column)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "products_export.csv"


def test_lines_of_a_product_become_one_row(path: Path) -> None:
    tea, cup = {"Handle": "tea"}, {"Handle": "cup", "Variant Price": "5.00", "Status": "active"}
    rows = shop(
        path,
        tea
        | {"Title": "Tea", "Body (HTML)": "<p>Green.</p>\n<p>Hot &amp; good.</p>", "Published": "TRUE"}
        | {
            "Variant Price": "19.99",
            "Image Src": "https://x/2.png",
            "Image Position": "2",
            "Status": "active",
        },
        *(
            tea | {"Option1 Value": f"{n} g", "Variant Price": "19.99" if n < 50 else "25.00"}
            for n in range(1, 100)
        ),
        tea | {"Image Src": "https://x/10.png", "Image Position": "10"},
        tea | {"Image Src": "https://x/1.png", "Image Position": "1"},
        tea | {"Image Src": "https://x/2.png", "Image Position": "3"},
        cup | {"Title": "Cup"},
        cup | {"Image Src": "https://x/cup.png"},
    )
    assert [(row.line, row.problem) for row in rows] == [(2, ""), (106, "")]
    assert rows[0].note == "Its variants differ in price; this is the first one's."
    assert rows[1].note == ""
    assert cell(rows[0], "Title") == "Tea"
    assert cell(rows[0], "Body (HTML)") == "Green.\n\nHot & good."
    assert cell(rows[0], "Variant Price") == "19.99"
    assert cell(rows[0], "Image Src").split("\n") == [
        "https://x/1.png",
        "https://x/2.png",
        "https://x/10.png",
    ]
    assert cell(rows[1], "Image Src") == "https://x/cup.png"


@pytest.mark.parametrize(
    ("published", "status", "state"),
    [
        ("TRUE", "active", "active"),
        ("", "active", "active"),
        ("true", "", "active"),
        ("FALSE", "active", "inactive"),
        ("TRUE", "draft", "inactive"),
        ("TRUE", "archived", "inactive"),
        ("TRUE", "sold out", "sold out"),
    ],
)
def test_what_cannot_be_bought_is_inactive(path: Path, published: str, status: str, state: str) -> None:
    [row] = shop(path, {"Handle": "tea", "Title": "Tea", "Published": published, "Status": status})
    assert cell(row, "Published") == cell(row, "Status") == state


def test_the_newer_columns_are_known_too(path: Path) -> None:
    line = {"URL handle": "tea", "Title": "Tea", "Description": "<b>Hot</b>", "Price": "1.00"}
    header = NEWER.split(",")
    first = line | {"Product image URL": "https://x/2.png", "Image position": "2"}
    [row] = shop(path, first, {"URL handle": "tea", "Product image URL": "https://x/1.png"}, header=header)
    assert cell(row, "Description", header) == "Hot"
    assert cell(row, "Product image URL", header) == "https://x/2.png\nhttps://x/1.png"
    assert cell(row, "Published on online store", header) == "active"


def test_lines_that_are_not_together_or_broken_refuse_their_product_only(path: Path) -> None:
    content = (
        "Handle,Title,Variant Price\n"
        "tea,Tea,1\n"
        "cup,Cup,2\n"
        "te\u202e,Tea,3\n"
        "cup,Again,3\n"
        "te\u202e,Again,3\n"
        "pot,Pot,4\n"
        "pot\n"
        "pan,Pan,5\n"
        ",No handle,6\n"
        ",No handle,6\n"
    )
    _, rows = read(path, content)
    assert [row.line for row in rows] == [2, 3, 4, 5, 6, 7, 9, 10, 11]
    assert problems(rows) == {
        5: "“cup” appears again: its lines must be together.",
        6: "“te\ufffd” appears again: its lines must be together.",
        7: "Line 8: The row has 1 cell, the header has 3. "
        "Here its line is missing: mend this product's lines in the original file.",
    }


@pytest.mark.parametrize("broken", ["tea,,,https://x/2.png,extra", 'tea,"",,"https://x/2.png'])
def test_a_product_with_a_broken_line_is_refused_with_all_that_could_be_read(path: Path, broken: str) -> None:
    header = "Handle,Title,Variant Price,Image Src"
    first, last = "tea,Tea,1,https://x/1.png", "tea,,,https://x/3.png"
    columns, [row, cup] = read(path, "\n".join([header, first, broken, last, "cup,Cup,2,", ""]))
    assert row.problem.startswith("Line 3: ")
    assert row.problem.endswith("Here its line is missing: mend this product's lines in the original file.")
    assert dict(zip(columns, row.cells, strict=True))["Image Src"] == "https://x/1.png\nhttps://x/3.png"
    assert cup == Row(5, ["cup", "Cup", "2", ""], original=["cup", "Cup", "2", ""])


def test_what_is_refused_is_given_back_as_it_stood_in_the_file(path: Path) -> None:
    header = "Handle,Title,Body (HTML),Variant Price,Image Src,Published"
    lines = [header, "tea,Tea,<p>a</p><p>b</p>,1,https://x/1.png,TRUE", "tea,,,,https://x/2.png,", ""]
    _, [row] = read(path, "\n".join(lines))
    assert row.cells[2] == "a\n\nb"
    assert row.original == ["tea", "Tea", "<p>a</p><p>b</p>", "1", "https://x/1.png\nhttps://x/2.png", "TRUE"]


def test_a_file_of_other_columns_stays_as_it_is(path: Path) -> None:
    _, rows = read(path, "Handle,Name,Price\na,<b>A</b>,1\na,B,2\n")
    assert [list(row.cells) for row in rows] == [["a", "<b>A</b>", "1"], ["a", "B", "2"]]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("no markup,\n  two lines", "no markup,\n  two lines"),
        (
            "<P CLASS='a'>One<br/>two</p><div>three</div>\r\n<h2>Four</h2>five",
            "One\ntwo\n\nthree\n\nFour\n\nfive",
        ),
        ("<ul>\n<li>a <i>b</i></li>\n<li>c</li></ul>end", "- a b\n- c\n\nend"),
        ("a<!-- <p>no</p> -->b<script>if (1 < 2) {}</SCRIPT>c<style>p{}</style>d", "abcd"),
        ("&lt;b&gt; 5 &#60; 6&nbsp;&euro; &amp;amp;", "<b> 5 < 6 € &amp;"),
        ("1 < 2, 3 > 2 <3", "1 < 2, 3 > 2 <3"),
        ('<img alt="a > b">x<table><tr><td>1</td><td>2</td></tr></table>', "x\n\n1 2"),
        ("<p>open <b", "open <b"),
        ("<a " * 40_000 + "<!--" * 20_000, ("<a " * 40_000).strip()),
    ],
)
def test_html_becomes_plain_text(html: str, text: str) -> None:
    assert plain_text(html) == text
