"""The history by the API: of a product, of an account, and of everything."""

from uuid import uuid4

from tests.api.conftest import Call
from tests.conftest import Cast, MakeProduct


async def test_the_history_of_a_product_is_paged_from_the_newest_on(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice, name="Clock")
    alice = await call("alice")
    for price in ("2", "3"):
        await alice.patch(f"/products/{product.id}", json={"price": price})
    page = await (await call("sam")).get(f"/products/{product.id}/history?limit=2")
    found = page.json()
    assert [(entry["version"], entry["changes"].get("price")) for entry in found["items"]] == [
        (3, ["2.00", "3.00"]),
        (2, ["0.99", "2.00"]),
    ]
    assert found["items"][0]["source"] == "api"
    assert f'cursor={found["next"]}>; rel="next"' in page.headers["link"]
    rest = (await alice.get(f"/products/{product.id}/history?cursor={found['next']}")).json()
    assert [entry["action"] for entry in rest["items"]] == ["created"]
    assert rest["next"] is None


async def test_it_stays_readable_in_the_bin_for_whoever_sees_that(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    await alice.delete(f"/products/{product.id}")
    for name, status in (("alice", 200), ("sam", 200), ("bob", 404)):
        answer = await (await call(name)).get(f"/products/{product.id}/history")
        assert answer.status_code == status
    assert (await alice.get(f"/products/{uuid4()}/history")).status_code == 404


async def test_of_others_addresses_only_superusers_are_told(
    call: Call, cast: Cast, make_product: MakeProduct
) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    await alice.patch(f"/products/{product.id}", json={"price": "2"})

    async def address(name: str) -> str | None:
        found = (await (await call(name)).get(f"/products/{product.id}/history")).json()
        told: str | None = found["items"][0]["address"]
        return told

    assert await address("alice") == await address("root") == "127.0.0.1"
    assert await address("sam") is None
    assert await address("bob") is None


async def test_secrets_are_never_in_it(call: Call, cast: Cast) -> None:
    root = await call("root")
    entries = (await root.get(f"/users/{cast.bob.id}/history")).json()["items"]
    assert entries[-1]["changes"]["password_hash"] == ["[hidden]", "[hidden]"]
    everything = (await root.get("/activity/?limit=100")).text
    assert "argon2" not in everything
    assert "adm_" not in everything


async def test_an_administrator_reads_of_accounts_only_the_own_history(call: Call, cast: Cast) -> None:
    alice = await call("alice")
    assert (await alice.get(f"/users/{cast.alice.id}/history")).status_code == 200
    assert (await alice.get(f"/users/{cast.bob.id}/history")).status_code == 404
    found = (await alice.get("/activity/?kind=user")).json()["items"]
    assert {entry["row_id"] for entry in found} == {str(cast.alice.id)}


async def test_activity_is_filtered_and_paged(call: Call, cast: Cast, make_product: MakeProduct) -> None:
    product = await make_product(cast.alice)
    alice = await call("alice")
    await alice.patch(f"/products/{product.id}", json={"price": "2"})

    async def actions(query: str) -> list[str]:
        answer = await alice.get(f"/activity/?{query}")
        assert answer.status_code == 200
        return [entry["action"] for entry in answer.json()["items"]]

    assert await actions(f"row_id={product.id}") == ["updated", "created"]
    assert await actions("field=price&who=alice") == ["updated"]
    assert await actions("kind=product&action=created") == ["created"]
    first = (await alice.get(f"/activity/?row_id={product.id}&limit=1")).json()
    assert await actions(f"row_id={product.id}&limit=1&cursor={first['next']}") == ["created"]
    for query in ("action=exploded", "at_from=yesterday", "colour=red", "row_id=1"):
        assert (await alice.get(f"/activity/?{query}")).status_code == 422
