"""An installation from before this index keeps a search that works."""

from sqlalchemy import text

from admin_app import migrations
from tests.test_migrations import administer, empty_url

__all__ = ["empty_url"]

PERSON = "INSERT INTO users (email, name, password_hash, role) VALUES ('a@b.example', 'A', '!', 'support')"
PRODUCT = "INSERT INTO products (name, price, owner_id) SELECT 'Motörhead – AC/DC', 1, id FROM users"
DOCUMENT = """
    INSERT INTO product_search_document (id, version, title, vector)
    SELECT id, version, plain_text(name), to_tsvector('simple', plain_text(name)) FROM products
"""


def test_documents_of_before_are_found_with_mistakes_after_the_upgrade(empty_url: str) -> None:
    migrations.upgrade(empty_url, "0002")
    administer(empty_url, PERSON, PRODUCT, DOCUMENT)
    migrations.upgrade(empty_url)
    assert (
        migrations.on_connection(
            empty_url,
            lambda connection: connection.execute(
                text("SELECT count(*) FROM search_products('motorhaed acdc', 3)")
            ).scalar(),
        )
        == 1
    )
    migrations.downgrade(empty_url, "0002")
    assert (
        migrations.on_connection(
            empty_url,
            lambda connection: connection.execute(
                text("SELECT title FROM product_search_document WHERE vector @@ 'motorhead'")
            ).scalar(),
        )
        == "motorhead - ac/dc"
    )
