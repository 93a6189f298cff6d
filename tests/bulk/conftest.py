"""Operations in small chunks."""

import pytest

from admin_app.database import Database
from tests.bulk.operations import Operations


@pytest.fixture
def operations(database: Database) -> Operations:
    """Three rows a chunk."""
    return Operations(database, chunk=3)
