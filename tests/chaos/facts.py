"""What is there in the end: everything the laws look at, read straight from the tables and the folder."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.audit import AuditEntry
from admin_app.bulk.models import BulkItem, BulkOperation
from admin_app.database import Base
from admin_app.domains.products.indexing import ProductIndex
from admin_app.domains.products.models import Product, ProductImage
from admin_app.domains.users.models import User
from admin_app.imports.models import Import, ImportRow
from admin_app.outbox import Delivery, RecordedEvent
from admin_app.storage import MARK

COMPARED_AT_ONCE = 1000


@dataclass(frozen=True)
class Facts:
    """Entries are those of changes: not what was refused, nor what happened at the door."""

    products: Mapping[UUID, Product]
    entries: Sequence[AuditEntry]
    events: Sequence[RecordedEvent]
    deliveries: Mapping[UUID, Sequence[Delivery]]
    """By event."""
    operations: Mapping[UUID, BulkOperation]
    items: Mapping[UUID, Sequence[BulkItem]]
    """By operation."""
    imports: Mapping[UUID, Import]
    import_rows: Mapping[UUID, Sequence[ImportRow]]
    """By import."""
    images: Mapping[UUID, ProductImage]
    users: Mapping[UUID, User]
    files: Mapping[str, str]
    """Name in the storage -> the digest a file with this content is named after."""
    index_differences: Sequence[str]

    def entries_of(self, operation_id: UUID) -> list[AuditEntry]:
        return [entry for entry in self.entries if entry.operation_id == operation_id]


async def gather(session: AsyncSession, media: Path) -> Facts:
    async def all_of(model: type[Base], *conditions: Any) -> list[Any]:
        keys = inspect(model).primary_key
        return list(await session.scalars(select(model).where(*conditions).order_by(*keys)))

    differences = []
    async for _, found in ProductIndex(session).compare(COMPARED_AT_ONCE):
        for kind in ("missing", "outdated", "extra"):
            differences += [f"product {row_id} is {kind} in the index" for row_id in getattr(found, kind)]
    return Facts(
        products={row.id: row for row in await all_of(Product)},
        entries=await all_of(
            AuditEntry, AuditEntry.kind == audit.kind_of(Product), AuditEntry.version.is_not(None)
        ),
        events=await all_of(RecordedEvent),
        deliveries=_by("event_id", await all_of(Delivery)),
        operations={row.id: row for row in await all_of(BulkOperation)},
        items=_by("operation_id", await all_of(BulkItem)),
        imports={row.id: row for row in await all_of(Import)},
        import_rows=_by("import_id", await all_of(ImportRow)),
        images={row.id: row for row in await all_of(ProductImage)},
        users={row.id: row for row in await all_of(User)},
        files=_files(media),
        index_differences=differences,
    )


def _by(name: str, rows: Sequence[Any]) -> Mapping[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(row)
    return found


def _files(media: Path) -> dict[str, str]:
    paths = [path for path in media.rglob("*") if path.is_file() and path.name != MARK]
    return {
        str(path.relative_to(media)): blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in paths
    }
