"""The commands about accounts that nobody can sign in to any more."""

import asyncio
from typing import Annotated

import typer

from admin_app.config import Settings
from admin_app.installation import DataDir, installation

second_factor = typer.Typer(no_args_is_help=True, help="Look after second factors.")


@second_factor.callback()
def _several() -> None:
    """Otherwise one command alone would need no name."""


@second_factor.command()
def remove(
    email: Annotated[str, typer.Argument(help="Whose it is.")],
    data_dir: DataDir = None,
) -> None:
    """Take off an account's second factor, and sign it out everywhere."""
    with installation(data_dir) as settings:
        must_add = asyncio.run(_remove(settings, email))
    rest = ", and then must set up another one" if must_add else ""
    typer.echo(f"{email} signs in with the password alone now{rest}.")


async def _remove(settings: Settings, email: str) -> bool:
    """Whether their role must have one."""
    from admin_app.actor import Actor
    from admin_app.domains import open_database
    from admin_app.domains.users.second_factor_service import SecondFactorService

    database = open_database(settings)
    try:
        async with database.transaction() as session:
            service = SecondFactorService(session, Actor.system())
            return service.is_required_of(await service.remove_by_email(email))
    finally:
        await database.close()
