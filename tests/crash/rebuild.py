"""A rebuild of the search index in small chunks that tells how far it is: `python -m tests.crash.rebuild`."""

import asyncio
import sys

from admin_app.config import load_settings
from admin_app.domains import open_database
from admin_app.domains.products.rebuilding import Rebuild

CHUNK = 20
PAUSE_SECONDS = 0.05  # so that it takes longer than what is done meanwhile


async def main() -> None:
    database = open_database(load_settings())
    async for progress in Rebuild(database, chunk=CHUNK).run():
        sys.stdout.write(f"{progress.stage} {progress.done}\n")
        sys.stdout.flush()
        if progress.stage == "Writing":
            await asyncio.sleep(PAUSE_SECONDS)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main())
