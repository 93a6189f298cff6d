"""The conservation laws: what must be true of the tables, the files and the books, whatever was killed."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from admin_app import audit
from admin_app.actor import Role, Source
from admin_app.audit import AuditEntry
from admin_app.bulk.models import ACTIVE, Outcome, State
from admin_app.domains import HANDLERS
from admin_app.domains.products.models import ImageState
from admin_app.events import TaskCall
from admin_app.imports.models import ImportState, Verdict
from admin_app.outbox import Delivery
from tests.chaos.facts import Facts
from tests.chaos.ledger import Ledger, Told, Try

BY_HAND = {Source.FORM.value, Source.INLINE.value}
TYPED = ("name", "price", "description")
"""The fields whose values are tried only once."""
TOLD_BY = {
    "created": "ProductCreated",
    "updated": "ProductUpdated",
    "deleted": "ProductDeleted",
    "restored": "ProductRestored",
}
"""An entry's word -> the event that tells of it."""

Violations = Iterator[str]


@dataclass(frozen=True)
class Law:
    """`looked_at` says how many things the law was held against."""

    name: str
    broken: Callable[[Facts, Ledger], Violations]
    looked_at: Callable[[Facts, Ledger], int]


@dataclass(frozen=True)
class Finding:
    law: str
    looked_at: int
    violations: Sequence[str]


def judge(facts: Facts, ledger: Ledger) -> list[Finding]:
    return [Finding(law.name, law.looked_at(facts, ledger), [*law.broken(facts, ledger)]) for law in LAWS]


def _saves(facts: Facts, ledger: Ledger) -> Violations:
    """What was acknowledged is there once and as a whole, what was refused is not, of the rest either."""
    made: dict[tuple[str, str], list[AuditEntry]] = defaultdict(list)
    for entry in _by_hand(facts):
        for name, (_, new) in entry.changes.items():
            made[name, str(new)].append(entry)
    for one in ledger.of("create", "edit"):
        found = {entry.id: entry for pair in one.values.items() for entry in made[pair]}
        least, most = _bounds(one)
        if not least <= len(found) <= most:
            yield f"{_called(one)} was {one.told} and is in the history {len(found)} times"
        for entry in found.values():
            if {name: str(entry.changes.get(name, [None, None])[1]) for name in one.values} != one.values:
                yield f"{_called(one)} is there only in part: {entry.changes}"
            if one.row_id not in {None, entry.row_id} or entry.actor_label != one.person:
                yield f"{_called(one)} was done to product {entry.row_id} by {entry.actor_label}"
    yield from _moves(facts, ledger)


def _denials(facts: Facts, ledger: Ledger) -> Violations:
    """An answer that says that nothing was changed is true."""
    done = {(name, str(new)) for entry in _by_hand(facts) for name, (_, new) in entry.changes.items()}
    for one in _denied(ledger):
        if done & one.values.items():
            yield f"{_called(one)} was answered {one.reason}, which says it was not done, and it was"


def _denied(ledger: Ledger) -> list[Try]:
    return [one for one in ledger.of("create", "edit") if one.told is Told.UNKNOWN and not one.is_unanswered]


def _moves(facts: Facts, ledger: Ledger) -> Violations:
    """Into the bin, of a version that is known; and out of it, which may be asked for again and again."""
    done = Counter((entry.action, entry.row_id, entry.version) for entry in _by_hand(facts))
    for one in ledger.of("delete"):
        assert one.version is not None
        number = done["deleted", one.row_id, one.version + 1]
        # Two people may have asked for the same; then one of them was refused.
        if one.told is Told.ACKNOWLEDGED and number != 1:
            yield f"{_called(one)} was {one.told} and is in the history {number} times"
    restored = Counter(entry.row_id for entry in _by_hand(facts) if entry.action == "restored")
    back = Counter(entry.row_id for entry in facts.entries if entry.action == "restored")
    for one in ledger.of("restore"):
        if one.told is Told.ACKNOWLEDGED and not back[one.row_id]:
            yield f"{_called(one)} was {one.told} and is not in the history"
    sent = Counter[UUID | None]()
    for one in ledger.of("restore"):
        sent[one.row_id] += one.sent if one.told is not Told.REFUSED else 0
    for row_id, number in restored.items():
        if number > sent[row_id]:
            yield f"product {row_id} was restored {number} times and {sent[row_id]} times asked for"


def _ghosts(facts: Facts, ledger: Ledger) -> Violations:
    """Nothing is there that nobody tried."""
    tried = {pair for one in ledger.of("create", "edit") for pair in one.values.items()}
    deletions = {(one.row_id, one.version) for one in ledger.of("delete") if one.told is not Told.REFUSED}
    restored = {one.row_id for one in ledger.of("restore") if one.told is not Told.REFUSED}
    operations = _operations_tried(facts, ledger)
    for entry in facts.entries:
        match entry.action:
            case _ if entry.operation_id is not None:
                known = entry.operation_id in operations
            case "created" | "updated":
                typed = [(name, str(entry.changes[name][1])) for name in TYPED if name in entry.changes]
                known = bool(typed) and all(pair in tried or pair[1] == "" for pair in typed)
            case "deleted":
                known = entry.version is not None and (entry.row_id, entry.version - 1) in deletions
            case _:
                known = entry.row_id in restored
        if not known:
            yield f"nobody tried what made product {entry.row_id} version {entry.version}: {entry.changes}"


def _versions(facts: Facts, ledger: Ledger) -> Violations:
    """Each version of a product has one entry, which goes on where the one before ended; the last is now."""
    entries: dict[UUID | None, list[AuditEntry]] = defaultdict(list)
    for entry in sorted(facts.entries, key=lambda entry: entry.version or 0):
        entries[entry.row_id].append(entry)
    for row_id in entries.keys() - facts.products.keys():
        yield f"product {row_id} has a history and is gone"
    for row_id, product in facts.products.items():
        versions = [entry.version for entry in entries[row_id]]
        if versions != list(range(1, product.version + 1)):
            yield f"product {row_id} is at version {product.version}, and its history has {versions}"
            continue
        state: dict[str, Any] = {}
        for entry in entries[row_id]:
            for name, (old, new) in entry.changes.items():
                if not _is_same(name, state.get(name), old):
                    was = f"{name} was {state.get(name)}, not {old}"
                    yield f"product {row_id}, version {entry.version}: {was}"
                state[name] = new
        for name, now in audit.snapshot(product).items():
            if not _is_same(name, state.get(name), now):
                yield f"product {row_id}: {name} is {now}, and the history ends with {state.get(name)}"


def _events(facts: Facts, ledger: Ledger) -> Violations:
    """Each change is told by one event, and no event tells of anything else."""
    changes = Counter((TOLD_BY[entry.action], str(entry.row_id)) for entry in facts.entries)
    told = Counter(
        (event.name, row_id)
        for event in facts.events
        if event.name in TOLD_BY.values()
        for row_id in event.payload["product_ids"]
    )
    for name, row_id in changes.keys() | told.keys():
        if changes[name, row_id] != told[name, row_id]:
            pair = (changes[name, row_id], told[name, row_id])
            yield f"product {row_id} has {pair[0]} changes and {pair[1]} events {name}"


def _deliveries(facts: Facts, ledger: Ledger) -> Violations:
    """Each event has the deliveries its handlers ask for, each of them done."""
    kinds = {kind.__name__: kind for kind in HANDLERS}
    for event in facts.events:
        asked = []
        if event.name in kinds:
            kind = kinds[event.name]
            happened = kind(**event.payload)
            asked = [call for handler in HANDLERS[kind] if (call := handler(happened))]
        wanted = Counter(_as_text(call) for call in asked)
        there = Counter(_as_text(each) for each in facts.deliveries.get(event.id, ()))
        if wanted != there:
            yield f"event {event.id} ({event.name}) asks for {[*wanted]} and has {[*there]}"
    for each in _all_deliveries(facts):
        if each.done_at is None or each.dead_at is not None:
            yield f"delivery {each.id} ({each.task}) is not done after {each.tries} tries: {each.last_error}"


def _operations(facts: Facts, ledger: Ledger) -> Violations:
    """Confirmed ones have ended, their numbers add up, and each row that is done was changed once."""
    tried = _operations_tried(facts, ledger)
    for one in ledger.of("confirm"):
        operation = facts.operations.get(one.row_id) if one.row_id else None
        if operation is None or (one.told is Told.ACKNOWLEDGED and operation.state is State.DRAFT):
            yield f"{_called(one)} was {one.told} and never began"
    for operation in facts.operations.values():
        called, items = f"operation #{operation.number}", facts.items.get(operation.id, [])
        entries = facts.entries_of(operation.id)
        if operation.state is State.DRAFT:
            if items or entries:
                yield f"{called} is a draft and did something"
            continue
        if operation.id not in tried:
            yield f"{called} was confirmed by nobody"
        if operation.state in {*ACTIVE, State.BROKEN} or operation.left:
            yield f"{called} is {operation.state} with {operation.left} rows left: {operation.error}"
        number = Counter(item.outcome for item in items)
        lost = operation.reasons.get("skipped", {}).get("not found any more", 0)
        counted = (operation.done, operation.skipped - lost, operation.failed)
        if counted != (number[Outcome.DONE], number[Outcome.SKIPPED], number[Outcome.FAILED]):
            yield f"{called} tells of {counted} rows done, skipped and failed, and its items of {number}"
        done = Counter(item.row_id for item in items if item.outcome is Outcome.DONE)
        changed = Counter(entry.row_id for entry in entries)
        if done != changed:
            yield f"{called} did {len(done)} rows and changed {changed.total()} times {len(changed)} rows"
        yield from _effects(facts, called, operation, entries)


def _effects(facts: Facts, called: str, operation: Any, entries: Sequence[AuditEntry]) -> Violations:
    """A price is set to what was asked for; what is taken back is as it was."""
    if operation.undoes is None:
        price = operation.parameters.get("price")
        if operation.action == "set_price" and {entry.changes["price"][1] for entry in entries} - {price}:
            yield f"{called} set prices other than {price}"
        return
    before = {entry.row_id: entry for entry in facts.entries_of(operation.undoes)}
    for entry in entries:
        undone = before.get(entry.row_id)
        if undone is None:
            yield f"{called} took back what was not done to product {entry.row_id}"
        elif undone.action == "updated" and any(
            new != undone.changes[name][0] for name, (_, new) in entry.changes.items()
        ):
            yield f"{called} brought back {entry.changes} on product {entry.row_id} of {undone.changes}"


def _imports(facts: Facts, ledger: Ledger) -> Violations:
    """What each row of a confirmed file says is there once."""
    made = Counter(
        (str(entry.changes["name"][1]), str(entry.changes["price"][1]))
        for entry in facts.entries
        if entry.source == Source.IMPORT.value and entry.action == "created"
    )
    for one in ledger.of("import"):
        import_ = facts.imports.get(one.row_id) if one.row_id else None
        is_confirmed = import_ is not None and import_.state is ImportState.CONFIRMED
        if is_confirmed != (one.told is Told.ACKNOWLEDGED) and one.told is not Told.UNKNOWN:
            yield f"{_called(one)} was {one.told} and is {import_ and import_.state}"
        for row in one.rows:
            number = made[row["name"], row["price"]]
            if number != int(is_confirmed):
                yield f"{_called(one)}: the row {row} is there {number} times"
    for import_ in facts.imports.values():
        verdicts = Counter(row.verdict for row in facts.import_rows.get(import_.id, ()))
        told = (import_.to_create, import_.to_update, import_.unchanged, import_.refused)
        if told != tuple(verdicts[verdict] for verdict in Verdict) or sum(told) != import_.rows:
            yield f"import #{import_.number} tells of {told} of {import_.rows} rows, its rows of {verdicts}"
        if import_.state is ImportState.CHECKING:
            yield f"import #{import_.number} is still being checked"


def _pictures(facts: Facts, ledger: Ledger) -> Violations:
    """Each that was taken is ready, with all its files as they were made; products name only their own."""
    for one in ledger.of("upload"):
        if one.told is not Told.ACKNOWLEDGED or one.row_id is None:
            continue
        image = facts.images.get(one.row_id)
        if image is None or image.state is not ImageState.READY or not image.files:
            yield f"picture {one.row_id} was taken and is {image and image.state}: {image and image.reason}"
            continue
        if image.original not in facts.files:
            yield f"picture {image.id} has lost its original"
        for name in (str(file["name"]) for file in image.files):
            if name not in facts.files:
                yield f"picture {image.id} has lost {name}"
            elif facts.files[name] != name.rpartition("/")[2].partition(".")[0]:
                yield f"the content of {name} is not what was made"
    for product in facts.products.values():
        for shown in product.images:
            image = facts.images.get(UUID(shown["id"]))
            if image is None or image.product_id != product.id or image.removed_at is not None:
                yield f"product {product.id} shows picture {shown['id']}, which is not its own"


def _files(facts: Facts, ledger: Ledger) -> Violations:
    """Every file is somebody's, so that it is swept one day."""
    originals = {image.original for image in facts.images.values()}
    originals |= {import_.file for import_ in facts.imports.values()}
    named = {str(file["name"]) for image in facts.images.values() for file in image.files}
    for name in facts.files:
        whole = name.partition("#")[0]  # what was cut short is swept with what it was to be
        if whole in originals | named:
            continue
        folder, _, rest = whole.removeprefix("images/").partition("/")
        image = next((image for image in facts.images.values() if rest and str(image.id) == folder), None)
        if image is None or image.state is ImageState.READY:
            yield f"nobody knows the file {name}"


def _index(facts: Facts, ledger: Ledger) -> Violations:
    """The search index is as the products are."""
    yield from facts.index_differences


def _owners(facts: Facts, ledger: Ledger) -> Violations:
    """Each product is somebody's who may own it, and only they or a superuser have changed it."""
    may_own = {user.id for user in facts.users.values() if user.is_active and user.role is not Role.SUPPORT}
    for product in facts.products.values():
        if product.owner_id not in may_own:
            yield f"product {product.id} belongs to {product.owner_id}, who cannot own it"
    for entry in facts.entries:
        actor = facts.users.get(entry.actor_id) if entry.actor_id else None
        changed = facts.products.get(entry.row_id) if entry.row_id else None
        if actor is None or changed is None or actor.role is Role.SUPERUSER:
            continue
        if actor.id != changed.owner_id:
            yield f"{actor.email} changed product {changed.id}, which is not theirs"


def _faults(facts: Facts, ledger: Ledger) -> Violations:
    """Nobody meets an error of ours, or waits in vain."""
    yield from ledger.faults


LAWS = (
    Law("acknowledged saves are there, once", _saves, lambda _, books: _number(books, "create", "edit")),
    Law("nothing is there that nobody tried", _ghosts, lambda facts, _: len(facts.entries)),
    Law("what was denied is not there", _denials, lambda _, books: len(_denied(books))),
    Law("one entry per version, unbroken", _versions, lambda facts, _: len(facts.products)),
    Law("one event per change", _events, lambda facts, _: len(facts.events)),
    Law("every delivery asked for is done", _deliveries, lambda facts, _: len([*_all_deliveries(facts)])),
    Law("operations ended, and add up", _operations, lambda facts, _: len(facts.operations)),
    Law(
        "imported rows are there, once", _imports, lambda _, books: sum(len(one.rows) for one in books.tries)
    ),
    Law("pictures are ready", _pictures, lambda _, books: _number(books, "upload")),
    Law("every file is known", _files, lambda facts, _: len(facts.files)),
    Law("the index equals the database", _index, lambda facts, _: len(facts.products)),
    Law("products belong to who changed them", _owners, lambda facts, _: len(facts.products)),
    Law("no errors, nobody stuck", _faults, lambda _, books: books.requests.total()),
)


def _by_hand(facts: Facts) -> list[AuditEntry]:
    return [entry for entry in facts.entries if entry.operation_id is None and entry.source in BY_HAND]


def _bounds(one: Try) -> tuple[int, int]:
    """How often it may be there."""
    return int(one.told is Told.ACKNOWLEDGED), int(one.told is not Told.REFUSED)


def _called(one: Try) -> str:
    shown = f" of {one.row_id}" if one.row_id else ""
    return f"{one.what}{shown} by {one.person} {one.values or ''}".rstrip()


def _number(ledger: Ledger, *what: str) -> int:
    return len([*ledger.of(*what)])


def _operations_tried(facts: Facts, ledger: Ledger) -> set[UUID]:
    """Those somebody tried to begin, and was not refused."""
    imports = {one.row_id for one in ledger.of("import") if one.told is not Told.REFUSED}
    begun = {one.row_id for one in ledger.of("confirm") if one.told is not Told.REFUSED and one.row_id}
    return begun | {
        import_.operation_id
        for import_ in facts.imports.values()
        if import_.id in imports and import_.operation_id
    }


def _all_deliveries(facts: Facts) -> Iterator[Any]:
    return (each for found in facts.deliveries.values() for each in found)


def _as_text(call: TaskCall | Delivery) -> str:
    return f"{call.task} {json.dumps(call.arguments, sort_keys=True)}"


def _is_same(name: str, one: Any, other: Any) -> bool:
    """Texts of times may differ in their zeros."""
    if name == "deleted_at" and one and other:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    return bool(one == other)
