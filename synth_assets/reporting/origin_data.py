"""Which table was made from which: the graph as the report shows it, with rows and data versions.

In: nodes as the caller knows them, and rows counted in the lake. Out: the graph and its versions (`assets.origins`),
and the picture (`origin_picture`).
"""

# ruff: noqa: S608 - names of tables are constants of this project.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resources.lake import Lake
from synth_assets.reporting.data import rows_of


@dataclass(frozen=True)
class Origin:
    """One node of the graph: a table, a file, or something observed such as a model."""

    name: str
    parents: tuple[str, ...]
    data_version: str | None = None
    """Of several partitions one hash over all of them; None: never made."""
    partition_count: int = 0
    """Partitions that were made; 0 where there are none, or none was made."""
    is_root: bool = False
    """Observed, not made: files, models, evaluation sets."""
    row_count: int | None = None


def with_row_counts(lake: Lake, origins: Sequence[Origin]) -> list[Origin]:
    """The same with the rows of each that is a table of the lake, in an order where parents come first."""
    return [replace(origin, row_count=_row_count(lake, origin)) for origin in in_order(origins)]


def _row_count(lake: Lake, origin: Origin) -> int | None:
    if origin.is_root or not lake.has_table(origin.name):
        return None
    return rows_of(lake, f"SELECT count(*) AS n FROM {origin.name}")[0]["n"]


def in_order(origins: Sequence[Origin]) -> list[Origin]:
    """Sorted by level, then by name."""
    depths = levels(origins)
    return sorted(origins, key=lambda origin: (depths[origin.name], origin.name))


def levels(origins: Sequence[Origin]) -> dict[str, int]:
    """The longest way from a root to each node; parents that are no node count as not there."""
    nodes = {origin.name: origin for origin in origins}
    found: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in found:
            found[name] = max((level(parent) + 1 for parent in nodes[name].parents if parent in nodes), default=0)
        return found[name]

    for name in nodes:
        level(name)
    return found
