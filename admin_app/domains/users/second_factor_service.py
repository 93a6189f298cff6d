"""The second factor of an account: signing in with it, setting it up, taking it off, recovery codes."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from admin_app import audit
from admin_app.actor import Actor
from admin_app.domains.users import access
from admin_app.domains.users.events import Credential, CredentialChanged
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import UserRepository
from admin_app.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound, WrongCredential
from admin_app.outbox import OutboxBus
from admin_app.security import second_factor
from admin_app.security.second_factor import OFFER_SECONDS, Means, Status, second_factors_of
from admin_app.security.sessions import end_sessions_of

CODE = "code"
WRONG_CODE = (
    "This code is not right, or was used before. "
    "Type the one your app shows now, or a recovery code you have not used."
)
WRONG_FIRST_CODE = "This code is not right. Type the one your app shows now."
SET_UP_ALREADY = (
    "Your second factor is set up. Its recovery codes are shown only once: "
    "if you did not keep them, make new ones."
)
NOT_SET_UP = "This account has no second factor."
REQUIRED = "Your role requires a second factor, so it cannot be removed."
OFFER_ENDED = "This took too long. Scan the new code, then type what your app shows."


@dataclass(frozen=True)
class HalfwayIn:
    """Somebody who knew the password, and must show the second factor. It opens nothing by itself."""

    user_id: UUID
    email: str
    fingerprint: str
    """Of the password's hash: another password ends this."""

    @classmethod
    def of(cls, user: User) -> "HalfwayIn":
        return cls(user.id, user.email, hashlib.sha256(user.password_hash.encode()).hexdigest())


class CodeRequired(AppError):
    """The password is right, and does not do alone: `SecondFactorService.authenticate` comes next."""

    def __init__(self, halfway: HalfwayIn) -> None:
        super().__init__("Now type the code of your second factor.")
        self.halfway = halfway


@dataclass(frozen=True)
class Offer:
    """A secret nobody has yet. `sealed` is the same, encrypted for its owner, to come back with a code."""

    secret: str
    uri: str
    sealed: str


class SecondFactorService:
    """Runs inside the caller's transaction, as the actor, on the actor's own account.

    What changes it raises ProofRequired.
    """

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session = session
        self._actor = actor
        self._users = UserRepository(session, actor)
        self._second_factors = second_factors_of(session)

    @property
    def is_required(self) -> bool:
        return self._second_factors.are_required_of(self._actor.role)

    def is_required_of(self, user: User) -> bool:
        return self._second_factors.are_required_of(user.role)

    async def authenticate(self, halfway: HalfwayIn, code: str) -> User | None:
        """The person, noted as by `UserService.authenticate`. Raises WrongCredential, whose field is "code".

        None when this sign-in has come to its end: the account was closed, or has another password or no
        second factor any more.
        """
        user = await self._users.get(halfway.user_id)
        if user is None or not hmac.compare_digest(HalfwayIn.of(user).fingerprint, halfway.fingerprint):
            return None
        if not await second_factor.has_second_factor(self._session, user.id):
            return None
        means = await self._use(user.id, code)
        note = "with a recovery code" if means is Means.RECOVERY_CODE else None
        return user if await complete_sign_in(self._session, self._actor, self._users, user, note) else None

    async def verify(self, code: str) -> None:
        """Uses it up. Raises WrongCredential, whose field is "code"; without a second factor any will do."""
        assert self._actor.id is not None
        if await second_factor.has_second_factor(self._session, self._actor.id):
            await self._use(self._actor.id, code)

    async def status(self) -> Status:
        assert self._actor.id is not None
        return await second_factor.status_of(self._session, self._actor.id)

    async def status_of(self, user_id: UUID) -> Status:
        """Somebody else's, for superusers (Forbidden)."""
        if not access.may_manage(self._actor):
            raise Forbidden
        return await second_factor.status_of(self._session, user_id)

    async def offer(self, site: str) -> Offer:
        """A new secret, stored nowhere; `site` is what the app calls it by."""
        self._actor.require_proof()
        if (await self.status()).since is not None:
            raise Conflict(SET_UP_ALREADY)
        return self._offer(second_factor.new_secret(), site)

    def offered(self, sealed: str, site: str) -> Offer:
        """The same offer again. Raises InvalidInput for one that is too old, or was made to somebody else."""
        text = self._second_factors.decrypt(sealed.encode(), seconds=OFFER_SECONDS) or ""
        owner, _, secret = text.partition(" ")
        if owner != str(self._actor.id):
            raise InvalidInput(OFFER_ENDED, {CODE: OFFER_ENDED})
        return Offer(secret, self._uri(secret, site), sealed)

    async def set_up(self, offer: Offer, code: str) -> Sequence[str]:
        """The recovery codes. Raises WrongCredential, whose field is "code", and Conflict if there is one."""
        self._actor.require_proof()
        user = await self._account(self._actor.id)
        if await second_factor.has_second_factor(self._session, user.id):
            raise Conflict(SET_UP_ALREADY)
        step = second_factor.matching_step(offer.secret, second_factor.plain(code))
        if step is None:
            raise WrongCredential(WRONG_FIRST_CODE, {CODE: WRONG_FIRST_CODE})
        if not await second_factor.add(self._session, user.id, offer.secret, step):
            raise Conflict(SET_UP_ALREADY)  # by somebody else at the same moment
        self._note("second factor set up", user)
        return await second_factor.replace_recovery_codes(self._session, user.id)

    async def require_renewable(self) -> User:
        """The actor's account. Raises Conflict without a second factor."""
        self._actor.require_proof()
        return await self._with_second_factor(self._actor.id)

    async def renew_recovery_codes(self) -> Sequence[str]:
        """Those before open nothing any more."""
        user = await self.require_renewable()
        self._note("recovery codes made", user)
        return await second_factor.replace_recovery_codes(self._session, user.id)

    async def require_removable(self) -> User:
        """The actor's account. Raises Forbidden where the role requires a second factor."""
        if self.is_required:
            raise Forbidden(REQUIRED)
        self._actor.require_proof()
        return await self._with_second_factor(self._actor.id)

    async def remove(self) -> None:
        """Raises as `require_removable`."""
        await self._remove(await self.require_removable())

    async def require_removable_of(self, user_id: UUID) -> User:
        """For superusers, about anybody: who has lost the app and the recovery codes cannot do it."""
        if not access.may_manage(self._actor):
            raise Forbidden
        if user_id == self._actor.id:
            return await self.require_removable()
        self._actor.require_proof()
        return await self._with_second_factor(user_id)

    async def remove_of(self, user_id: UUID) -> User:
        """Signs the person out everywhere. Raises as `require_removable_of`."""
        user = await self.require_removable_of(user_id)
        await self._remove(user)
        await end_sessions_of(self._session, [user.id])
        return user

    async def remove_by_email(self, email: str) -> User:
        """As `remove_of`. Raises NotFound."""
        user = await self._users.find_by_email(email)
        if user is None:
            raise NotFound("There is no account with this e-mail address.")
        return await self.remove_of(user.id)

    async def _remove(self, user: User) -> None:
        if not await second_factor.remove(self._session, user.id):
            raise Conflict(NOT_SET_UP)
        self._note("second factor removed", user)

    def _note(self, action: str, user: User) -> None:
        audit.note(self._session, self._actor, action, user)
        OutboxBus(self._session, self._actor).publish(CredentialChanged(user.email, Credential.SECOND_FACTOR))

    async def _use(self, user_id: UUID, code: str) -> Means:
        means = await second_factor.use(self._session, user_id, code)
        if means is None:
            raise _wrong()
        return means

    async def _account(self, user_id: UUID | None) -> User:
        user = await self._users.get(user_id) if user_id else None
        if user is None:
            raise NotFound
        return user

    async def _with_second_factor(self, user_id: UUID | None) -> User:
        user = await self._account(user_id)
        if not await second_factor.has_second_factor(self._session, user.id):
            raise Conflict(NOT_SET_UP)
        return user

    def _offer(self, secret: str, site: str) -> Offer:
        sealed = self._second_factors.encrypt(f"{self._actor.id} {secret}").decode()
        return Offer(secret, self._uri(secret, site), sealed)

    def _uri(self, secret: str, site: str) -> str:
        return second_factor.uri_of(secret, account=self._actor.label, site=site)


async def complete_sign_in(
    session: AsyncSession, visitor: Actor, users: UserRepository, user: User, note: str | None = None
) -> bool:
    """Note that somebody has shown all they need. False if the account was closed or got another password."""
    if not await users.note_sign_in(user):
        return False
    actor = Actor(user.id, user.role, user.email, visitor.source, visitor.address, visitor.request_id)
    audit.note(session, actor, "signed in", user, note)
    return True


def _wrong() -> WrongCredential:
    return WrongCredential(WRONG_CODE, {CODE: WRONG_CODE})
