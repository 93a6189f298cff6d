"""`python -m admin_app` is the `admin-app` command."""

from admin_app.cli import app

app(prog_name="admin-app")
