"""A history from before entries knew their versions: each gets the one it made, and a name."""

from sqlalchemy import Connection, text

from admin_app import migrations
from tests.test_migrations import administer, empty_url

__all__ = ["empty_url"]

ID = "019a0000-0000-7000-8000-00000000000"
PEOPLE = f"""
    INSERT INTO users (id, email, name, password_hash, role, version)
    VALUES ('{ID}1', 'a@b.example', 'A', '!', 'superuser', 2)
"""
PRODUCT = f"""
    INSERT INTO products (id, name, price, owner_id, version)
    VALUES ('{ID}2', 'Anvil', 3, '{ID}1', 4)
"""
GONE = '{"email": ["c@d.example", null], "name": ["C", null]}'
ENTRIES = f"""
    INSERT INTO audit_entry (actor_label, source, request_id, action, kind, row_id, changes) VALUES
    ('system', 'system', uuidv7(), 'created', 'user', '{ID}1', '{{"email": [null, "a@b.example"]}}'),
    ('a@b.example', 'form', uuidv7(), 'signed in', 'user', '{ID}1', '{{}}'),
    ('a@b.example', 'form', uuidv7(), 'updated', 'user', '{ID}1', '{{"name": ["B", "A"]}}'),
    ('a@b.example', 'form', uuidv7(), 'updated', 'product', '{ID}2', '{{"price": ["1.00", "2.00"]}}'),
    ('a@b.example', 'form', uuidv7(), 'deleted', 'product', '{ID}2', '{{"deleted_at": [null, "2026"]}}'),
    ('a@b.example', 'form', uuidv7(), 'restored', 'product', '{ID}2', '{{"deleted_at": ["2026", null]}}'),
    ('a@b.example', 'form', uuidv7(), 'created', 'product', '{ID}3', '{{"name": [null, "Old"]}}'),
    ('a@b.example', 'form', uuidv7(), 'updated', 'product', '{ID}3', '{{"name": ["Old", "New"]}}'),
    ('a@b.example', 'form', uuidv7(), 'deleted', 'product', '{ID}3', '{{"deleted_at": [null, "2026"]}}'),
    ('system', 'system', uuidv7(), 'purged', 'product', '{ID}3', '{{"name": ["New", null]}}'),
    ('system', 'system', uuidv7(), 'deleted', 'user', '{ID}4', '{GONE}')
"""


def told(connection: Connection) -> list[tuple[str, str, int | None]]:
    rows = connection.execute(text("SELECT action, row_label, version FROM audit_entry ORDER BY id"))
    return [(row.action, row.row_label, row.version) for row in rows]


def test_every_entry_gets_the_version_it_made_and_the_name_of_its_row(empty_url: str) -> None:
    migrations.upgrade(empty_url, "0004")
    administer(empty_url, PEOPLE, PRODUCT, ENTRIES)
    migrations.upgrade(empty_url)
    assert migrations.on_connection(empty_url, told) == [
        ("created", "a@b.example", 1),
        ("signed in", "a@b.example", None),
        ("updated", "a@b.example", 2),
        ("updated", "Anvil", 2),  # made by a generator, without a history of its beginning
        ("deleted", "Anvil", 3),
        ("restored", "Anvil", 4),
        ("created", "New", 1),
        ("updated", "New", 2),
        ("deleted", "New", 3),
        ("purged", "New", None),
        ("deleted", "c@d.example", None),
    ]
