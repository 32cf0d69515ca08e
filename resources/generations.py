"""Which draw of its answers each strategy is on: asking anew adds a generation and deletes nothing.

In: the table `ledger.generations`, whose rows are only ever added. Out: what a generation does to a request's key
(`synth_assets.core.fingerprints`), and which answers that makes stale (`synth_assets.planning`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from resources.lake import Lake

GENERATIONS = "ledger.generations"

GENERATIONS_SCHEMA = pa.schema(
    {
        "strategy": pa.string(),
        "curator_file": pa.string(),
        "generation": pa.int64(),
        "created_at": pa.timestamp("us", tz="UTC"),
    }
)
"""From this moment on a strategy's answers for one file (null: for all files) are of this generation at least."""


@dataclass(frozen=True)
class Generations:
    """The highest generation by strategy and file (None: all files); what is not named is of generation 0."""

    numbers: Mapping[str, Mapping[str | None, int]] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        """Higher than every number so far, so that it counts for whatever it is given to."""
        return 1 + max((number for files in self.numbers.values() for number in files.values()), default=0)

    def with_next(self, strategies: Sequence[str], files: Sequence[str]) -> Generations:
        """These, after the strategies were given a new generation for the files; for all files where none is named."""
        added = dict.fromkeys(files or (None,), self.next_number)
        return Generations({**self.numbers, **{name: {**self.numbers.get(name, {}), **added} for name in strategies}})


def read_generations(lake: Lake) -> Generations:
    """As the ledger has them now."""
    if not lake.has_table(GENERATIONS):
        return Generations()
    statement = f"SELECT strategy, curator_file, max(generation) AS number FROM {GENERATIONS} GROUP BY ALL"  # noqa: S608
    numbers: dict[str, dict[str | None, int]] = {}
    for row in lake.query(statement).to_pylist():
        numbers.setdefault(row["strategy"], {})[row["curator_file"]] = row["number"]
    return Generations(numbers)


def start_generation(lake: Lake, strategies: Sequence[str], files: Sequence[str]) -> int:
    """Give the strategies a new generation for the files (all where none is named), in one transaction.

    Returns its number. Two processes that do this in the same moment start one and the same generation.
    """
    number = read_generations(lake).next_number
    created_at = datetime.now(UTC)
    rows = [
        {"strategy": strategy, "curator_file": file, "generation": number, "created_at": created_at}
        for strategy in strategies
        for file in files or (None,)
    ]
    lake.append(GENERATIONS, pa.Table.from_pylist(rows, schema=GENERATIONS_SCHEMA))
    return number
