"""What the application sends to PostgreSQL for each page, seen by asking it for each page."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_app.app import create_app
from admin_app.security.sessions import open_session
from bench.cases import EDIT, PRODUCTS, READS
from bench.data import SUPERUSER, settings_for
from bench.floor import Script, Statement
from tests.admin.pages import fields_of, form_of, parse

PORT = 8000
MIDDLE = text("""
    SELECT p.id, p.created_at, u.email FROM products p JOIN users u ON u.id = p.owner_id
    ORDER BY p.created_at, p.id OFFSET (SELECT count(*) / 2 FROM products) LIMIT 2
""")


@dataclass(frozen=True)
class Recording:
    """`reads` are addresses by the name of their case, `refused` the status of those not answered by 200."""

    token: str
    reads: dict[str, str]
    refused: dict[str, int]
    edit: str
    form: dict[str, str]
    script: Script


async def record(url: str, cases: Mapping[str, str] = READS) -> Recording:
    """Signs a superuser in, and asks for every page once in this process."""
    app = create_app(settings_for(url))
    database = app.state.database
    try:
        async with database.transaction() as session:
            person = await session.scalar(text("SELECT id FROM users WHERE email = :e"), {"e": SUPERUSER})
            token = await open_session(session, person, address=None, user_agent="bench")
            shown, other = (await session.execute(MIDDLE)).all()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url=f"http://127.0.0.1:{PORT}",
            cookies={f"session_{PORT}": token},
            headers={"Sec-Fetch-Site": "same-origin"},
        ) as client:
            first = await client.get(PRODUCTS)  # a new connection asks about the server first
            half_way = _cursor_at(first.text, shown.created_at.isoformat(), str(shown.id))
            placed = {"half_way": half_way, "owner": shown.email, "product": shown.id}
            reads: dict[str, str] = {}
            refused: dict[str, int] = {}
            statements: dict[str, list[Statement]] = {}
            for name, template in cases.items():
                address = template.format(**placed)
                with _recorded(database.engine) as sent:
                    response = await client.get(address)
                if response.status_code == 200:
                    reads[name], statements[name] = address, sent
                else:
                    refused[name] = response.status_code
            edit = EDIT.format(product=shown.id)
            form = fields_of(form_of(parse(await client.get(edit))))
            saves = [await _save(client, database.engine, EDIT.format(product=other.id), n) for n in (1, 2)]
    finally:
        await database.close()
    return Recording(token, reads, refused, edit, form, Script(statements, (saves[0], saves[1])))


async def _save(client: httpx.AsyncClient, engine: AsyncEngine, address: str, number: int) -> list[Statement]:
    fields = fields_of(form_of(parse(await client.get(address))))
    with _recorded(engine) as sent:
        response = await client.post(address, data=fields | {"price": f"{number}.25"})
    assert response.status_code == 303, response.text
    return sent


def _cursor_at(page: str, created_at: str, row_id: str) -> str:
    """The cursor of the page's own link to the next, moved to this row."""
    link = re.search(r'<a[^>]+href="([^"]+)"[^>]+rel="next"', page)
    assert link is not None
    [cursor] = parse_qs(urlsplit(unescape(link[1])).query)["cursor"]
    direction, _, _, fingerprint = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    moved = json.dumps([direction, created_at, row_id, fingerprint])
    return base64.urlsafe_b64encode(moved.encode()).decode().rstrip("=")


@contextmanager
def _recorded(engine: AsyncEngine) -> Iterator[list[Statement]]:
    sent: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if sql.startswith(("SAVEPOINT ", "RELEASE SAVEPOINT ")):
            return  # the floor reads without a transaction
        rows = parameters if many else [parameters]
        sent.extend(Statement(sql, list(row)) for row in rows)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
