"""What a command says when the installation or the input refuses: sentences instead of a trace."""

import errno

from asyncpg.exceptions import InterfaceError, PostgresError
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from admin_app.errors import AppError, InvalidInput
from admin_app.outbox import describe

_OF_A_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def explain(error: Exception) -> list[str]:
    """Empty for an error nobody foresaw: that one deserves its trace."""
    if isinstance(error, ValidationError):
        error = InvalidInput.from_validation(error)
    if isinstance(error, InvalidInput) and error.fields:
        return [f"{name}: {reason}" if name else reason for name, reason in error.fields.items()]
    if isinstance(error, AppError):
        return [error.message]
    if isinstance(error, RedisError):
        return [f"Redis cannot be used. {describe(error)}"]
    if isinstance(error, SQLAlchemyError | PostgresError | InterfaceError):
        return [f"The database cannot be used. {describe(error)}"]
    if isinstance(error, OSError):
        if error.filename:
            return [f"{error.filename}: {error.strerror}"]
        if error.errno in _OF_A_DISK:
            return [f"A file could not be written: {error.strerror}"]
        return [f"No connection. {describe(error)}"]
    return []
