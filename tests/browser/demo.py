"""A running demo, and Chromium to look at it with: for the browser tests and for the screenshots."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer

import asyncpg
from playwright.sync_api import Browser, Page, sync_playwright

# The first is the same engine without the windows around it: a page takes a quarter of the time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
ARGUMENTS = (
    "--no-sandbox",  # Chromium refuses root otherwise
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
READY_SECONDS = 60
STOP_SECONDS = 10
UNSET = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DATA_DIR", "PUBLIC_URL", "ALLOWED_HOSTS")


class Demo:
    """`admin-app up --demo` on a free port, in a data directory of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_suffix(".log")
        self._environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [*self._command, "up", "--port", "0", "--data-dir", str(data_dir), "--demo"],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        too_late = Timer(READY_SECONDS, self._process.terminate)
        too_late.start()
        line = self._process.stdout.readline()
        too_late.cancel()
        ready = re.fullmatch(r"ready: (http://127\.0\.0\.1:\d+)(/admin)\n", line)
        if ready is None:
            self.stop()
            raise AssertionError(f"the demo does not start: {line}{self.log.read_text()}")
        self.origin, self.url = ready[1], ready[1] + ready[2]
        accounts = json.loads((data_dir / "demo-accounts.json").read_text())
        self.passwords = {account["email"]: account["password"] for account in accounts}

    _command = (sys.executable, "-m", "admin_app")

    def run(self, *arguments: str) -> str:
        """What an `admin-app` command says, given beside the running demo."""
        finished = subprocess.run(
            [*self._command, *arguments, "--data-dir", str(self.data_dir)],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def sign_in(self, page: Page, email: str) -> None:
        page.goto(f"{self.url}/login")
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(self.passwords[email])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{self.url}/")

    @contextmanager
    def locked(self, product_id: str) -> Iterator[None]:
        """Whoever changes this product waits meanwhile: a bulk operation on it goes on running."""
        is_locked, is_enough = Event(), Event()

        async def hold() -> None:
            connection = await asyncpg.connect(
                host=str(self.data_dir / "postgres"), user="postgres", database="admin_app"
            )
            try:
                async with connection.transaction():
                    await connection.execute("SELECT FROM products WHERE id = $1 FOR UPDATE", product_id)
                    is_locked.set()
                    await asyncio.to_thread(is_enough.wait)
            finally:
                await connection.close()

        # In a thread: Playwright keeps an event loop running in this one.
        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(asyncio.run, hold())
            try:
                assert is_locked.wait(STOP_SECONDS), "the product could not be locked"
                yield
            finally:
                is_enough.set()
                holding.result()

    def stop(self) -> float:
        """How many seconds it took."""
        started = time.monotonic()
        self._process.terminate()
        self._process.communicate(timeout=3 * STOP_SECONDS)
        return time.monotonic() - started


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
