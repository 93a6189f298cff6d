"""`admin-app search`: what it says, and its exit codes."""

import asyncio
import re

from sqlalchemy import text

from admin_app.database import Database
from tests.conftest import Cast, MakeProduct
from tests.deliveries import work
from tests.search.meilisearch import recording_server
from tests.test_cli import installed, run

__all__ = ["installed"]


async def test_check_names_what_differs_and_rebuild_mends_it(
    cast: Cast, make_product: MakeProduct, database: Database, installed: dict[str, str]
) -> None:
    rows = [await make_product(cast.alice) for _ in range(7)]
    first = await asyncio.to_thread(run, "search", "check", **installed)
    assert first.returncode == 1
    assert first.stdout.startswith(f"7 not in the index: {rows[0].id}, ")
    assert first.stdout.count("-") > 5
    assert f"{rows[4].id}, …\n7 products compared.\n" in first.stdout
    assert str(rows[5].id) not in first.stdout

    done = await asyncio.to_thread(run, "search", "rebuild", **installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The new index has taken over, with 7 products.\n")
    same = await asyncio.to_thread(run, "search", "check", **installed)
    assert (same.returncode, same.stdout) == (0, "7 products compared: the index is as they are.\n")

    async with database.transaction() as session:
        await session.execute(text("UPDATE product_search_document SET version = 0"))
    assert re.match(r"7 in the index as they were: ", run("search", "check", **installed).stdout)


async def test_a_second_rebuild_is_one_sentence(
    database: Database, installed: dict[str, str], cast: Cast, make_product: MakeProduct
) -> None:
    from admin_app.domains.products.rebuilding import Rebuild

    await make_product(cast.alice)
    rebuild = Rebuild(database).run()
    await anext(rebuild)
    refused = await asyncio.to_thread(run, "search", "rebuild", **installed)
    assert (refused.returncode, refused.stderr) == (
        1,
        "admin-app: The search index is being rebuilt already.\n",
    )
    async for _ in rebuild:
        pass


def test_postgresql_needs_no_set_up(installed: dict[str, str]) -> None:
    done = run("search", "setup", **installed)
    assert (done.returncode, done.stdout) == (0, "Search runs in PostgreSQL: there is nothing to set up.\n")
    told = run("search", "setup", SEARCH_SYNONYMS="words.json", **installed)
    assert "It knows no synonyms; SEARCH_SYNONYMS is for a search server." in told.stdout


async def test_a_search_server_is_set_up_rebuilt_checked_and_examined(
    cast: Cast, make_product: MakeProduct, database: Database, installed: dict[str, str], tmp_path
) -> None:
    await make_product(cast.alice)
    key = "a-key-nobody-may-read"
    async with recording_server() as server:
        elsewhere = {**installed, "SEARCH_URL": server.url, "SEARCH_KEY": key}

        async def command(*words: str, **more: str) -> tuple[int, str]:
            done = await asyncio.to_thread(run, *words, **elsewhere, **more)
            assert key not in done.stdout + done.stderr
            return done.returncode, done.stdout + done.stderr

        assert await command("search", "setup") == (
            0,
            "The index 'products' is set up, with synonyms for 0 words.\n",
        )
        (tmp_path / "words.json").write_text("{}")
        code, said = await command("search", "setup", SEARCH_SYNONYMS=str(tmp_path / "words.json"))
        assert (code, said.count("\n")) == (1, 1)
        assert said.startswith("admin-app: SEARCH_SYNONYMS: ")
        assert (await command("search", "check"))[0] == 1
        assert (await command("search", "rebuild"))[0] == 0
        assert await command("search", "check") == (0, "1 product compared: the index is as they are.\n")
        assert "search: Meilisearch 1.41.0 (external, http://127.0.0.1:" in (await command("doctor"))[1]
        server.status = 403
        code, said = await command("search", "check")
        assert (code, said) == (1, "admin-app: The search server refuses SEARCH_KEY.\n")
        code, said = await command("doctor")
        assert "FAIL  search: Unavailable: The search server refuses SEARCH_KEY." in said
    await work(database)
