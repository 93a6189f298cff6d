"""Changes of many rows at once: what a service tells of each selected row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BulkOutcome:
    """`refused` counts the selected rows that are missing or not this actor's to change."""

    changed: int
    unchanged: int
    refused: int
