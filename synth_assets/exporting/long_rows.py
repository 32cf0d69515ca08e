"""The rows of the long export: each document with where it comes from, streamed range by range out of the lake.

In: columns, joins with the seed and the strategies' tables. Out: which documents (`selection`), their order
(`shuffling`), files (`table_files`).
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project and whole numbers; values are parameters.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from synth_assets.core.tables import CURATED_DOCUMENTS, MERGED_DOCUMENTS, rephrased
from synth_assets.exporting.lake_view import LakeView
from synth_assets.exporting.selection import Selection, order_key

_SEED_COLUMNS = ("url", "language", "license", "attribution")

LONG_SCHEMA = pa.schema(
    {
        "merged_id": pa.string(),
        "document_id": pa.string(),
        "curator_file": pa.string(),
        "strategy": pa.string(),
        "title": pa.string(),
        "text": pa.string(),
        "token_count": pa.int64(),
        **{name: pa.string() for name in _SEED_COLUMNS},
        "model": pa.string(),
    }
)
"""One row of the long export. `model` is null for originals; the four columns before it are the seed document's."""

ORDERED_SCHEMA = pa.schema([*LONG_SCHEMA, pa.field("order_key", pa.uint64()), pa.field("repetition", pa.int32())])
"""The same with what the order of a mix is made of."""

CHARS_JOINED_AT_ONCE = 64_000_000
"""DuckDB holds one side of a join, and a memory limit makes it fail instead of going to the disk."""

MOST_RANGES_OF_A_FILE = 64
"""Each range of a file reads the file's rows again."""


@dataclass(frozen=True)
class _Range:
    """Files from the first to the last, and of them documents with ids from one up to before another."""

    first_file: str
    last_file: str
    from_id: str
    before_id: str

    @property
    def parameters(self) -> list[str]:
        return [self.first_file, self.last_file, self.from_id, self.before_id]


_IN_RANGE = "curator_file >= ? AND curator_file <= ? AND document_id >= ? AND document_id < ?"


def long_rows(view: LakeView, selection: Selection, strategies: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The selected rows as ORDERED_SCHEMA, file by file, in no promised order within a range of files."""
    if not selection.passes:
        return
    seed, seed_ranges = _seed_sql(view)
    made, made_ranges = _made_sql(view, strategies)
    passes, pass_parameters = selection.passes_sql()
    columns = [f"{_source_of(name)}.{name}" for name in LONG_SCHEMA.names]
    statement = (
        f"SELECT {', '.join(columns)}, {order_key(selection.seed)} AS order_key, pass.repetition"
        f" FROM {selection.source} AS doc JOIN {passes} USING (strategy)"
        f" LEFT JOIN {seed} ON seed.document_id = doc.document_id AND seed.curator_file = doc.curator_file"
        f" LEFT JOIN {made} ON made.document_id = doc.document_id AND made.curator_file = doc.curator_file"
        " AND made.strategy = doc.strategy"
        f" WHERE {selection.is_taken_sql()} AND doc.curator_file >= ? AND doc.curator_file <= ?"
        " AND doc.document_id >= ? AND doc.document_id < ?"
    )
    for each in _ranges(view):
        joined = each.parameters * (seed_ranges + made_ranges)
        yield from view.stream(statement, [*pass_parameters, *joined, *each.parameters], ORDERED_SCHEMA)


def _source_of(column: str) -> str:
    return "seed" if column in _SEED_COLUMNS else "made" if column == "model" else "doc"


def _seed_sql(view: LakeView) -> tuple[str, int]:
    """The seed's own columns as a relation `seed`, and how many ranges it asks for; a lake of an earlier release has
    no licences."""
    table = CURATED_DOCUMENTS.name
    if not view.has(table):
        nulls = ", ".join(f"NULL::VARCHAR AS {name}" for name in ("document_id", "curator_file", *_SEED_COLUMNS))
        return f"(SELECT {nulls} LIMIT 0) AS seed", 0
    present = set(view.columns(table).names)
    columns = [name if name in present else f"NULL::VARCHAR AS {name}" for name in _SEED_COLUMNS]
    # A document that a file holds twice would double its rows.
    return (
        f"(SELECT document_id, curator_file, {', '.join(columns)} FROM {view.at(table)}"
        f" WHERE NOT is_duplicate AND {_IN_RANGE}) AS seed"
    ), 1


def _made_sql(view: LakeView, strategies: Sequence[str]) -> tuple[str, int]:
    """Which model made each text as a relation `made`, and how many ranges it asks for."""
    tables = [(name, rephrased(name).name) for name in strategies if view.has(rephrased(name).name)]
    selects = [
        f"SELECT document_id, curator_file, '{name}' AS strategy, model FROM {view.at(table)} WHERE {_IN_RANGE}"
        for name, table in tables
    ]
    columns = ("document_id", "curator_file", "strategy", "model")
    nothing = f"SELECT {', '.join(f'NULL::VARCHAR AS {name}' for name in columns)} LIMIT 0"
    return f"({' UNION ALL '.join(selects) or nothing}) AS made", len(selects)


def _ranges(view: LakeView) -> list[_Range]:
    """Files in the order of their names, several small ones together and a large one in parts."""
    files = view.rows(
        f"SELECT curator_file, sum(coalesce(char_count, 0))::BIGINT AS chars FROM {view.at(MERGED_DOCUMENTS.name)}"
        " GROUP BY 1 ORDER BY 1"
    )
    ranges: list[_Range] = []
    names: list[str] = []
    held = 0
    for file in files:
        name, chars = file["curator_file"], file["chars"]
        if names and held + chars > CHARS_JOINED_AT_ONCE:
            ranges += _split(names[0], names[-1], held)
            names, held = [], 0
        names.append(name)
        held += chars
    if names:
        ranges += _split(names[0], names[-1], held)
    return ranges


def _split(first_file: str, last_file: str, chars: int) -> list[_Range]:
    """Document ids are hashes in hexadecimal digits, so equal ranges of them hold about as many documents."""
    count = max(1, min(MOST_RANGES_OF_A_FILE, -(-chars // CHARS_JOINED_AT_ONCE)))
    bounds = ["", *(f"{place * 2**16 // count:04x}" for place in range(1, count)), "g"]
    return [_Range(first_file, last_file, low, high) for low, high in pairwise(bounds)]
