"""What people like: kept per person, never lost to another change at the same time."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from admin_app import preferences
from admin_app.database import Database
from admin_app.errors import InvalidInput
from admin_app.preferences import MAX_VIEWS, ListPreference, Preferences, SavedView
from tests.conftest import Cast


def view(name: str, query: str = "", of: str = "product") -> SavedView:
    return SavedView(name=name, list=of, query=query)


def test_what_is_not_said_stays_as_it_was() -> None:
    liked = Preferences().with_list("product", size=50).with_list("product", columns=["name"])
    assert liked.of_list("product") == ListPreference(size=50, columns=("name",))
    assert liked.of_list("user") == ListPreference()
    assert liked.with_list("product", columns=[]).of_list("product").columns == ()


def test_a_view_replaces_the_one_of_its_name_and_list() -> None:
    liked = Preferences().with_view(view("Dear", "a=1")).with_view(view("dear", "a=2"))
    liked = liked.with_view(view("Dear", "b=1", of="user")).with_view(view("Cheap"))
    assert [(item.list, item.name, item.query) for item in liked.views] == [
        ("product", "Cheap", ""),
        ("product", "dear", "a=2"),
        ("user", "Dear", "b=1"),
    ]
    assert [item.name for item in liked.without_view(liked.views[1].id).views] == ["Cheap", "Dear"]
    assert liked.without_view(uuid4()) == liked


def test_views_are_not_without_number() -> None:
    liked = Preferences()
    for number in range(MAX_VIEWS):
        liked = liked.with_view(view(f"View {number}"))
    with pytest.raises(InvalidInput, match="Remove one first"):
        liked.with_view(view("One more"))
    assert len(liked.with_view(view("View 7", "new=1")).views) == MAX_VIEWS


def test_what_cannot_be_read_counts_as_nothing() -> None:
    for data in (None, {}, {"lists": 5}, {"views": [{"name": "x"}]}, {"unknown": 1}):
        assert preferences.read(data) == Preferences()


async def test_changes_at_the_same_time_are_all_kept(database: Database, cast: Cast) -> None:
    assert cast.sam.id is not None

    async def save(number: int) -> None:
        async with database.transaction() as session:
            await preferences.change(
                session, cast.sam.id, lambda liked: liked.with_view(view(f"View {number}"))
            )

    await asyncio.gather(*(save(number) for number in range(8)))
    async with database.reading() as session:
        data = await session.scalar(text("SELECT data FROM preference"))
    assert {item.name for item in preferences.read(data).views} == {f"View {number}" for number in range(8)}


async def test_they_go_with_their_person(database: Database, cast: Cast) -> None:
    async with database.transaction() as session:
        await preferences.change(session, cast.sam.id, lambda liked: liked.with_list("user", size=50))
        await session.execute(text("DELETE FROM users WHERE id = :id"), {"id": cast.sam.id})
    async with database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM preference")) == 0
