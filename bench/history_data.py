"""A history of any length over the seeded catalogue, made by PostgreSQL itself: the same on every machine.

Two years, mostly of products and mostly of a few people. One stretch of 10,000 entries in four is one
bulk operation; a tenth of the people left long ago; of 10,000 entries one is a refusal.
"""

import hashlib
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from admin_app.audit import AuditEntry
from bench.data import NEWEST, dsn

FREQUENT_PERSON = "owner1@shop1.example"
FORMER_PERSON = "owner98@shop48.example"
STRETCH = 10_000
CHUNK = 1_000_000

RANDOM = """
    CREATE FUNCTION pg_temp.random_of(number bigint, what int) RETURNS float8 LANGUAGE sql IMMUTABLE
    RETURN (hashint8extended(number, what) & 2147483647)::float8 / 2147483648
"""

CAST = """
    CREATE TEMP TABLE person AS
        SELECT row_number() OVER (ORDER BY id) - 1 AS number, id, email FROM users;
    CREATE TEMP TABLE thing AS
        SELECT row_number() OVER (ORDER BY id) - 1 AS number, id, name, owner_id FROM products;
    CREATE UNIQUE INDEX ON person (number);
    CREATE UNIQUE INDEX ON thing (number);
    ANALYZE person, thing;
"""

OPERATIONS = """
    INSERT INTO bulk_operation (kind, action, label, row_ids, selection, actor_id, actor_label, request_id,
                                state, total, done, created_at, started_at, finished_at)
    SELECT 'product', 'deactivate', 'Deactivate', '{}', 'All products', id, email, uuidv7(),
           'finished', $1, $1, $2, $2, $2
    FROM person WHERE number = $3 RETURNING id
"""

FILL = """
    INSERT INTO audit_entry (id, at, actor_id, actor_label, source, address, request_id, operation_id,
                             action, kind, row_id, row_label, version, note, changes)
    SELECT uuidv7(made.at - clock_timestamp()), made.at,
           CASE WHEN from_where <> 'system' THEN person.id END,
           CASE WHEN from_where <> 'system' THEN person.email ELSE 'system' END,
           from_where, CASE WHEN from_where IN ('form', 'inline') THEN '192.0.2.' || person.number % 250 END,
           gen_random_uuid(), operation_id, action, kind,
           CASE kind WHEN 'product' THEN thing.id ELSE account.id END,
           CASE kind WHEN 'product' THEN thing.name ELSE account.email END,
           CASE WHEN action IN ('created', 'updated', 'deleted', 'restored') THEN 1 + i / 1000000 END,
           CASE action WHEN 'refused' THEN 'to edit' WHEN 'reverted' THEN 'to version 2' END,
           CASE
               WHEN action IN ('signed in', 'refused') THEN '{}'
               WHEN operation_id IS NOT NULL THEN '{"is_active": [true, false]}'
               WHEN action IN ('deleted', 'restored') AND kind = 'product' THEN
                   jsonb_build_object('deleted_at', CASE action
                       WHEN 'deleted' THEN jsonb_build_array(NULL, made.at)
                       ELSE jsonb_build_array(made.at, NULL) END)
               WHEN action IN ('created', 'deleted', 'purged') AND kind = 'product' THEN jsonb_build_object(
                   'name', jsonb_build_array(NULL, thing.name), 'price', '[null, "12.00"]'::jsonb,
                   'description', '[null, "Thrown by hand, glazed in blue."]'::jsonb,
                   'is_active', '[null, true]'::jsonb, 'owner_id', jsonb_build_array(NULL, thing.owner_id))
               WHEN kind = 'product' THEN jsonb_strip_nulls(jsonb_build_object(
                   'price', CASE WHEN chance[4] < 0.6 THEN '["12.00", "13.50"]'::jsonb END,
                   'description', CASE WHEN chance[5] < 0.25 OR chance[4] >= 0.6 AND chance[6] >= 0.2 THEN
                       '["Thrown by hand, glazed in blue.", "Thrown by hand, glazed in green."]'::jsonb END,
                   'name', CASE WHEN chance[6] < 0.2 THEN jsonb_build_array('Old ' || thing.name, thing.name)
                       END,
                   'owner_id', CASE WHEN pg_temp.random_of(i, 12) < 0.01 THEN
                       jsonb_build_array(thing.owner_id, person.id) END))
               WHEN action IN ('created', 'deleted') THEN jsonb_build_object(
                   'email', jsonb_build_array(NULL, account.email), 'name', '[null, "Somebody"]'::jsonb,
                   'role', '[null, "administrator"]'::jsonb,
                   'password_hash', '["[hidden]", "[hidden]"]'::jsonb)
               WHEN chance[4] < 0.3 THEN '{"password_hash": ["[hidden]", "[hidden]"]}'
               WHEN chance[4] < 0.4 THEN '{"role": ["support", "administrator"]}'
               WHEN chance[4] < 0.45 THEN '{"email": ["a@shop.example", "b@shop.example"]}'
               ELSE '{"name": ["Jo", "Jo Bloggs"]}'
           END
    FROM generate_series($1::bigint, $2::bigint) AS i
    CROSS JOIN (SELECT count(*) AS people FROM person) AS counted
    CROSS JOIN (SELECT count(*) AS things FROM thing) AS counted_too
    CROSS JOIN LATERAL (
        SELECT ARRAY[pg_temp.random_of(i, 1), pg_temp.random_of(i, 2), pg_temp.random_of(i, 3),
                     pg_temp.random_of(i, 4), pg_temp.random_of(i, 5), pg_temp.random_of(i, 6),
                     pg_temp.random_of(i, 7), pg_temp.random_of(i, 8)] AS chance,
               pg_temp.random_of(i / $4, 9) AS stretch,
               $5::timestamptz - ($3 - i) * (interval '730 days' / $3) AS at
        OFFSET 0
    ) AS made
    CROSS JOIN LATERAL (
        SELECT CASE WHEN stretch < 0.25 THEN $6::uuid[] END AS operations
        OFFSET 0
    ) AS asked
    CROSS JOIN LATERAL (
        SELECT operations[1 + (i / $4) % 50] AS operation_id,
               CASE WHEN operations IS NOT NULL OR chance[1] >= 0.13 THEN 'product' ELSE 'user' END AS kind
        OFFSET 0
    ) AS about
    CROSS JOIN LATERAL (
        SELECT CASE
                   WHEN operation_id IS NOT NULL THEN 'bulk'
                   WHEN kind = 'user' OR chance[2] < 0.6 THEN 'form'
                   WHEN chance[2] < 0.9 THEN 'inline'
                   WHEN chance[2] < 0.95 THEN 'import'
                   ELSE 'system'
               END AS from_where,
               CASE
                   WHEN operation_id IS NOT NULL THEN 'updated'
                   WHEN chance[8] < 0.0001333 THEN 'refused'
                   WHEN kind = 'user' AND chance[3] < 0.8 THEN 'signed in'
                   WHEN kind = 'user' AND chance[3] < 0.96 THEN 'updated'
                   WHEN kind = 'user' AND chance[3] < 0.99 THEN 'created'
                   WHEN chance[3] < 0.06 AND kind = 'product' THEN 'created'
                   WHEN chance[3] < 0.08 AND kind = 'product' THEN 'deleted'
                   WHEN chance[3] < 0.085 AND kind = 'product' THEN 'restored'
                   WHEN chance[3] < 0.09 AND kind = 'product' THEN 'purged'
                   WHEN chance[3] < 0.092 AND kind = 'product' THEN 'reverted'
                   WHEN kind = 'product' THEN 'updated'
                   ELSE 'deleted'
               END AS action,
               CASE
                   WHEN operation_id IS NOT NULL THEN (i / $4) % 5
                   ELSE floor(people * chance[7] ^ 4)::bigint
               END AS who
        OFFSET 0
    ) AS done
    JOIN person ON person.number = CASE WHEN who >= 0.9 * people AND i > $3 / 10 THEN 0 ELSE who END
    JOIN thing ON thing.number = floor(things * pg_temp.random_of(i, 10) ^ 2)::bigint
    JOIN person AS account ON account.number = CASE action
        WHEN 'signed in' THEN person.number ELSE floor(people * pg_temp.random_of(i, 11))::bigint END
"""
"""OFFSET 0, or PostgreSQL would work the same numbers out again wherever one is named."""

INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename = 'audit_entry' AND indexname NOT LIKE 'pk_%'
"""


async def ensure(catalogue_url: str, entries: int) -> str:
    """The URL of a copy of this catalogue with so many entries, made now if it is not there yet."""
    original = make_url(catalogue_url)
    start = f"bench_history_{entries}_"
    name = start + _fingerprint(str(original.database))
    server = await asyncpg.connect(dsn(_named(catalogue_url, "postgres")))
    try:
        found = await server.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", start)
        there = {row["datname"] for row in found}
        if name not in there:
            for stale in there:
                await server.execute(f'DROP DATABASE "{stale}" WITH (FORCE)')
            # As with the catalogue: complete, or under another name.
            await server.execute(f'CREATE DATABASE "{name}_new" TEMPLATE "{original.database}"')
            await fill(_named(catalogue_url, f"{name}_new"), entries)
            await server.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
    finally:
        await server.close()
    return _named(catalogue_url, name)


def _fingerprint(catalogue: str) -> str:
    """Of everything that decides what is in the table; a catalogue has one of its own in its name."""
    return hashlib.sha256(catalogue.encode() + Path(__file__).read_bytes()).hexdigest()[:8]


async def fill(url: str, entries: int) -> None:
    memory = {"work_mem": "64MB", "maintenance_work_mem": "1GB"}
    connection = await asyncpg.connect(dsn(url), server_settings={"jit": "off", **memory})
    try:
        await connection.execute(RANDOM)
        await connection.execute(CAST)
        operations = [
            await connection.fetchval(OPERATIONS, STRETCH, NEWEST, number % 5) for number in range(50)
        ]
        indexes = await connection.fetch(INDEXES)
        for index in indexes:
            await connection.execute(f'DROP INDEX "{index["indexname"]}"')
        for first in range(1, entries + 1, CHUNK):
            last = min(first + CHUNK - 1, entries)
            await connection.execute(FILL, first, last, entries, STRETCH, NEWEST, operations)
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute(f"VACUUM ANALYZE {AuditEntry.__tablename__}")
    finally:
        await connection.close()


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
