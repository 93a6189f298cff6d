"""Shopify's product CSV: several lines a product, which become one row.

The columns: https://help.shopify.com/en/manual/products/import-export/using-csv. Of the two dialects, the
older one is what that shop exports, the newer one its template.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from admin_app.imports.html_text import plain_text
from admin_app.imports.row_file import MAX_CELL_CHARACTERS, TOO_LONG, Row, RowFile
from admin_app.text import legible

OTHER_PRICES = "Its variants differ in price; this is the first one's."
MEND_ALL = "Here its line is missing: mend this product's lines in the original file."


@dataclass(frozen=True)
class Dialect:
    """What the columns are called, in lower case."""

    handle: str
    body: str
    price: str
    image: str
    published: str
    position: str = "image position"
    status: str = "status"


DIALECTS = (
    Dialect("handle", "body (html)", "variant price", "image src", "published"),
    Dialect("url handle", "description", "price", "product image url", "published on online store"),
)


@dataclass(frozen=True)
class Places:
    """Where the columns are; -1 is one there is not."""

    handle: int
    body: int
    price: int
    image: int
    published: int
    position: int
    status: int


@dataclass
class Product:
    """What the lines read so far say of one."""

    row: Row
    handle: str
    price: str
    prices_differ: bool = False
    problem: str = ""
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Address -> where it comes in the order."""
    image_characters: int = 0


def merged(file: RowFile) -> RowFile:
    """A row a product, if the columns are Shopify's; any other file as it is."""
    places = _places([column.lower() for column in file.columns])
    if places is None:
        return file
    return RowFile(file.columns, _merge(file, places), file.size_bytes, file.position_bytes)


def _places(columns: Sequence[str]) -> Places | None:
    for dialect in DIALECTS:
        if {dialect.handle, "title"} <= {*columns} and {dialect.body, dialect.price, dialect.image} & {
            *columns
        }:
            names = vars(dialect).items()
            return Places(
                **{name: columns.index(column) if column in columns else -1 for name, column in names}
            )
    return None


def _merge(rows: RowFile, places: Places) -> Iterator[Row]:
    seen: set[int] = set()  # hashes: a handle may be long, and a file may have a million
    product: Product | None = None
    for row in rows:
        handle = row.cells[places.handle].strip() if places.handle < len(row.cells) else ""
        if product is not None and _is_of(product, row, handle):
            _add(product, row, places)
            continue
        if product is not None:
            yield _finished(product, places)
            product = None
        if row.problem:
            yield row
        elif handle and hash(handle) in seen:
            problem = f"“{legible(handle[:80])}” appears again: its lines must be together."
            yield Row(row.line, row.cells, problem)
        else:
            product = Product(row, handle, _cell(row, places.price))
            _add_image(product, row, places)
        if handle:
            seen.add(hash(handle))
    if product is not None:
        yield _finished(product, places)


def _is_of(product: Product, row: Row, handle: str) -> bool:
    """Of a line that cannot even be parted into cells, whether it says the handle."""
    is_whole = bool(row.problem) and len(row.cells) == 1
    return bool(product.handle) and (product.handle in row.cells[0] if is_whole else handle == product.handle)


def _add(product: Product, row: Row, places: Places) -> None:
    if row.problem:
        product.problem = product.problem or f"Line {row.line}: {row.problem} {MEND_ALL}"
        return
    price = _cell(row, places.price)
    product.prices_differ |= bool(product.price and price and price != product.price)
    product.price = product.price or price
    _add_image(product, row, places)


def _add_image(product: Product, row: Row, places: Places) -> None:
    image = _cell(row, places.image)
    if not image or image in product.images:
        return
    product.image_characters += len(image) + 1
    if product.image_characters > MAX_CELL_CHARACTERS:
        product.problem = product.problem or TOO_LONG
        return
    position = _cell(row, places.position)
    is_number = position.isdecimal() and len(position) < 10
    product.images[image] = (int(position) if is_number else 10**9, len(product.images))


def _finished(product: Product, places: Places) -> Row:
    row = product.row
    original = list(row.cells)
    images = "\n".join(sorted(product.images, key=product.images.__getitem__))
    if places.image >= 0:
        original[places.image] = images
    cells, state = list(original), _state(row, places)
    for place, cell in (
        (places.body, plain_text(_cell(row, places.body))),
        (places.price, product.price),
        (places.published, state),
        (places.status, state),
    ):
        if place >= 0:
            cells[place] = cell
    note = OTHER_PRICES if product.prices_differ else ""
    return Row(row.line, cells, product.problem, note, original)


def _state(row: Row, places: Places) -> str:
    """Active is what can be bought: neither a draft nor archived, nor hidden from the shop."""
    published, status = _cell(row, places.published), _cell(row, places.status)
    if published.lower() == "false" or status.lower() in {"draft", "archived", "unlisted"}:
        return "inactive"
    if published.lower() in {"", "true"} and status.lower() in {"", "active"}:
        return "active"
    return status or published  # whatever it means: who checks the row says that it cannot be


def _cell(row: Row, place: int) -> str:
    return row.cells[place].strip() if place >= 0 else ""
