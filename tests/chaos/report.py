"""What a run came to, as a table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from tests.chaos.ledger import Told
from tests.chaos.performance import Outcome

SHOWN = 10

Row = Sequence[object]


def told(outcome: Outcome) -> str:
    ledger = outcome.ledger
    whats = sorted({one.what for one in ledger.tries})
    counted = Counter((one.what, one.told) for one in ledger.tries)
    reasons = Counter(f"{one.told}: {one.reason}" for one in ledger.tries if one.reason)
    blows = [
        (blow.target, blow.means, len(took), f"{median(took):.1f} s", f"{max(took):.1f} s")
        for blow, took in sorted(outcome.monkey.recoveries.items(), key=lambda item: str(item[0]))
    ]
    parts = [
        _table(["answers to requests", "number"], ledger.requests.most_common()),
        _table(["tried", *Told], [(what, *(counted[what, kind] for kind in Told)) for what in whats]),
        _table(["why not, or maybe not", "number"], reasons.most_common()),
        _table(["target", "blow", "number", "recovered p50", "max"], blows),
        _table(["processes that ended", "number"], outcome.ends.most_common()),
        f"Quiet {outcome.quiet_seconds:.1f} s after people had stopped.",
        _table(
            ["law", "looked at", "broken"],
            [(each.law, each.looked_at, len(each.violations)) for each in outcome.findings],
        ),
    ]
    for each in outcome.findings:
        parts += [f"BROKEN, {each.law}: {one}" for one in each.violations[:SHOWN]]
    return "\n\n".join(parts)


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    shown = []
    for line in lines:
        cells = [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join([shown[0], "-" * len(shown[0]), *shown[1:]])
