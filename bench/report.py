"""Tables for people, with a mark on every goal that is missed."""

import statistics
from collections.abc import Mapping

from rich.table import Table

from bench.bulk import Bulk
from bench.cases import AFTERWARDS, QUICK, SAVE
from bench.history import Saves
from bench.measure import CLIENTS, Case, Measured, Process

MAX_RATIO = 3.0
MAX_SPREAD = 2.0
MAX_GROWTH = 1.3
MAX_STATEMENTS = 3
MAX_STATEMENT_MS = 50
MAX_BULK_RATIO = 2.0
MAX_HISTORY_RATIO = 1.15
MAX_CONFIRM_SECONDS = 2
MAX_FREEZE_SECONDS = 10
MAX_WORKER_MB = 150
MAX_PAGE_BYTES = 15_000
"""Of one page over the wire, when the browser has its stylesheet and scripts already."""


def pages(size: int, measured: Measured, of: str = "products") -> Table:
    table = Table(title=f"{size:,} {of} (milliseconds)", title_justify="left")
    for heading in (
        *("page", "p50", "p95", "floor p50", "floor p95", "ratio"),
        *("SQL", "SQL ms", "slowest", "sent bytes", "page bytes"),
    ):
        table.add_column(heading, justify="left" if heading == "page" else "right")
    for name, case in measured.cases.items():
        missed = _missed(name, case)
        table.add_row(
            name,
            f"{case.p50:.1f}",
            _marked(f"{_p95(case.app):.1f}", "p95" in missed),
            f"{statistics.median(case.floor):.1f}",
            f"{_p95(case.floor):.1f}",
            _marked(f"{case.ratio:.1f}", "ratio" in missed),
            _marked(str(statistics.mode(case.statements)), "statements" in missed),
            f"{statistics.median(case.sql):.1f}",
            _marked(f"{statistics.median(case.slowest):.1f}", "slowest" in missed),
            _marked(f"{case.wire_bytes:,}", "bytes" in missed),
            f"{case.page_bytes:,}",
        )
    app, floor = statistics.median(measured.app_rates), statistics.median(measured.floor_rates)
    table.caption = (
        f"The first page with {CLIENTS} clients: {app:,.0f} a second; the floor {floor:,.0f}, "
        f"{floor / app:.1f} times as many."
    )
    table.caption_justify = "left"
    return table


def growth(measured: Mapping[int, Measured], of: str = "products") -> Table:
    """Medians by size, as multiples of the smallest."""
    smallest, *larger = sorted(measured)
    table = Table(title=f"Growth of the median from {smallest:,} {of}", title_justify="left")
    table.add_column("page")
    for size in larger:
        table.add_column(f"to {size:,}", justify="right")
    for name in measured[smallest].cases:
        grown = [_growth(measured, name, size) for size in larger]
        table.add_row(name, *(_marked(f"{times:.2f}", _outgrows(name, times)) for times in grown))
    return table


def process(found: Process) -> Table:
    table = Table(title="The web process", title_justify="left", show_header=False)
    table.add_row("from its start to /live", f"{found.live:,.0f} ms")
    table.add_row("from its start to /admin/login", f"{found.sign_in:,.0f} ms")
    table.add_row("memory when idle after use, resident", f"{found.resident:,.0f} MB")
    table.add_row("memory when idle after use, its share", f"{found.proportional:,.0f} MB")
    return table


def bulk(found: Bulk) -> Table:
    table = Table(
        title=f"A bulk operation: {found.rows:,} deactivated", title_justify="left", show_header=False
    )
    goals, run = _bulk_goals(found), statistics.median(found.runs)
    for name, text in {
        "ratio": f"{run:.1f} s, {found.rows / run:,.0f} a second; {found.ratio:.2f} times one statement "
        f"({statistics.median(found.floors):.1f} s)",
        "undo": f"{statistics.median(found.undos):.1f} s to undo",
        "confirm": f"{found.asking:.2f} s to show what all {found.all_rows:,} would do, "
        f"{found.confirming:.2f} s to confirm",
        "freeze": f"{found.freezing:.1f} s to write their ids down",
        "memory": f"{found.worker_most:.0f} MB in the worker, {found.worker_before:.0f} before",
        "others": f"{found.idle_p95:.0f} ms p95 of a list page before, {found.busy_p95:.0f} while it ran "
        f"({found.with_worker:.0f} s, with the tasks that follow)",
    }.items():
        table.add_row(name, _marked(text, not goals.get(name, True)))
    return table


def bulk_missed(found: Bulk) -> int:
    return sum(not is_met for is_met in _bulk_goals(found).values())


def _bulk_goals(found: Bulk) -> dict[str, bool]:
    return {
        "ratio": found.ratio <= MAX_BULK_RATIO,
        "undo": statistics.median(found.undos) <= 1.2 * statistics.median(found.runs),
        "confirm": found.confirming < MAX_CONFIRM_SECONDS,
        "freeze": found.freezing < MAX_FREEZE_SECONDS,
        "memory": found.worker_most < MAX_WORKER_MB,
        "others": found.busy_p95 <= MAX_SPREAD * found.idle_p95,
    }


def saves(found: Saves) -> Table:
    table = Table(title="A save, with its history and without", title_justify="left", show_header=False)
    table.add_row("with", f"{statistics.median(found.written):.2f} ms")
    table.add_row("without", f"{statistics.median(found.forgotten):.2f} ms")
    ratio = _marked(f"{found.ratio:.2f} times", found.ratio > MAX_HISTORY_RATIO)
    table.add_row("so history takes", ratio)
    return table


def saves_missed(found: Saves) -> int:
    return found.ratio > MAX_HISTORY_RATIO


def number_missed(measured: Mapping[int, Measured]) -> int:
    smallest, *larger = sorted(measured)
    pages = sum(len(_missed(name, case)) for item in measured.values() for name, case in item.cases.items())
    grown = sum(
        _outgrows(name, _growth(measured, name, size)) for name in measured[smallest].cases for size in larger
    )
    return pages + grown


def _growth(measured: Mapping[int, Measured], name: str, size: int) -> float:
    return measured[size].cases[name].p50 / measured[min(measured)].cases[name].p50


def _outgrows(name: str, times: float) -> bool:
    return name not in AFTERWARDS and times > MAX_GROWTH


def _missed(name: str, case: Case) -> set[str]:
    """Which goals a page misses."""
    if name in AFTERWARDS:
        return set()
    is_missed = {"slowest": statistics.median(case.slowest) > MAX_STATEMENT_MS}
    if name != SAVE:
        # The usual number of statements: once a minute a request also notes that its session is alive.
        is_missed |= {
            "ratio": case.ratio > MAX_RATIO,
            "p95": _p95(case.app) > MAX_SPREAD * case.p50,
            "statements": name not in QUICK and statistics.mode(case.statements) > MAX_STATEMENTS,
            "bytes": case.wire_bytes > MAX_PAGE_BYTES,
        }
    return {goal for goal, missed in is_missed.items() if missed}


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def _marked(text: str, is_missed: bool) -> str:
    return f"[bold red]! {text}[/]" if is_missed else text
