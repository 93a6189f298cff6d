"""The command `admin-app import`: what can be said to it."""

from pathlib import Path
from typing import Annotated

import typer

from admin_app.installation import DataDir

imports = typer.Typer(no_args_is_help=True, help="Bring data in from a file.")

File = Annotated[Path, typer.Argument(help="CSV, JSON lines or Excel; docs/importing.md says of what.")]
As = Annotated[
    str | None, typer.Option("--as", metavar="EMAIL", help="In whose name; otherwise the installation's.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="FIELD", help="What finds rows, or none: all are new. Otherwise guessed."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="COLUMN=FIELD", help="Which field a column is; without FIELD, none."),
]
Encoding = Annotated[str | None, typer.Option(help="Of a CSV file; otherwise guessed.")]
Delimiter = Annotated[str | None, typer.Option(help="Of a CSV file; otherwise guessed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
Report = Annotated[Path | None, typer.Option(help="Write what becomes of each row to this file.")]


@imports.command("products")
def import_products(
    file: File,
    *,
    as_: As = None,
    key: Key = None,
    columns: Columns = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    owner: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Who owns the products, if no column says that.")
    ] = None,
    create_owners: Annotated[
        bool, typer.Option("--create-owners", help="Make an account for each unknown owner.")
    ] = False,
    dry_run: DryRun = False,
    report: Report = None,
    data_dir: DataDir = None,
) -> None:
    """Create and change products. Exit code 1: some rows were refused. 2: nothing could be done."""
    from admin_app.import_command import Order, run

    order = Order(
        "product",
        file,
        email=as_,
        key=key,
        columns=columns or (),
        encoding=encoding,
        delimiter=delimiter,
        owner=owner,
        creates_owners=create_owners,
        is_dry_run=dry_run,
        report=report,
    )
    raise typer.Exit(run(order, data_dir))


@imports.command("users")
def import_users(
    file: File,
    *,
    as_: As = None,
    key: Key = None,
    columns: Columns = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    dry_run: DryRun = False,
    report: Report = None,
    data_dir: DataDir = None,
) -> None:
    """Create and change accounts. Exit code 1: some rows were refused. 2: nothing could be done."""
    from admin_app.import_command import Order, run

    order = Order(
        "user",
        file,
        email=as_,
        key=key,
        columns=columns or (),
        encoding=encoding,
        delimiter=delimiter,
        is_dry_run=dry_run,
        report=report,
    )
    raise typer.Exit(run(order, data_dir))
