"""Connections to a pooler in transaction mode, such as pgbouncer.

Each transaction may get another server of the pooler's, which keeps nothing for us: no prepared statement,
no setting. pgbouncer refuses settings at the start of a connection, too.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

NAME = "application_name"
"""The one setting of ours that poolers take from whoever connects."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    at_begin = ""

    async def execute(self, query: str, *values: Any, **options: Any) -> str:
        # asyncpg's Transaction.start (0.32) comes by here: the settings travel with it, in one round trip.
        if query.startswith("BEGIN"):
            query += self.at_begin
        status: str = await super().execute(query, *values, **options)
        return status


def through_pooler(settings: Mapping[str, str]) -> dict[str, Any]:
    """What to connect with, for asyncpg, so that PostgreSQL's settings hold in every transaction.

    Outside of a transaction they do not.
    """
    at_begin = "".join(f"SET LOCAL {name} = '{value}';" for name, value in settings.items() if name != NAME)
    return {
        "server_settings": {NAME: settings[NAME]},
        "connection_class": type("PooledConnection", (_Connection,), {"at_begin": at_begin}),
        "statement_cache_size": 0,  # statements are sent with their values, and have no name
    }
