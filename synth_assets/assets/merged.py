"""The merged set of each Curator file: long form (training documents) and wide form (one row for each seed document).

In: originals and every strategy's rows. Out: which strategies there are (`strategies`), and the mix (`export`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import CURATED, CURATOR_FILE, MERGED, MULTISTRATEGY, ONE_RUN, table_key
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import CURATED_DOCUMENTS, MERGED_DOCUMENTS, multistrategy, rephrased

_TITLED_SCHEMA = pa.schema(
    [MERGED_DOCUMENTS.schema.field(name) for name in ("document_id", "title", "text", "segments")]
)

CHARS_JOINED_AT_ONCE = 64_000_000
"""A join holds one of its sides: 600,000 documents of 600 characters took 580 MB at once and 60 MB in ten parts. No way
out is DuckDB's memory limit: joins fail at it instead of going to the disk."""

MOST_PARTS = 64
"""Each part reads the file's rows again; beyond this many, memory grows instead of time."""


def merged_id(document_id: str, strategy: str) -> str:
    """Identity of one training document: 32 hex digits of document and strategy."""
    return hashlib.blake2b(f"{strategy}|{document_id}".encode(), digest_size=16).hexdigest()


def build_merged_assets(strategies: Sequence[Strategy]) -> list[dg.AssetsDefinition]:
    """`merged.documents` and `merged.multistrategy` over the given strategies."""
    names = tuple(strategy.name for strategy in strategies)
    wide = multistrategy(names)
    parents = [CURATED, *(table_key(rephrased(name)) for name in names)]

    @dg.asset(
        key=MERGED,
        deps=parents,
        group_name="merged",
        kinds={"duckdb"},
        description=MERGED_DOCUMENTS.description,
        code_version=code_fingerprint(_long_rows, merged_id),
        metadata=definition_metadata(MERGED_DOCUMENTS, PARTITION_COLUMN),
        partitions_def=CURATOR_FILE,
        backfill_policy=ONE_RUN,
    )
    def documents(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        roots: dg.ResourceParam[RootVersions],
        rephraser: dg.ResourceParam[ModelEndpoint],
    ) -> Iterator[Event]:
        chars = _candidate_chars(lake)

        def stream(curator_file: str) -> Iterator[Item]:
            return _long_rows(lake, rephraser, names, curator_file, id_ranges(chars.get(curator_file, 0)))

        yield from materialize_partitions(context, MERGED_DOCUMENTS, lake, roots, stream)

    @dg.asset(
        key=MULTISTRATEGY,
        deps=parents,
        group_name="merged",
        kinds={"duckdb"},
        description=wide.description,
        code_version=code_fingerprint(_wide_rows),
        metadata=definition_metadata(wide, PARTITION_COLUMN),
        partitions_def=CURATOR_FILE,
        backfill_policy=ONE_RUN,
    )
    def wide_documents(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
    ) -> Iterator[Event]:
        chars = _candidate_chars(lake)

        def stream(curator_file: str) -> Iterator[Item]:
            # Every strategy's texts are held, each about as long as the document's own.
            return _wide_rows(lake, names, curator_file, id_ranges(len(names) * chars.get(curator_file, 0)))

        yield from materialize_partitions(context, wide, lake, roots, stream)

    return [documents, wide_documents]


def _candidate_chars(lake: Lake) -> Mapping[str, int]:
    """Characters of the documents that strategies work on, by file."""
    if not lake.has_table(CURATED_DOCUMENTS.name):
        return {}
    found = lake.query(
        f"SELECT curator_file, sum(char_count)::BIGINT AS chars FROM {CURATED_DOCUMENTS.name}"  # noqa: S608
        " WHERE is_candidate AND NOT is_duplicate GROUP BY 1"
    )
    return dict(zip(found["curator_file"].to_pylist(), found["chars"].to_pylist(), strict=True))


def id_ranges(chars: int) -> list[tuple[str, str]]:
    """Ranges of document ids, each from one up to before another; ids are hashes, so each range has as many."""
    count = max(1, min(MOST_PARTS, -(-chars // CHARS_JOINED_AT_ONCE)))
    bounds = ["", *(f"{place * 2**16 // count:04x}" for place in range(1, count)), "g"]
    return list(pairwise(bounds))


def _long_rows(
    lake: Lake,
    rephraser: ModelEndpoint,
    strategies: Sequence[str],
    curator_file: str,
    parts: Sequence[tuple[str, str]],
) -> Iterator[dict[str, Any]]:
    """Originals first, then every strategy that this file has been rephrased with; no partition is held in memory."""
    tokenizer = rephraser.tokenizer()
    for batch in lake.scan(
        CURATED_DOCUMENTS.name,
        columns=["document_id", "title", "text", "token_count", "is_duplicate", "is_candidate"],
        where={PARTITION_COLUMN: curator_file},
    ):
        for row in batch.to_pylist():
            if row["is_candidate"] and not row["is_duplicate"]:
                yield _long_row(row, curator_file, ORIGINAL, row["title"], row["token_count"], [])
    for name in strategies:
        table = rephrased(name).name
        if not lake.has_table(table):
            continue
        # Joined in the lake: a dictionary of titles took 250 bytes a document.
        query = (
            f"SELECT seed.document_id, seed.title, made.text, made.segments FROM {table} AS made"  # noqa: S608
            f" JOIN {CURATED_DOCUMENTS.name} AS seed USING (document_id, curator_file)"
            " WHERE curator_file = ? AND seed.is_candidate AND NOT seed.is_duplicate"
            " AND seed.document_id >= ? AND seed.document_id < ? AND made.document_id >= ? AND made.document_id < ?"
        )
        for part in parts:
            for batch in lake.stream(query, [curator_file, *part, *part], _TITLED_SCHEMA):
                rows = batch.to_pylist()
                counts = tokenizer.count_tokens([row["text"] for row in rows]) if rows else []
                for row, token_count in zip(rows, counts, strict=True):
                    yield _long_row(row, curator_file, name, row["title"], token_count, row["segments"])


def _long_row(
    row: dict[str, Any], curator_file: str, strategy: str, title: str, token_count: int, segments: list[Any]
) -> dict[str, Any]:
    return {
        "merged_id": merged_id(row["document_id"], strategy),
        "document_id": row["document_id"],
        "curator_file": curator_file,
        "strategy": strategy,
        "title": title,
        "text": row["text"],
        "token_count": token_count,
        "char_count": len(row["text"]),
        "segments": segments,
    }


def _wide_rows(
    lake: Lake, strategies: Sequence[str], curator_file: str, parts: Sequence[tuple[str, str]]
) -> Iterator[pa.RecordBatch]:
    """One row for each candidate; a column is null where that strategy has no row for the document."""
    present = [name for name in strategies if lake.has_table(rephrased(name).name)]
    columns = "".join(f", {name}.text AS {name}" if name in present else f", NULL AS {name}" for name in strategies)
    joins = "".join(
        f" LEFT JOIN {rephrased(name).name} AS {name} ON {name}.document_id = seed.document_id"
        f" AND {name}.curator_file = seed.curator_file AND {name}.document_id >= ? AND {name}.document_id < ?"
        for name in present
    )
    query = (
        f"SELECT seed.document_id, seed.curator_file, seed.title, seed.url, seed.text{columns}"  # noqa: S608
        f" FROM {CURATED_DOCUMENTS.name} AS seed{joins}"
        " WHERE seed.curator_file = ? AND seed.is_candidate AND NOT seed.is_duplicate"
        " AND seed.document_id >= ? AND seed.document_id < ?"
    )
    for part in parts:
        values = [*part * len(present), curator_file, *part]
        yield from lake.stream(query, values, multistrategy(tuple(strategies)).schema)
