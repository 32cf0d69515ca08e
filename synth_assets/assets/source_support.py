"""How much of every rephrased text its source explains, under the reference model for perplexity.

In: streaming merged documents past the scorer, and reading what was scored before. Out: the figures
(`core.source_support`) and the model (`reference`). Never part of a run: each text costs the model its source as well,
three to ten times what its perplexity costs. It is asked for by name.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from synth_assets.assets.beside_source import documents_beside_source
from synth_assets.assets.keys import CURATOR_FILE, MERGED, ONE_RUN, PERPLEXITY_REFERENCE, SOURCE_SUPPORT
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.reference import ReferenceScorer
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.quality_tables import SOURCE_SUPPORT as SOURCE_SUPPORT_TABLE
from synth_assets.core.source_support import SourcePair, SourceSupport, joined

SUPPORT_VERSION = "1"
"""Raised when the definition of a figure changes: then rows that are there do not count any more."""
ROWS_PER_LOOKUP = 256

_FIGURES = (
    "bits_per_byte",
    "bits_per_byte_given_source",
    "explained_share",
    "least_explained_share",
    "least_supported_sentence",
    "scored_segment_count",
)


@dg.asset(
    key=SOURCE_SUPPORT,
    deps=[MERGED, PERPLEXITY_REFERENCE],
    group_name="metrics",
    kinds={"pytorch", "duckdb"},
    description=SOURCE_SUPPORT_TABLE.description,
    code_version=SUPPORT_VERSION,
    metadata=definition_metadata(SOURCE_SUPPORT_TABLE, PARTITION_COLUMN),
    pool="perplexity",
    partitions_def=CURATOR_FILE,
    backfill_policy=ONE_RUN,
)
def source_support(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    roots: dg.ResourceParam[RootVersions],
    reference: dg.ResourceParam[ReferenceScorer],
) -> Iterator[Event]:
    """Score what has changed since this table was last made; keep the rest."""
    if reference.model.warning:
        context.log.warning(reference.model.warning)

    def stream(curator_file: str) -> Iterator[Item]:
        return _rows(lake, reference, curator_file)

    yield from materialize_partitions(context, SOURCE_SUPPORT_TABLE, lake, roots, stream)


def _rows(lake: Lake, reference: ReferenceScorer, curator_file: str) -> Iterator[dict[str, Any]]:
    beside = ((row, source) for row, source in documents_beside_source(lake, curator_file) if source is not None)
    while chunk := list(islice(beside, ROWS_PER_LOOKUP)):
        pairs = [source_pairs(row, source) for row, source in chunk]
        keys = [_support_key(reference.identity(), of_row) for of_row in pairs]
        known = _known(lake, curator_file, keys)
        new = {key: of_row for key, of_row in zip(keys, pairs, strict=True) if key not in known}
        scored = reference.source_supports([pair for of_row in new.values() for pair in of_row])
        for key, of_row in new.items():
            known[key] = _figures(list(islice(scored, len(of_row))))
        for (row, _), of_row, key in zip(chunk, pairs, keys, strict=True):
            yield {
                "merged_id": row["merged_id"],
                "document_id": row["document_id"],
                "curator_file": curator_file,
                "strategy": row["strategy"],
                "reference_model": reference.model.name,
                **known[key],
                "segment_count": len(of_row),
                "support_key": key,
            }


def source_pairs(row: dict[str, Any], source: str) -> list[SourcePair]:
    """What the model wrote of each segment, beside the passage that it was shown."""
    ranges = zip(row["source_starts"], row["source_ends"], row["starts"], row["ends"], strict=True)
    return [SourcePair(source[begin:end], row["text"][start:stop]) for begin, end, start, stop in ranges]


def _figures(supports: Sequence[SourceSupport | None]) -> dict[str, Any]:
    found = [support for support in supports if support is not None]
    whole = joined(found)
    least = whole.least_supported if whole else None
    return {
        "bits_per_byte": whole.bits_per_byte if whole else None,
        "bits_per_byte_given_source": whole.bits_per_byte_given_source if whole else None,
        "explained_share": whole.explained_share if whole else None,
        "least_explained_share": least.explained_share if least else None,
        "least_supported_sentence": least.text.strip() if least else None,
        "scored_segment_count": len(found),
    }


def _support_key(reference: str, pairs: Sequence[SourcePair]) -> str:
    """Hash (32 hex digits) of all that decides a text's figures."""
    digest = hashlib.blake2b(f"{SUPPORT_VERSION}|{reference}".encode(), digest_size=16)
    for pair in pairs:
        for text in (pair.source, pair.text):
            # Lengths keep texts apart: no two lists of pairs are hashed as the same bytes.
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8))
            digest.update(encoded)
    return digest.hexdigest()


def _known(lake: Lake, curator_file: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Figures of the file's texts that were scored before, by key."""
    table = SOURCE_SUPPORT_TABLE.name
    if not lake.has_table(table):
        return {}
    found = lake.query(
        f"SELECT support_key, {', '.join(_FIGURES)} FROM {table} SEMI JOIN wanted USING (support_key)"  # noqa: S608
        " WHERE curator_file = ?",
        [curator_file],
        {"wanted": pa.table({"support_key": pa.array(sorted(set(keys)), pa.string())})},
    )
    return {row.pop("support_key"): row for row in found.to_pylist()}
