"""How Alembic runs here: on the connection it is given, one process at a time."""

from alembic import context
from sqlalchemy import Connection, text

from admin_app.domains import METADATA

LOCK = 0x61646D696E  # any constant: whoever migrates holds this advisory lock until its transaction ends


def run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    context.configure(connection=connection, target_metadata=METADATA, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
