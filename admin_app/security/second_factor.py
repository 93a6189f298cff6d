"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes."""

import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pyotp
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    LargeBinary,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_unless_there
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from admin_app.database import Base
from admin_app.session_info import Carrier

SECOND_FACTORS = "second_factors"
"""Under this key of its `info` every session carries how this installation keeps second factors."""

IS_CODE = re.compile("[0-9]{6}")
STEP_SECONDS = 30
WINDOW = 1
"""So many steps before and after now are accepted: clocks differ, and typing takes its time."""

RECOVERY_CODES = 10
RECOVERY_BYTES = 15
"""120 random bits. Nobody can try them all, so a plain SHA-256 keeps them as well as a slow hash."""

GROUP = 4
OFFER_SECONDS = 3600
"""How long a new secret waits for its first code."""

logger = logging.getLogger(__name__)


class SecondFactor(Base):
    """There is one as soon as a first code has proved that the app has the secret."""

    __tablename__ = "second_factor"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted with a key made from SECRET_KEY."""

    last_step: Mapped[int] = mapped_column(BigInteger)
    """The time step of the last code that was accepted: it and those before are refused."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RecoveryCode(Base):
    __tablename__ = "recovery_code"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime | None]


class Means(StrEnum):
    """What somebody showed besides the password."""

    CODE = "code"
    RECOVERY_CODE = "recovery code"


class SecondFactors:
    """How this installation keeps secrets, and whose roles must have one."""

    def __init__(self, secret_key: str, required_roles: Collection[str]) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"admin_app second factor").derive(secret_key.encode())
        self._cipher = Fernet(base64.urlsafe_b64encode(derived))
        self._required_roles = frozenset(required_roles)

    def are_required_of(self, role: str) -> bool:
        return role in self._required_roles

    def encrypt(self, text: str) -> bytes:
        return self._cipher.encrypt(text.encode())

    def decrypt(self, sealed: bytes, *, seconds: int | None = None) -> str | None:
        """None for what another key encrypted, or more than so many seconds ago."""
        try:
            return self._cipher.decrypt(sealed, ttl=seconds).decode()
        except InvalidToken:
            return None


def second_factors_of(session: Carrier) -> SecondFactors:
    found: SecondFactors = session.info[SECOND_FACTORS]
    return found


@dataclass(frozen=True)
class Status:
    """`since` is None for an account without a second factor."""

    since: datetime | None
    recovery_codes_left: int


def is_set_up(user_id: Any) -> ColumnElement[bool]:
    """As SQL, for an account's id or the column that has it."""
    return exists().where(SecondFactor.user_id == user_id)


def must_add(session: Carrier, role: str, *, has_one: bool) -> bool:
    """Whether somebody in this role must set one up before anything else."""
    return not has_one and second_factors_of(session).are_required_of(role)


async def has_second_factor(session: AsyncSession, user_id: UUID) -> bool:
    return bool(await session.scalar(select(is_set_up(user_id))))


async def status_of(session: AsyncSession, user_id: UUID) -> Status:
    since = select(SecondFactor.created_at).where(SecondFactor.user_id == user_id).scalar_subquery()
    unused = (RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    left = select(func.count()).where(*unused).scalar_subquery()
    row = (await session.execute(select(since, left))).one()
    return Status(row[0], row[1])


def new_secret() -> str:
    """160 random bits in base32, as an authenticator app takes them."""
    return pyotp.random_base32()


def uri_of(secret: str, *, account: str, site: str) -> str:
    """What the QR code says: otpauth://totp/…"""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=site)


def matching_step(secret: str, code: str) -> int | None:
    """The newest time step around now with this code; None if none has it."""
    if not IS_CODE.fullmatch(code):
        return None
    now = int(time.time()) // STEP_SECONDS
    totp = pyotp.TOTP(secret)
    steps = range(now - WINDOW, now + WINDOW + 1)
    found = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
    return max(found, default=None)


async def add(session: AsyncSession, user_id: UUID, secret: str, step: int) -> bool:
    """False if there is one already."""
    sealed = second_factors_of(session).encrypt(secret)
    statement = insert_unless_there(SecondFactor).values(user_id=user_id, secret=sealed, last_step=step)
    added = statement.on_conflict_do_nothing().returning(SecondFactor.user_id)
    return await session.scalar(added) is not None


async def remove(session: AsyncSession, user_id: UUID) -> bool:
    """With its recovery codes. False if there was none."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    removed = delete(SecondFactor).where(SecondFactor.user_id == user_id).returning(SecondFactor.user_id)
    return await session.scalar(removed) is not None


async def replace_recovery_codes(session: AsyncSession, user_id: UUID) -> list[str]:
    """New ones, in place of those before. They are kept nowhere but as hashes."""
    factor = select(SecondFactor.user_id).where(SecondFactor.user_id == user_id)
    await session.execute(factor.with_for_update())  # of two at once, the last one's codes are left
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = [base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode() for _ in range(RECOVERY_CODES)]
    rows = [{"user_id": user_id, "code_hash": _hash(code)} for code in codes]
    await session.execute(insert(RecoveryCode), rows)
    return ["-".join(re.findall(f".{{{GROUP}}}", code)) for code in codes]


def plain(code: str) -> str:
    """As typed, without the spaces and hyphens between groups."""
    return re.sub(r"[\s-]", "", code)


async def use(session: AsyncSession, user_id: UUID, code: str) -> Means | None:
    """Whether this code, as it was typed, opens the account now. It never does again.

    One conditional UPDATE decides: of two processes with the same code at once, one is let in.
    """
    typed = plain(code)
    if IS_CODE.fullmatch(typed):
        step = await _step_of(session, user_id, typed)
        return Means.CODE if step is not None and await _accept(session, user_id, step) else None
    if not re.fullmatch(r"[A-Z2-7]{24}", typed.upper()):
        return None
    used = update(RecoveryCode).where(
        RecoveryCode.user_id == user_id,
        RecoveryCode.code_hash == _hash(typed.upper()),
        RecoveryCode.used_at.is_(None),
    )
    found = await session.scalar(used.values(used_at=func.now()).returning(RecoveryCode.user_id))
    return None if found is None else Means.RECOVERY_CODE


async def _accept(session: AsyncSession, user_id: UUID, step: int) -> bool:
    newer = update(SecondFactor).where(SecondFactor.user_id == user_id, SecondFactor.last_step < step)
    return await session.scalar(newer.values(last_step=step).returning(SecondFactor.user_id)) is not None


async def _step_of(session: AsyncSession, user_id: UUID, code: str) -> int | None:
    sealed = await session.scalar(select(SecondFactor.secret).where(SecondFactor.user_id == user_id))
    if sealed is None:
        return None
    secret = second_factors_of(session).decrypt(sealed)
    if secret is None:
        logger.warning("the second factor of account %s was set up with another SECRET_KEY", user_id)
        return None
    return matching_step(secret, code)


def _hash(recovery_code: str) -> bytes:
    return hashlib.sha256(recovery_code.encode()).digest()
