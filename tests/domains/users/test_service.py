"""The user service: who manages accounts, what a change leaves behind, and what can never be lost."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import false, func, select, true, update

from admin_app.actor import Actor, Role
from admin_app.audit import HIDDEN, AuditEntry
from admin_app.bulk.changes import NOTHING_TO_CHANGE, Change
from admin_app.database import Database
from admin_app.domains.users import service as users_service
from admin_app.domains.users.models import User
from admin_app.domains.users.repository import LISTING
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound
from admin_app.listing import Count
from admin_app.outbox import RecordedEvent
from admin_app.security import passwords
from admin_app.security.passwords import UNUSABLE, hashing_slot
from admin_app.security.sessions import AuthSession, open_session
from tests.conftest import PASSWORD, Cast, MakeProduct, count
from tests.crash.waiting import waits_or_ends
from tests.domains.users.conftest import Users

ACTIVATE, DEACTIVATE = Change({"is_active": true()}), Change({"is_active": false()})

PEOPLE = ("alice", "bob", "sam", "root")
NEW_PASSWORD = "another " + PASSWORD
NEW = UserCreate(email="carol@demo.example", name="Carol", role=Role.ADMINISTRATOR)

Action = Callable[[UserService, UUID], Awaitable[object]]

CHANGES: dict[str, Action] = {
    "create": lambda service, _: service.create(NEW),
    "update": lambda service, row: service.update(row, UserUpdate(name="Changed")),
    "update nothing": lambda service, row: service.update(row, UserUpdate()),
    "set a password": lambda service, row: service.update(row, UserUpdate(password=PASSWORD)),
    "change the role": lambda service, row: service.update(row, UserUpdate(role=Role.SUPERUSER)),
    "delete": lambda service, row: service.delete(row),
    "deactivate": lambda service, row: service.change_many({row: 1}, DEACTIVATE),
    "open the edit form": lambda service, row: service.get_changeable(row),
}


async def load(database: Database, user_id: UUID) -> User:
    async with database.reading() as session:
        return await session.get_one(User, user_id)


async def written(database: Database) -> tuple[int, ...]:
    async with database.reading() as session:
        return tuple([await count(session, table) for table in ("audit_entry", "event", "delivery")])


async def entries(database: Database, action: str, row_id: UUID) -> list[AuditEntry]:
    async with database.reading() as session:
        found = select(AuditEntry).where(AuditEntry.row_id == row_id, AuditEntry.action == action)
        return list(await session.scalars(found))


async def active_superusers(database: Database) -> int:
    async with database.reading() as session:
        found = select(func.count()).select_from(User).where(User.role == Role.SUPERUSER, User.is_active)
        return await session.scalar(found)


async def sign_in(database: Database, *actors: Actor) -> None:
    async with database.transaction() as session:
        for actor in actors:
            await open_session(session, actor.id, address=None, user_agent=None)


async def signed_in(database: Database, actor: Actor) -> int:
    async with database.reading() as session:
        sessions = select(func.count()).select_from(AuthSession).where(AuthSession.user_id == actor.id)
        return await session.scalar(sessions)


class TestRefusals:
    @pytest.mark.parametrize("person", ["alice", "bob", "sam"])
    @pytest.mark.parametrize("action", CHANGES)
    async def test_only_superusers_manage_accounts_even_their_own(
        self, action: str, person: str, cast: Cast, users: Users, database: Database
    ) -> None:
        actor = getattr(cast, person)
        before = await written(database)
        for row_id in (cast.alice.id, actor.id, uuid4()):
            with pytest.raises(Forbidden):
                async with users(actor) as service:
                    await CHANGES[action](service, row_id)
        assert await written(database) == before

    @pytest.mark.parametrize("action", CHANGES)
    async def test_a_superuser_may(self, action: str, cast: Cast, users: Users) -> None:
        async with users(cast.root) as service:
            await CHANGES[action](service, cast.bob.id)

    @pytest.mark.parametrize("action", sorted(set(CHANGES) - {"create", "deactivate"}))
    async def test_an_account_that_does_not_exist_is_not_found(
        self, action: str, cast: Cast, users: Users
    ) -> None:
        with pytest.raises(NotFound):
            async with users(cast.root) as service:
                await CHANGES[action](service, uuid4())

    @pytest.mark.parametrize(
        ("person", "sees"),
        [("alice", {"alice"}), ("bob", {"bob"}), ("sam", set(PEOPLE)), ("root", set(PEOPLE))],
    )
    async def test_support_and_superusers_see_everybody_administrators_themselves(
        self, person: str, sees: set[str], cast: Cast, users: Users
    ) -> None:
        async with users(getattr(cast, person)) as service:
            page = await service.page(LISTING.parse([]))
            assert {user.id for user in page.rows} == {getattr(cast, name).id for name in sees}
            assert page.count == Count(len(sees), is_exact=True)
            for name in PEOPLE:
                other = getattr(cast, name).id
                if name in sees:
                    assert (await service.get_by_id(other)).id == other
                else:
                    with pytest.raises(NotFound):
                        await service.get_by_id(other)


class TestAccounts:
    async def test_a_new_account_without_a_password_opens_for_nobody(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            user = await service.create(NEW)
            assert user.password_hash == UNUSABLE
        async with users(Actor.system()) as service:
            for guess in ("", UNUSABLE, "a password nobody has"):
                assert await service.authenticate("carol@demo.example", guess) is None

    async def test_a_password_is_kept_as_an_argon2id_hash(self, cast: Cast, users: Users) -> None:
        async with users(cast.root) as service:
            user = await service.create(
                NEW.model_copy(update={"password": UserUpdate(password=PASSWORD).password})
            )
            assert user.password_hash.startswith("$argon2id$")
        async with users(Actor.system()) as service:
            assert (await service.authenticate("carol@demo.example", PASSWORD)).id == user.id

    async def test_neither_password_nor_hash_is_in_history_events_or_the_text_of_an_input(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        change = UserUpdate(password="hunter2 and sixty elks", name="Robert")
        async with users(cast.root) as service:
            user = await service.update(cast.bob.id, change)
        async with users(cast.root) as service:
            await service.delete(cast.bob.id)
        [entry] = await entries(database, "updated", cast.bob.id)
        assert entry.changes == {"password_hash": [HIDDEN, HIDDEN], "name": ["Bob", "Robert"]}
        async with database.reading() as session:
            recorded = [
                *(await session.scalars(select(AuditEntry.changes))),
                *(await session.scalars(select(RecordedEvent.payload))),
            ]
        for text in (json.dumps(recorded), repr(change), str(change), change.model_dump_json()):
            assert "hunter2" not in text
            assert "argon2" not in text
            assert user.password_hash not in text

    async def test_creation_is_in_the_history_and_published(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            user = await service.create(NEW)
        [entry] = await entries(database, "created", user.id)
        assert (entry.actor_id, entry.kind) == (cast.root.id, "user")
        assert entry.changes == {
            "email": [None, "carol@demo.example"],
            "name": [None, "Carol"],
            "role": [None, "administrator"],
            "is_active": [None, True],
            "must_change_password": [None, False],
            "password_hash": [HIDDEN, HIDDEN],
        }
        async with database.reading() as session:
            event = (await session.scalars(select(RecordedEvent).order_by(RecordedEvent.id.desc()))).first()
        assert (event.name, event.payload) == ("UserCreated", {"user_ids": [str(user.id)]})

    async def test_a_change_is_in_the_history_from_old_to_new_and_published(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        change = UserUpdate(role=Role.SUPPORT, email="robert@demo.example", name="Bob")
        async with users(cast.root) as service:
            await service.update(cast.bob.id, change)
        [entry] = await entries(database, "updated", cast.bob.id)
        assert entry.changes == {
            "role": ["administrator", "support"],
            "email": ["bob@demo.example", "robert@demo.example"],
        }
        async with database.reading() as session:
            event = (await session.scalars(select(RecordedEvent).order_by(RecordedEvent.id.desc()))).first()
        assert event.name == "UserUpdated"
        assert event.payload["user_ids"] == [str(cast.bob.id)]
        assert set(event.payload["fields"]) == {"role", "email"}

    async def test_after_a_rollback_nothing_is_left(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        class ChangedMyMind(Exception):
            pass

        await sign_in(database, cast.bob)
        before = await written(database)
        with pytest.raises(ChangedMyMind):
            async with users(cast.root) as service:
                await service.create(NEW)
                await service.update(cast.bob.id, UserUpdate(role=Role.SUPPORT))
                await service.delete(cast.alice.id)
                raise ChangedMyMind
        assert await written(database) == before
        assert (await load(database, cast.bob.id)).role is Role.ADMINISTRATOR
        assert await signed_in(database, cast.bob) == 1

    async def test_the_same_values_again_change_nothing_and_record_nothing(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        before, bob = await written(database), await load(database, cast.bob.id)
        same = UserUpdate(email=bob.email, name=bob.name, role=bob.role, is_active=True)
        for expected_version in (None, bob.version):
            async with users(cast.root) as service:
                await service.update(bob.id, same, expected_version=expected_version)
        assert await written(database) == before
        assert (await load(database, bob.id)).version == bob.version

    async def test_a_change_of_an_old_version_is_a_conflict(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            await service.update(cast.bob.id, UserUpdate(name="One"), expected_version=1)
        for change in (
            lambda service: service.update(cast.bob.id, UserUpdate(name="Two"), expected_version=1),
            lambda service: service.delete(cast.bob.id, expected_version=1),
        ):
            with pytest.raises(Conflict):
                async with users(cast.root) as service:
                    await change(service)
        assert (await load(database, cast.bob.id)).name == "One"

    async def test_an_account_read_before_it_is_locked_is_read_again(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        with pytest.raises(Conflict):
            async with users(cast.root) as service:
                bob = await service.get_by_id(cast.bob.id)
                async with users(cast.root) as other:
                    await other.update(cast.bob.id, UserUpdate(name="One"))
                await service.update(cast.bob.id, UserUpdate(name="Two"), expected_version=bob.version)

    async def test_somebody_who_owns_products_cannot_be_deleted(
        self, cast: Cast, make_product: MakeProduct, users: Users, database: Database
    ) -> None:
        await make_product(cast.alice)
        before = await written(database)
        with pytest.raises(Conflict, match="owns products"):
            async with users(cast.root) as service:
                await service.delete(cast.alice.id)
        assert await written(database) == before
        async with users(cast.root) as service:
            await service.delete(cast.bob.id)
        [entry] = await entries(database, "deleted", cast.bob.id)
        assert entry.changes["email"] == ["bob@demo.example", None]
        assert entry.changes["password_hash"] == [HIDDEN, HIDDEN]


class TestEmail:
    @pytest.mark.parametrize("email", ["bob@demo.example", "BOB@Demo.Example"])
    async def test_an_e_mail_is_taken_whatever_its_case(
        self, email: str, cast: Cast, users: Users, database: Database
    ) -> None:
        before = await written(database)
        for change in (
            lambda service: service.create(NEW.model_copy(update={"email": email})),
            lambda service: service.update(cast.alice.id, UserUpdate(email=email)),
        ):
            with pytest.raises(InvalidInput) as refused:
                async with users(cast.root) as service:
                    await change(service)
            assert set(refused.value.fields) == {"email"}
        assert await written(database) == before

    async def test_the_case_of_an_own_e_mail_may_change(self, cast: Cast, users: Users) -> None:
        async with users(cast.root) as service:
            user = await service.update(cast.bob.id, UserUpdate(email="Bob@demo.example"))
            assert user.email == "Bob@demo.example"
        async with users(Actor.system()) as service:
            assert (await service.authenticate("BOB@DEMO.EXAMPLE", PASSWORD)).id == cast.bob.id

    async def test_of_two_accounts_made_at_once_with_one_e_mail_one_is_refused(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async def create(email: str) -> None:
            async with users(cast.root) as service:
                await service.create(NEW.model_copy(update={"email": email}))

        async with users(cast.root) as service:
            await service.create(NEW)
            second = asyncio.create_task(create("Carol@demo.example"))
            await waits_or_ends(second, database)
        with pytest.raises(InvalidInput):
            await second

    async def test_ids_are_found_by_e_mail_whatever_its_case(self, cast: Cast, users: Users) -> None:
        async with users(cast.root) as service:
            assert await service.ids_by_email(["BOB@demo.example", "nobody@demo.example"]) == {
                "bob@demo.example": cast.bob.id
            }

    @pytest.mark.parametrize("email", ["Ὀδυσσεύς@demo.example", "ΟΔΟΣ@demo.example", "İpek@demo.example"])
    async def test_people_whose_letters_change_when_lowered_sign_in_and_are_found(
        self, email: str, cast: Cast, users: Users
    ) -> None:
        data = NEW.model_copy(update={"email": email, "password": UserUpdate(password=PASSWORD).password})
        async with users(cast.root) as service:
            user = await service.create(data)
        async with users(Actor.system()) as service:
            assert (await service.authenticate(email, PASSWORD)).id == user.id
            assert await service.ids_by_email([email]) == {email.lower(): user.id}


class TestLastSuperuser:
    @pytest.mark.parametrize(
        "lose",
        [
            lambda service, row: service.update(row, UserUpdate(role=Role.ADMINISTRATOR)),
            lambda service, row: service.update(row, UserUpdate(is_active=False)),
            lambda service, row: service.delete(row),
        ],
        ids=["demoted", "deactivated", "deleted"],
    )
    async def test_the_last_active_superuser_cannot_be(
        self, lose: Action, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            disabled = NEW.model_copy(update={"role": Role.SUPERUSER, "is_active": False})
            await service.create(disabled)
        before = await written(database)
        with pytest.raises(Conflict, match="last active superuser"):
            async with users(cast.root) as service:
                await lose(service, cast.root.id)
        assert await written(database) == before
        assert await active_superusers(database) == 1

    async def test_the_last_one_may_change_anything_else(self, cast: Cast, users: Users) -> None:
        async with users(cast.root) as service:
            await service.update(cast.root.id, UserUpdate(name="Ruth", password=PASSWORD))

    async def test_one_of_two_may_go(self, cast: Cast, users: Users, database: Database) -> None:
        async with users(cast.root) as service:
            await service.update(cast.alice.id, UserUpdate(role=Role.SUPERUSER))
            await service.delete(cast.root.id)
        assert await active_superusers(database) == 1

    async def test_not_all_of_them_can_be_deactivated_together(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            await service.update(cast.alice.id, UserUpdate(role=Role.SUPERUSER))
        async with users(cast.root) as service:
            rows = {cast.alice.id: 2, cast.bob.id: 1, cast.root.id: 1}
            reasons = await service.change_many(rows, DEACTIVATE)
        assert reasons == {cast.alice.id: None, cast.bob.id: None, cast.root.id: "this is you"}
        assert await active_superusers(database) == 1

    @pytest.mark.parametrize("turn", range(5))
    async def test_of_two_who_demote_each_other_at_once_one_stays(
        self, turn: int, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            await service.update(cast.alice.id, UserUpdate(role=Role.SUPERUSER))

        async def demote(user_id: UUID) -> None:
            async with users(cast.root) as service:
                await service.update(user_id, UserUpdate(role=Role.SUPPORT))

        outcomes = await asyncio.gather(demote(cast.alice.id), demote(cast.root.id), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]
        assert await active_superusers(database) == 1

    @pytest.mark.parametrize("turn", range(3))
    async def test_many_changes_of_the_same_accounts_at_once_end_well_or_in_a_clean_refusal(
        self, turn: int, cast: Cast, users: Users, database: Database
    ) -> None:
        ids = [cast.alice.id, cast.bob.id, cast.sam.id, cast.root.id]
        async with users(cast.root) as service:
            for user_id in ids:
                await service.update(user_id, UserUpdate(role=Role.SUPERUSER))
        changes: list[Callable[[UserService], Awaitable[object]]] = [
            lambda service: service.change_many(dict.fromkeys(ids, 2), DEACTIVATE),
            lambda service: service.change_many(dict.fromkeys(ids[::-1], 3), ACTIVATE),
            lambda service: service.change_many(dict.fromkeys(ids[:2], 2), DEACTIVATE),
            lambda service: service.change_many(dict.fromkeys(ids[2:], 2), DEACTIVATE),
            *(lambda service, row=row: service.update(row, UserUpdate(role=Role.SUPPORT)) for row in ids),
            *(lambda service, row=row: service.update(row, UserUpdate(name="Same")) for row in ids),
            *(lambda service, row=row: service.update(row, UserUpdate(is_active=False)) for row in ids),
            *(lambda service, row=row: service.delete(row) for row in ids[:2]),
        ]

        async def make(change: Callable[[UserService], Awaitable[object]]) -> None:
            async with users(cast.root) as service:
                await change(service)

        outcomes = await asyncio.gather(*map(make, changes), return_exceptions=True)
        unclean = [outcome for outcome in outcomes if outcome and not isinstance(outcome, AppError)]
        assert unclean == []
        assert await active_superusers(database) >= 1


class TestSessions:
    @pytest.mark.parametrize(
        ("change", "ends"),
        [
            (UserUpdate(password=PASSWORD), True),
            (UserUpdate(role=Role.SUPPORT), True),
            (UserUpdate(is_active=False), True),
            (UserUpdate(must_change_password=True), True),
            (UserUpdate(must_change_password=False), False),
            (UserUpdate(name="Robert"), False),
            (UserUpdate(email="robert@demo.example"), False),
            (UserUpdate(role=Role.ADMINISTRATOR), False),
        ],
        ids=["password", "role", "deactivated", "new password due", "not due", "name", "e-mail", "same role"],
    )
    async def test_a_change_of_password_role_or_state_signs_the_person_out_everywhere(
        self, change: UserUpdate, ends: bool, cast: Cast, users: Users, database: Database
    ) -> None:
        await sign_in(database, cast.bob, cast.bob, cast.alice)
        async with users(cast.root) as service:
            await service.update(cast.bob.id, change)
        assert await signed_in(database, cast.bob) == (0 if ends else 2)
        assert await signed_in(database, cast.alice) == 1

    async def test_bulk_deactivation_signs_everybody_in_it_out(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        await sign_in(database, cast.bob, cast.alice, cast.root)
        async with users(cast.root) as service:
            await service.change_many({cast.bob.id: 1, cast.alice.id: 1}, DEACTIVATE)
        assert [await signed_in(database, who) for who in (cast.bob, cast.alice, cast.root)] == [0, 0, 1]

    async def test_a_deleted_account_has_no_session(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        await sign_in(database, cast.bob)
        async with users(cast.root) as service:
            await service.delete(cast.bob.id)
        assert await signed_in(database, cast.bob) == 0


class TestManyAtOnce:
    async def test_outcomes_are_counted_and_each_change_recorded(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            await service.update(cast.sam.id, UserUpdate(is_active=False))
        selection = {cast.alice.id: 1, cast.bob.id: 1, cast.sam.id: 2, uuid4(): 1}
        async with users(cast.root) as service:
            reasons = await service.change_many(selection, DEACTIVATE)
        assert reasons == {cast.alice.id: None, cast.bob.id: None, cast.sam.id: NOTHING_TO_CHANGE}
        for actor in (cast.alice, cast.bob):
            [entry] = await entries(database, "updated", actor.id)
            assert entry.changes == {"is_active": [True, False]}


class TestOwnPassword:
    @pytest.mark.parametrize("person", PEOPLE)
    async def test_everybody_replaces_their_own_and_is_signed_out_everywhere(
        self, person: str, cast: Cast, users: Users, database: Database
    ) -> None:
        actor = getattr(cast, person)
        async with database.transaction() as session:
            await session.execute(update(User).values(must_change_password=True))
        await sign_in(database, actor, actor, cast.bob)
        before = await load(database, actor.id)
        async with hashing_slot, users(actor) as service:
            await service.change_own_password(PASSWORD, NEW_PASSWORD)
        after = await load(database, actor.id)
        assert (after.version, after.must_change_password) == (before.version + 1, False)
        assert await signed_in(database, actor) == 0
        assert await signed_in(database, cast.bob) == (0 if person == "bob" else 1)
        [entry] = await entries(database, "updated", actor.id)
        assert entry.actor_id == actor.id
        assert entry.changes == {
            "password_hash": [HIDDEN, HIDDEN],
            "must_change_password": [True, False],
        }
        async with database.reading() as session:
            event = (await session.scalars(select(RecordedEvent).order_by(RecordedEvent.id.desc()))).first()
        assert event.name == "UserUpdated"
        assert event.payload["user_ids"] == [str(actor.id)]
        assert set(event.payload["fields"]) == {"password_hash", "must_change_password"}
        async with users(Actor.system()) as service:
            assert await service.authenticate(actor.label, PASSWORD) is None
        async with users(Actor.system()) as service:
            assert (await service.authenticate(actor.label, NEW_PASSWORD)).id == actor.id

    @pytest.mark.parametrize(
        ("current", "new", "field"),
        [
            ("wrong", NEW_PASSWORD, "current"),
            ("", NEW_PASSWORD, "current"),
            ("\ud800", NEW_PASSWORD, "current"),
            ("x" * 60_000, NEW_PASSWORD, "current"),
            (PASSWORD, "x" * 11, "new"),
            (PASSWORD, "x" * 257, "new"),
            (PASSWORD, "\ud800" * 12, "new"),
            (PASSWORD, PASSWORD, "new"),
        ],
        ids=lambda value: ascii(value)[:24],
    )
    async def test_anything_wrong_changes_nothing(
        self, current: str, new: str, field: str, cast: Cast, users: Users, database: Database
    ) -> None:
        await sign_in(database, cast.bob)
        before, known = await written(database), await load(database, cast.bob.id)
        with pytest.raises(InvalidInput) as refused:
            async with hashing_slot, users(cast.bob) as service:
                await service.change_own_password(current, new)
        assert list(refused.value.fields) == [field]
        assert await written(database) == before
        assert (await load(database, cast.bob.id)).password_hash == known.password_hash
        assert await signed_in(database, cast.bob) == 1

    @pytest.mark.parametrize(
        "change",
        [UserUpdate(password="set by somebody else"), UserUpdate(is_active=False)],
        ids=["a new password", "deactivation"],
    )
    async def test_a_change_during_the_verification_wins(
        self,
        change: UserUpdate,
        cast: Cast,
        users: Users,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        verify = users_service.verify_password

        async def change_meanwhile() -> None:
            async with users(cast.root) as service:
                await service.update(cast.bob.id, change)

        async def verify_slowly(*arguments) -> bool:
            await asyncio.create_task(change_meanwhile())
            return await verify(*arguments)

        monkeypatch.setattr(users_service, "verify_password", verify_slowly)
        with pytest.raises(InvalidInput) as refused:
            async with hashing_slot, users(cast.bob) as service:
                await service.change_own_password(PASSWORD, NEW_PASSWORD)
        assert list(refused.value.fields) == ["current"]
        [entry] = await entries(database, "updated", cast.bob.id)
        assert entry.actor_id == cast.root.id

    async def test_of_two_at_once_one_wins(self, cast: Cast, users: Users, database: Database) -> None:
        async def change(new: str) -> str:
            async with hashing_slot, users(cast.bob) as service:
                await service.change_own_password(PASSWORD, new)
            return new

        outcomes = await asyncio.gather(
            change("first " + NEW_PASSWORD), change("second " + NEW_PASSWORD), return_exceptions=True
        )
        [won] = [outcome for outcome in outcomes if isinstance(outcome, str)]
        [lost] = [outcome for outcome in outcomes if isinstance(outcome, InvalidInput)]
        assert list(lost.fields) == ["current"]
        async with users(Actor.system()) as service:
            assert (await service.authenticate("bob@demo.example", won)).id == cast.bob.id

    async def test_a_password_somebody_else_sets_leaves_the_demand_for_a_new_one(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        async with users(cast.root) as service:
            await service.update(cast.bob.id, UserUpdate(must_change_password=True))
            await service.update(cast.bob.id, UserUpdate(password=NEW_PASSWORD))
            await service.update(cast.alice.id, UserUpdate(password=NEW_PASSWORD))
        assert (await load(database, cast.bob.id)).must_change_password
        assert not (await load(database, cast.alice.id)).must_change_password


class TestAuthentication:
    async def test_a_success_is_noted_without_changing_the_account(
        self, cast: Cast, users: Users, database: Database
    ) -> None:
        before = await load(database, cast.bob.id)
        asking = Actor(None, Role.SUPPORT, "somebody", address="192.0.2.7")
        async with users(asking) as service:
            user = await service.authenticate("Bob@Demo.Example", PASSWORD)
            assert user.id == cast.bob.id
        after = await load(database, cast.bob.id)
        assert before.last_sign_in_at is None
        assert isinstance(after.last_sign_in_at, datetime)
        assert (after.version, after.updated_at) == (before.version, before.updated_at)
        [entry] = await entries(database, "signed in", cast.bob.id)
        assert (entry.actor_id, entry.actor_label) == (cast.bob.id, "bob@demo.example")
        assert (entry.address, entry.changes) == ("192.0.2.7", {})

    @pytest.mark.parametrize(
        ("email", "password"),
        [
            ("nobody@demo.example", PASSWORD),
            ("bob@demo.example", "wrong"),
            ("bob@demo.example", ""),
            ("bob@demo.example", PASSWORD.upper()),
            ("bob@demo.example", PASSWORD + " "),
            ("bob@demo.example", PASSWORD + "\0"),
            ("disabled@demo.example", PASSWORD),
            ("unusable@demo.example", UNUSABLE),
            ("unusable@demo.example", ""),
            ("", ""),
            ("bob@demo.example\0", PASSWORD),
            ("\ud800@demo.example", PASSWORD),
            ("bob@demo.example", "\ud800"),
            ("%", PASSWORD),
            ("x" * 60_000, "x" * 60_000),
            ("bob@demo.example", "x" * 60_000),
        ],
        ids=lambda value: ascii(value)[:24],
    )
    async def test_everything_else_gets_the_same_answer_after_one_verification(
        self,
        email: str,
        password: str,
        cast: Cast,
        users: Users,
        database: Database,
        password_hash: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async with users(cast.root) as service:
            for name, active in (("disabled", False), ("unusable", True)):
                await service.create(
                    NEW.model_copy(update={"email": f"{name}@demo.example", "is_active": active})
                )
        async with database.transaction() as session:
            disabled = update(User).where(User.email.like("disabled%"))
            await session.execute(disabled.values(password_hash=password_hash))
        verified: list[str] = []
        verify = passwords._verify

        def note(password: str, password_hash: str) -> bool:
            verified.append(password_hash)
            return verify(password, password_hash)

        monkeypatch.setattr(passwords, "_verify", note)
        before = await written(database)
        async with users(Actor.system()) as service:
            assert await service.authenticate(email, password) is None
        assert len(verified) == 1
        assert verified[0].startswith("$argon2id$")
        assert await written(database) == before

    @pytest.mark.parametrize(
        "change",
        [UserUpdate(password="another " + PASSWORD), UserUpdate(is_active=False)],
        ids=["a new password", "deactivation"],
    )
    async def test_a_change_during_the_verification_wins(
        self, change: UserUpdate, cast: Cast, users: Users, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise the session it ends would be opened a moment later."""
        verify = users_service.verify_password

        async def change_meanwhile() -> None:
            async with users(cast.root) as service:
                await service.update(cast.bob.id, change)

        async def verify_slowly(*arguments) -> bool:
            await asyncio.create_task(change_meanwhile())
            return await verify(*arguments)

        monkeypatch.setattr(users_service, "verify_password", verify_slowly)
        async with users(Actor.system()) as service:
            assert await service.authenticate("bob@demo.example", PASSWORD) is None
