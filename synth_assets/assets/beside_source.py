"""Merged documents of one file, each beside the text that it was made of.

In: the order that makes it possible without a join: a document's original comes first, then what was made of it. Out:
what is measured (`text_quality`, `source_support`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from resources.lake import Lake
from synth_assets.assets.merged import id_ranges
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.tables import MERGED_DOCUMENTS

OPENING_WORDS = 4
OPENING_SQL = rf"regexp_extract(lower(left(text, 400)), '^\s*((?:\S+\s+){{0,{OPENING_WORDS - 1}}}\S+)', 1)"
"""The first four words in small letters, with the white space between them."""

_SORTED_SCHEMA = pa.schema(
    [
        *(MERGED_DOCUMENTS.schema.field(name) for name in ("merged_id", "document_id", "strategy", "text")),
        pa.field("source_starts", pa.list_(pa.int64())),
        pa.field("source_ends", pa.list_(pa.int64())),
        pa.field("starts", pa.list_(pa.int64())),
        pa.field("ends", pa.list_(pa.int64())),
        pa.field("opening", pa.string()),
    ]
)


def documents_beside_source(lake: Lake, curator_file: str) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Each merged document and its source, which is None for an original; lists of segments, null for an original.

    Rows have the columns of `_SORTED_SCHEMA`. A source is read once, whatever was made of it.
    """
    source_id, source = None, None
    for row in _sorted_documents(lake, curator_file):
        is_original = row["strategy"] == ORIGINAL
        if is_original:
            source_id, source = row["document_id"], row["text"]
        yield row, source if not is_original and source_id == row["document_id"] else None


def _sorted_documents(lake: Lake, curator_file: str) -> Iterator[dict[str, Any]]:
    table = MERGED_DOCUMENTS.name
    query = (
        "SELECT merged_id, document_id, strategy, text, [part.source_start for part in segments] AS source_starts,"  # noqa: S608
        " [part.source_end for part in segments] AS source_ends, [part.text_start for part in segments] AS starts,"
        f" [part.text_end for part in segments] AS ends, {OPENING_SQL} AS opening FROM {table}"
        " WHERE curator_file = ? AND document_id >= ? AND document_id < ?"
        " ORDER BY document_id, strategy <> ?, strategy"
    )
    chars = lake.query(
        f"SELECT coalesce(sum(char_count), 0)::BIGINT FROM {table} WHERE curator_file = ?",  # noqa: S608
        [curator_file],
    )
    for ids in id_ranges(chars.column(0)[0].as_py()):
        for batch in lake.stream(query, [curator_file, *ids, ORIGINAL], _SORTED_SCHEMA):
            yield from batch.to_pylist()
