"""One run: people at work, the monkey among them, the quiet afterwards, and the judgement."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy import func, select

from admin_app.actor import Actor, Role
from admin_app.bulk.models import ACTIVE, BulkOperation
from admin_app.database import Database
from admin_app.domains import open_database
from admin_app.domains.users.schemas import UserCreate
from admin_app.domains.users.service import UserService
from admin_app.imports.models import Import, ImportState
from admin_app.outbox import Delivery
from tests.chaos.client import PASSWORD, Browser
from tests.chaos.facts import gather
from tests.chaos.laws import Finding, judge
from tests.chaos.ledger import Ledger
from tests.chaos.monkey import Blow, Monkey
from tests.chaos.people import Account, Person
from tests.chaos.stage import Stage

NAMES = (
    "alma",
    "boris",
    "clara",
    "dario",
    "edda",
    "falk",
    "greta",
    "henri",
    "ilse",
    "jonas",
    "karla",
    "luis",
)
QUIET_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    ledger: Ledger
    monkey: Monkey
    findings: Sequence[Finding]
    quiet_seconds: float
    ends: Counter[str]
    """How processes of ours ended before their time."""

    @property
    def violations(self) -> list[str]:
        return [f"{each.law}: {one}" for each in self.findings for one in each.violations]


def cast(number: int) -> list[Account]:
    """One superuser, administrators, and from four on one of support."""
    names = [f"{NAMES[place % len(NAMES)]}{place // len(NAMES) or ''}" for place in range(number)]
    roles = [Role.SUPERUSER, *[Role.ADMINISTRATOR] * (number - 1)]
    if number > 3:
        roles[-1] = Role.SUPPORT
    return [Account(f"{name}@chaos.example", role) for name, role in zip(names, roles, strict=True)]


async def perform(
    stage: Stage, *, people: int, seed: int, seconds: float = 0, blows: Sequence[Blow] = ()
) -> Outcome:
    """The monkey deals these blows, or any for so many seconds."""
    chance, ledger, stop = random.Random(seed), Ledger(), asyncio.Event()
    database = open_database(stage.settings)
    tending = asyncio.create_task(stage.tend())
    accounts = cast(people)
    await _open_accounts(database, accounts)
    browser = Browser("the monkey", stage.ports, ledger, chance)
    monkey = Monkey(stage, database, browser, ledger, random.Random(chance.random()))
    everybody: list[asyncio.Task[None]] = []
    try:
        await browser.sign_in(accounts[-1].email)
        if not await monkey.well():
            raise RuntimeError("It never became ready; the logs say why.")
        for account in accounts:
            person = Person(account, stage.ports, ledger, random.Random(chance.random()))
            everybody.append(asyncio.create_task(person.live(stop)))
        for blow in blows:
            await asyncio.sleep(1)
            await monkey.strike(blow)
        if seconds:
            await monkey.rage(seconds)
        stop.set()
        await asyncio.gather(*everybody)
        await stage.end("serve")  # with what they still had to answer
        quiet_seconds = await _quiet(database, ledger)
        await stage.end("relay", "worker")
        async with database.reading() as session:
            findings = judge(await gather(session, stage.settings.data_dir / "media"), ledger)
        return Outcome(ledger, monkey, findings, quiet_seconds, _ends(stage))
    finally:
        for task in (tending, *everybody):
            task.cancel()
        await browser.close()
        await database.close()


async def _open_accounts(database: Database, accounts: Sequence[Account]) -> None:
    for account in accounts:
        async with database.transaction() as session:
            await UserService(session, Actor.system()).create(
                UserCreate(
                    email=account.email,
                    name=account.name.title(),
                    role=account.role,
                    password=SecretStr(PASSWORD),
                )
            )


def _ends(stage: Stage) -> Counter[str]:
    kinds = ((part.name.partition("-")[0], code) for part in stage.parts for code in part.ends)
    return Counter(f"{kind} {'killed' if code < 0 else f'with exit code {code}'}" for kind, code in kinds)


async def _quiet(database: Database, ledger: Ledger) -> float:
    """Until nothing is left to be done; how long that took."""
    began = time.monotonic()
    left: tuple[int, ...] = ()
    while time.monotonic() - began < QUIET_SECONDS:
        async with database.reading() as session:
            open_ = select(func.count(Delivery.id)).where(
                Delivery.done_at.is_(None), Delivery.dead_at.is_(None)
            )
            active = select(func.count(BulkOperation.id)).where(BulkOperation.state.in_(ACTIVE))
            checking = select(func.count(Import.id)).where(Import.state == ImportState.CHECKING)
            left = tuple([await session.scalar(each) or 0 for each in (open_, active, checking)])
        if not any(left):
            return time.monotonic() - began
        await asyncio.sleep(0.2)
    ledger.fault(f"not quiet after {QUIET_SECONDS} s: deliveries, operations, imports left: {left}")
    return QUIET_SECONDS
