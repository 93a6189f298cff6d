"""`python -m bench [--sizes 10000,100000,1000000] [--entries 10000000]`: every page against the floor."""

import argparse
import asyncio
import time
from pathlib import Path

from rich.console import Console

from admin_app.config import Settings
from admin_app.embedded import embedded_servers
from bench import api, bulk, data, exports, history, images, imports, measure, report
from bench.recording import record


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="products, separated by commas")
    parser.add_argument("--entries", type=int, default=10_000_000, help="in the longest history")
    parser.add_argument("--rounds", type=int, default=60, help="counted requests per page and side")
    parser.add_argument("--data-dir", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    console = Console(width=130)
    with embedded_servers(Settings(data_dir=options.data_dir, _env_file=None)) as settings:  # type: ignore[call-arg]
        sizes, recordings = {}, {}
        for size in sorted(int(size) for size in options.sizes.split(",")):
            started = time.monotonic()
            url = asyncio.run(data.ensure(settings.database_url, size))
            if time.monotonic() - started > 5:
                console.print(f"Made {size:,} products in {time.monotonic() - started:.0f} s.", style="dim")
            sizes[size], recordings[url] = url, asyncio.run(record(url))
        console.print("Measuring, for a few minutes.", style="dim")
        found = measure.pages(recordings, options.rounds)
        process = measure.process(url, settings.redis_url, recordings[url])
        console.print("The API, against a bare endpoint.", style="dim")
        throughput = api.measure(url)
        console.print("A bulk operation, in a copy of the largest.", style="dim")
        operation = asyncio.run(bulk.measure(url, settings.redis_url, recordings[url].token, size))
        console.print("Imports, in another copy.", style="dim")
        imported = asyncio.run(imports.measure(url))
        console.print("Exports of the largest, the workbook for some minutes.", style="dim")
        exported = asyncio.run(exports.measure(url))
        console.print("Pages of the history, and what a save takes without it.", style="dim")
        past = history.measure(sizes[min(sizes)], options.entries, options.rounds)
    console.print("Photographs, one at a time and many at once.", style="dim")
    photographs = images.measure()
    measured = {size: found[url] for size, url in sizes.items()}
    for size, item in measured.items():
        console.print(report.pages(size, item))
    if len(measured) > 1:
        console.print(report.growth(measured))
    console.print(report.process(process))
    console.print(api.table(throughput))
    console.print(report.bulk(operation))
    console.print(exports.table(exported))
    console.print(imports.table(imported))
    for entries, item in past.pages.items():
        console.print(report.pages(entries, item, "entries of history"))
    console.print(report.growth(past.pages, "entries of history"))
    console.print(report.saves(past.saves))
    console.print(images.table(photographs))
    for name, status in (recordings[url].refused | past.refused).items():
        console.print(f"NOT MEASURED: {name}, answered {status}", style="bold red")
    missed = report.number_missed(measured) + report.number_missed(past.pages)
    missed += report.bulk_missed(operation) + report.saves_missed(past.saves)
    missed += images.missed(photographs) + api.missed(throughput)
    missed += exports.missed(exported) + imports.missed(imported)
    console.print(f"{missed} goals are missed, each marked with !" if missed else "Every goal is met.")


main()
