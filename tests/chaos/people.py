"""Simulated people: they look, create, edit, select, import, undo, delete and restore, as pages let them."""

import asyncio
import json
import random
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from admin_app.actor import Role
from tests.admin.pages import Element, fields_of, form_of, rows_of
from tests.chaos.client import Browser, GaveUp
from tests.chaos.ledger import Ledger, Told, Try
from tests.samples import jpeg

PRODUCT = "/admin/product"
THINGS = (
    "Anvil",
    "Bell",
    "Clock",
    "Drum",
    "Easel",
    "Flute",
    "Globe",
    "Harp",
    "Inkwell",
    "Jug",
    "Kite",
    "Lamp",
)
COLOURS = ("teal", "crimson", "gold", "navy", "olive", "plum")
FOLLOWED_SECONDS = 20

Action = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Account:
    email: str
    role: Role

    @property
    def name(self) -> str:
        return self.email.partition("@")[0]


class Person:
    def __init__(self, account: Account, ports: Sequence[int], ledger: Ledger, chance: random.Random) -> None:
        self.account = account
        self._chance = chance
        self._ledger = ledger
        self._browser = Browser(account.email, ports, ledger, chance)
        self._operations: list[UUID] = []

    async def live(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, and what was begun by then has come to its end."""
        try:
            await self._browser.sign_in(self.account.email)
            while not stop.is_set():
                with suppress(GaveUp):
                    await self._choose()()
                await asyncio.sleep(self._chance.uniform(0.05, 0.6))
        except Exception:
            self._ledger.fault(f"{self.account.email} did not understand a page: {traceback.format_exc()}")
        finally:
            await self._browser.close()

    def _choose(self) -> Action:
        """As often as such people do it."""
        if self.account.role is Role.SUPPORT:
            return self._chance.choice([self._look, self._look, self._overstep])
        often: dict[Action, int] = {
            self._look: 2,
            self._create: 5,
            self._edit: 6,
            self._inline: 5,
            self._bulk: 3,
            self._undo: 2,
            self._delete: 2,
            self._restore: 2,
            self._import: 1,
        }
        return self._chance.choices([*often], [*often.values()])[0]

    async def _look(self) -> None:
        row = await self._some_row()
        await self._browser.page(f"{PRODUCT}/details/{row.attributes['data-id']}")
        await self._browser.page("/admin/search", q=self._chance.choice(THINGS))

    async def _overstep(self) -> None:
        """Support may not; nothing comes of it but an entry that says so."""
        row = await self._some_row()
        values = self._values("name")
        one = self._begin("edit", row_id=UUID(row.attributes["data-id"]), values=values)
        await self._browser.post(one, f"{PRODUCT}/edit/{one.row_id}", data={**values, "version": "1"})
        if one.told is Told.ACKNOWLEDGED:
            self._ledger.fault(f"{self.account.email} changed product {one.row_id}, which support may not")

    async def _create(self) -> None:
        fields = fields_of(form_of(await self._browser.page(f"{PRODUCT}/create")))
        values = self._values("name", "price", "description")
        if self._chance.random() < 0.3:
            fields["images"] = await self._uploaded([])
        one = self._begin("create", values=values)
        sent = {**fields, **values, "save": "continue"}
        response = await self._browser.post(one, f"{PRODUCT}/create", data=sent)
        if response is not None and one.told is Told.ACKNOWLEDGED:
            one.row_id = _id_of(response)

    async def _edit(self) -> None:
        row_id = UUID((await self._some_row()).attributes["data-id"])
        address = f"{PRODUCT}/edit/{row_id}"
        for _ in range(2):  # who is told of a conflict opens the form again
            fields = fields_of(form_of(await self._browser.page(address)))
            names = self._chance.sample(["name", "price", "description"], self._chance.randint(1, 3))
            values = self._values(*names)
            if self._chance.random() < 0.15:
                fields["images"] = await self._uploaded(json.loads(fields["images"]), row_id)
            await asyncio.sleep(self._chance.uniform(0, 1))  # typing
            one = self._begin("edit", row_id=row_id, version=int(fields["version"]), values=values)
            await self._browser.post(one, address, data=fields | values)
            if one.reason != "409":
                return

    async def _inline(self) -> None:
        row = await self._some_row()
        row_id, version = UUID(row.attributes["data-id"]), int(row.attributes["data-version"])
        values = self._values(self._chance.choice(["price", "name"]))
        one = self._begin("edit", row_id=row_id, version=version, values=values)
        sent = {**values, "version": str(version), "back": ""}
        await self._browser.post(one, f"{PRODUCT}/inline/{row_id}", data=sent)

    async def _delete(self) -> None:
        row_id = UUID((await self._some_row()).attributes["data-id"])
        address = f"{PRODUCT}/delete/{row_id}"
        fields = fields_of(form_of(await self._browser.page(address)))
        one = self._begin("delete", row_id=row_id, version=int(fields["version"]))
        await self._browser.post(one, address, data=fields)

    async def _restore(self) -> None:
        forms = (await self._browser.page(f"{PRODUCT}/bin")).all("form", data_submit_once="")
        if not forms:
            return
        form = self._chance.choice(forms)
        address = form.attributes["action"]
        one = self._begin("restore", row_id=UUID(address.rpartition("/")[2]))
        await self._browser.post(one, address, data=fields_of(form))

    async def _bulk(self) -> None:
        action = self._chance.choice(["set_price", "set_price", "activate", "deactivate", "delete"])
        rows = [row.attributes["data-id"] for row in await self._rows()]
        sent: dict[str, Any] = {"action": action, "ids": self._chance.sample(rows, min(len(rows), 15))}
        if action != "delete" and self._chance.random() < 0.5:
            sent = {"action": action, "all": "1", "conditions": f"search={self._found_by()}"}
        drafted = await self._browser.post(self._begin("draft"), f"{PRODUCT}/bulk", data=sent)
        values = self._values("price") if action == "set_price" else {}
        if drafted is not None and drafted.status_code == 303:
            await self._confirm(_id_of(drafted), values)

    async def _undo(self) -> None:
        if not self._operations:
            return
        operation_id = self._chance.choice(self._operations)
        drafted = await self._browser.post(self._begin("draft"), f"/admin/operation/undo/{operation_id}")
        if drafted is not None and drafted.status_code == 303:
            await self._confirm(_id_of(drafted), {})

    async def _confirm(self, operation_id: UUID, values: dict[str, str]) -> None:
        question = await self._browser.page(f"/admin/operation/details/{operation_id}", **values)
        forms = question.all("form", action=f"/admin/operation/confirm/{operation_id}")
        if not forms:  # none of these rows would change, or it was confirmed before
            return
        sent = fields_of(forms[0]) | values
        one = self._begin("confirm", row_id=operation_id, values=values)
        await self._browser.post(one, forms[0].attributes["action"], data=sent)
        if one.told is Told.ACKNOWLEDGED:
            self._operations.append(operation_id)
            await self._follow(operation_id)

    async def _follow(self, operation_id: UUID) -> None:
        """For a while, as the page does it; whoever is in a hurry leaves."""
        for _ in range(self._chance.randint(1, FOLLOWED_SECONDS)):
            page = await self._browser.page(f"/admin/operation/live/{operation_id}")
            if "Finished" in page.text:
                return
            await asyncio.sleep(1)

    async def _import(self) -> None:
        rows = [self._values("name", "price") for _ in range(self._chance.randint(5, 40))]
        lines = ["Title,Price", *(f"{row['name']},{row['price']}" for row in rows)]
        file = {"file": ("things.csv", "\n".join(lines))}
        sent = await self._browser.post(self._begin("draft"), f"{PRODUCT}/import", files=file)
        if sent is None or sent.status_code != 303:
            return
        import_id = _id_of(sent)
        address = f"/admin/import/details/{import_id}"
        form = _form_to(await self._browser.page(address), "/import/match/")
        if form is None:
            return
        await self._browser.post(self._begin("draft"), form.attributes["action"], data=fields_of(form))
        form = None
        for _ in range(FOLLOWED_SECONDS):
            form = _form_to(await self._browser.page(address), "/import/confirm/")
            if form is not None:
                break
            await asyncio.sleep(1)
        if form is None:
            return
        one = self._begin("import", row_id=import_id, rows=rows)
        response = await self._browser.post(one, form.attributes["action"], data=fields_of(form))
        if response is not None and one.told is Told.ACKNOWLEDGED:
            self._operations.append(_id_of(response))

    async def _uploaded(self, images: list[dict[str, str]], row_id: UUID | None = None) -> str:
        """The pictures of a form, as text, with one more if it could be sent."""
        one = self._begin("upload")
        content = jpeg(self._chance.randint(300, 900), 400, self._chance.choice(COLOURS))
        path = f"{PRODUCT}/images" + (f"/{row_id}" if row_id else "")
        response = await self._browser.post(one, path, files={"file": ("front.jpeg", content)})
        if response is not None and response.status_code == 201 and len(images) < 12:
            one.row_id = UUID(response.json()["id"])
            images = [*images, {"id": str(one.row_id), "alt": "Front"}]
        return json.dumps(images)

    async def _rows(self) -> list[Element]:
        found = self._found_by()
        page = await self._browser.page(f"{PRODUCT}/list", **({"search": found} if found else {}))
        rows = [row for row in rows_of(page) if "data-version" in row.attributes or not found]
        if not rows:
            raise GaveUp("nothing there yet")
        return rows

    async def _some_row(self) -> Element:
        return self._chance.choice(await self._rows())

    def _found_by(self) -> str:
        """Administrators look for what is theirs, the others at everything."""
        return self.account.name if self.account.role is Role.ADMINISTRATOR else ""

    def _begin(self, what: str, **known: object) -> Try:
        return self._ledger.begin(what, self.account.email, **known)

    def _values(self, *names: str) -> dict[str, str]:
        """Such as nobody has tried before."""
        number = self._ledger.number()
        every = {
            "name": f"{self._chance.choice(THINGS)} {self.account.name} {number}",
            "price": f"{1 + number / 100:.2f}",
            "description": f"Number {number}, as described by {self.account.name}.",
        }
        return {name: every[name] for name in names}


def _id_of(response: httpx.Response) -> UUID:
    """At the end of the address it leads to."""
    path = str(response.headers["location"]).partition("?")[0]
    return UUID(path.rpartition("/")[2])


def _form_to(page: Element, part: str) -> Element | None:
    found = [form for form in page.all("form") if part in form.attributes.get("action", "")]
    return found[0] if found else None
