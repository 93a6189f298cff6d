"""Products in numbers, counted over all that are not in the bin, each from one index."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, Date, Numeric, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.domains.products.models import Product
from admin_app.domains.users.models import User
from admin_app.summaries import Summarize

DAYS = 90
OWNERS = 8
PRICE_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Where one range of prices ends and the next begins."""

IS_LIVE = Product.deleted_at.is_(None)


async def by_state(session: AsyncSession) -> dict[str, Any]:
    statement = select(Product.is_active, func.count()).where(IS_LIVE).group_by(Product.is_active)
    found = dict((await session.execute(statement)).all())
    return {"active": found.get(True, 0), "inactive": found.get(False, 0)}


async def by_day(session: AsyncSession) -> dict[str, Any]:
    """How many were created on each of the last DAYS days, in UTC, the oldest first."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(days=DAYS - 1)
    day = cast(func.timezone("UTC", Product.created_at), Date)
    statement = (
        select(day.label("day"), func.count()).where(IS_LIVE, Product.created_at >= first).group_by("day")
    )
    found = dict((await session.execute(statement)).all())
    days = (first.date() + timedelta(days=offset) for offset in range(DAYS))
    return {"first": first.date().isoformat(), "numbers": [found.get(day, 0) for day in days]}


async def by_price(session: AsyncSession) -> dict[str, Any]:
    """One number more than bounds: below the first one, from each to the next, and from the last one on."""
    bounds = literal([Decimal(bound) for bound in PRICE_BOUNDS], ARRAY(Numeric))
    place = func.width_bucket(Product.price, bounds)
    statement = select(place.label("place"), func.count()).where(IS_LIVE).group_by("place")
    found: dict[int, int] = dict((await session.execute(statement)).all())
    numbers = [found.get(at, 0) for at in range(len(PRICE_BOUNDS) + 1)]
    return {"bounds": list(PRICE_BOUNDS), "numbers": numbers}


async def by_owner(session: AsyncSession) -> dict[str, Any]:
    """Who owns most of them."""
    number = func.count().label("number")
    most = (
        select(Product.owner_id, number)
        .where(IS_LIVE)
        .group_by(Product.owner_id)
        .order_by(number.desc(), Product.owner_id)
        .limit(OWNERS)
        .subquery()
    )
    statement = (
        select(User.email, User.name, most.c.number)
        .join(most, most.c.owner_id == User.id)
        .order_by(most.c.number.desc(), User.email)
    )
    rows = await session.execute(statement)
    return {"owners": [{"email": row.email, "name": row.name, "number": row.number} for row in rows]}


SUMMARIES: Mapping[str, Summarize] = {
    "products_by_state": by_state,
    "products_by_day": by_day,
    "products_by_price": by_price,
    "products_by_owner": by_owner,
}
