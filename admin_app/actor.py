"""Who acts: the one value services, access rules, audit and events agree on."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID, uuid4

from structlog.contextvars import get_contextvars

from admin_app.errors import ProofRequired


class Role(StrEnum):
    SUPERUSER = "superuser"
    ADMINISTRATOR = "administrator"
    SUPPORT = "support"


class Source(StrEnum):
    """Where a change came from, as history shows it."""

    FORM = "form"
    INLINE = "inline"
    BULK = "bulk"
    IMPORT = "import"
    API = "api"
    SYSTEM = "system"


def _request_id() -> UUID:
    """Of the request in whose course they act: the one whose task this is, too; else a new one."""
    bound = get_contextvars().get("request_id")
    return UUID(bound) if bound else uuid4()


@dataclass(frozen=True)
class Actor:
    """`id` is None for the system itself (tasks, the command line)."""

    id: UUID | None
    role: Role
    label: str
    source: Source = Source.SYSTEM
    address: str | None = None
    request_id: UUID = field(default_factory=_request_id)
    operation_id: UUID | None = None
    """The bulk operation in whose course they act."""

    needs_proof: bool = False
    """They must show again who they are before what a stolen session should not be able to do.

    True for a session whose password was typed too long ago, and for every access token.
    """

    @classmethod
    def system(cls, source: Source = Source.SYSTEM) -> "Actor":
        """The installation itself; may do everything a superuser may."""
        return cls(id=None, role=Role.SUPERUSER, label="system", source=source)

    def require_proof(self) -> None:
        """Raises ProofRequired."""
        if self.needs_proof:
            raise ProofRequired

    @property
    def is_superuser(self) -> bool:
        return self.role is Role.SUPERUSER

    def acting_by(self, source: Source) -> "Actor":
        return replace(self, source=source)
