"""What of operations is not kept."""

from datetime import timedelta

from sqlalchemy import and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.bulk.models import ACTIVE, BulkItem, BulkOperation, State

DRAFT_DAYS = 1
ITEM_DAYS = 30
PRUNED_AT_ONCE = 10_000


async def prune(session: AsyncSession) -> int:
    """Drafts nobody confirmed, and the rows of operations long past; the operations themselves stay."""
    old = BulkOperation.created_at < func.now() - timedelta(days=DRAFT_DAYS)
    drafts = delete(BulkOperation).where(BulkOperation.state == State.DRAFT, old).returning(BulkOperation.id)
    pruned = len((await session.scalars(drafts)).all())
    ended = and_(
        BulkOperation.finished_at < func.now() - timedelta(days=ITEM_DAYS),
        BulkOperation.state.not_in(ACTIVE),  # as it is again while it is tried again
    )
    items = select(BulkItem.row_id).where(BulkItem.operation_id == BulkOperation.id)
    past = await session.scalar(select(BulkOperation.id).where(ended, items.exists()).limit(1))
    if past is not None:
        some = select(BulkItem.row_id).where(BulkItem.operation_id == past).limit(PRUNED_AT_ONCE)
        gone = delete(BulkItem).where(BulkItem.operation_id == past, BulkItem.row_id.in_(some))
        found = await session.execute(gone.returning(BulkItem.row_id))
        pruned += len(found.all())
    return pruned
