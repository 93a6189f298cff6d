"""The document of the API and the page made from it: whole, true, and for people who are signed in."""

import re
from html.parser import HTMLParser

import jsonschema_rs
import pytest

from admin_app.api.examples import EXAMPLES
from admin_app.app import Website
from tests.api.conftest import Call
from tests.conftest import SignIn

ALWAYS = {"400", "401", "403", "429", "503"}
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", re.IGNORECASE)


@pytest.fixture
def document(website: Website) -> dict:
    [api] = [route.app for route in website.routes if getattr(route, "name", "") == "api"]
    return api.openapi()


def test_the_document_is_openapi_3_1_and_says_something_of_every_operation(document: dict) -> None:
    assert document["openapi"].startswith("3.1")
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) > 20
    for operation in operations:
        assert all(operation[name] for name in ("summary", "description", "tags"))
        assert operation["responses"].keys() >= ALWAYS
        for status in ("429", "503"):
            assert "Retry-After" in operation["responses"][status]["headers"]


def test_what_follows_from_the_kind_of_an_operation_is_told_of_it(document: dict) -> None:
    def told(path: str, method: str) -> tuple[set[str], set[str]]:
        operation = document["paths"][path][method]
        headers = {item["name"] for item in operation["parameters"] if item["in"] == "header"}
        return headers, operation["responses"].keys() - ALWAYS

    tags = {"If-Match", "If-None-Match"}
    one, key = "/products/{product_id}", "Idempotency-Key"
    assert told(one, "get") == (tags, {"200", "304", "404", "412"})
    assert told("/users/me", "get") == (tags, {"200", "304", "412"})
    assert told("/products/", "get") == (set(), {"200", "422"})
    assert told("/operations/actions", "get") == (set(), {"200"})
    body = {"408", "409", "413", "415", "422"}
    assert told("/products/", "post") == ({key}, {"201", *body})
    assert told(one, "patch") == ({key, "If-Match"}, {"200", "404", "412", *body})
    assert told(one, "delete") == ({key, "If-Match"}, {"204", "404", "409", "412", "422"})
    product = document["components"]["schemas"]["ProductRead"]["properties"]
    assert product["created_at"]["format"] == "date-time"
    assert document["components"]["schemas"]["NewProduct"]["properties"]["images"]["maxItems"] == 12
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_example_is_true_and_every_body_has_one(document: dict) -> None:
    schemas = document["components"]["schemas"]
    for name, example in EXAMPLES.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema_rs.validate(schema, example, validate_formats=True)
    for item in document["paths"].values():
        for operation in item.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for kind, content in part.get("content", {}).items():
                    has_one = "example" in content or content.get("examples")
                    assert has_one or not kind.endswith("json"), operation["operationId"]


async def test_every_example_of_something_new_is_taken(sign_in: SignIn) -> None:
    root = await sign_in("root")
    addresses = {"NewUser": "users", "NewProduct": "products", "NewExport": "exports"}
    for name in sorted(EXAMPLES, key=lambda name: name not in addresses):
        if name.startswith("New"):
            address = f"/api/v1/{addresses.get(name, 'operations')}/"
            assert (await root.post(address, json=EXAMPLES[name])).status_code == 201, name


class Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and value:
                self.links.append(value)


async def test_the_page_shows_every_operation_without_a_script_or_style_of_its_own(
    sign_in: SignIn, document: dict
) -> None:
    sam = await sign_in("sam")
    page = await sam.get("/api/v1/docs")
    assert page.status_code == 200
    assert not INLINE.search(page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    anchors = Anchors()
    anchors.feed(page.text)
    assert len(anchors.ids) == len(set(anchors.ids))
    within = {link[1:] for link in anchors.links if link.startswith("#")}
    assert within <= set(anchors.ids)
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["operationId"].replace("_", "-") in within
    for link in set(anchors.links):
        if link.startswith("/"):
            assert (await sam.get(link.partition("#")[0])).status_code == 200, link
    assert "proof-required" in anchors.ids
    for told in ("text of 1 to 255 characters", "a list of up to 12: ", "from 1 to 100", "Idempotency-Key"):
        assert told in page.text
    titles = ("Read a product", "List products", "Search products", "Create a product", "Change a product")
    places = [page.text.index(f">{title}</a></h3>") for title in titles]
    assert places == sorted(places)


async def test_nobody_signs_in_first_and_comes_back(sign_in: SignIn) -> None:
    nobody = await sign_in("nobody")
    turned = await nobody.get("/api/v1/docs")
    assert (turned.status_code, turned.headers["location"]) == (302, "/admin/login?next=/api/v1/docs")
    form = await nobody.get(turned.headers["location"])
    assert 'name="next" value="/api/v1/docs"' in form.text
    assert (await nobody.get("/api/v1/openapi.json")).status_code == 401


async def test_the_document_names_the_cookie_of_this_place(call: Call) -> None:
    document = (await (await call("sam")).get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["session"]["name"] == "session_8000"
