"""`python -m admin_app.migrations "what changes"`: a new revision from models and database."""

import re
import sys

from alembic import command

from admin_app import migrations
from admin_app.config import load_settings
from admin_app.embedded import embedded_servers

if len(sys.argv) != 2:
    sys.exit('usage: python -m admin_app.migrations "what changes"')
with embedded_servers(load_settings()) as settings:
    migrations.upgrade(settings.direct_url)
    number = int(re.match(r"\d+", migrations.head())[0]) + 1  # type: ignore[index]  # ours begin with digits
    migrations.on_connection(
        settings.direct_url,
        lambda connection: command.revision(
            migrations.configuration(connection), sys.argv[1], autogenerate=True, rev_id=f"{number:04}"
        ),
    )
