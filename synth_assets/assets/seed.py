"""The curated seed: documents of each Curator file with their suitability, and the corpus profile.

In: reading, marking duplicates, judging suitability. Out: the rules themselves (`core.documents`, `core.suitability`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.errors import SynthError
from resources.lake import Lake
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import CURATED, CURATOR_FILE, CURATOR_FILES, EVALUATION_SETS, ONE_RUN
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.documents import CuratorDocument, read_curator_file
from synth_assets.core.profile import CorpusProfile, ProfileAccumulator
from synth_assets.core.request_planning import Drop, SeedDocument
from synth_assets.core.screening import Rejection, Screen, first_rejection
from synth_assets.core.seen_documents import SeenDocuments
from synth_assets.core.suitability import judge_suitability
from synth_assets.core.tables import CURATED_DOCUMENTS, PROFILE
from synth_assets.curator_folder import CuratorFolder
from synth_assets.evaluation_sets import EvaluationSets

CHARS_PER_CHUNK = 2_000_000
"""Text held at one time while a file streams through, 20 times over while its tokens are counted; the duplicates of a
chunk are looked up with one query, which goes through the ids of all files."""


@dg.asset(
    key=CURATED,
    deps=[CURATOR_FILES, EVALUATION_SETS],
    group_name="seed",
    kinds={"duckdb"},
    description=CURATED_DOCUMENTS.description,
    code_version=code_fingerprint(read_curator_file, judge_suitability),
    metadata=definition_metadata(CURATED_DOCUMENTS, PARTITION_COLUMN),
    partitions_def=CURATOR_FILE,
    backfill_policy=ONE_RUN,
)
def curated_documents(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    roots: dg.ResourceParam[RootVersions],
    curator: dg.ResourceParam[CuratorFolder],
    rephraser: dg.ResourceParam[ModelEndpoint],
    evaluation_sets: dg.ResourceParam[EvaluationSets],
) -> Iterator[Event]:
    """Read each file of the partitions; every row becomes a document or a named drop."""

    def stream(curator_file: str) -> Iterator[Item]:
        return read_seed(curator, lake, rephraser, curator_file, evaluation_sets.screens())

    # A file's duplicates are found in what the files before it have become.
    yield from materialize_partitions(
        context, CURATED_DOCUMENTS, lake, roots, stream, has_drops=True, is_read_by_others=True
    )


def read_seed(
    curator: CuratorFolder,
    lake: Lake,
    rephraser: ModelEndpoint,
    curator_file: str,
    screens: Sequence[Screen] = (),
    is_alone: bool = False,
) -> Iterator[Mapping[str, Any] | Drop]:
    """Rows of `seed.curated_documents` and drops of one file, streaming; `is_alone` looks for duplicates in it only.

    A suitable document that one of the `screens` rejects is no candidate: nothing is bought for it.
    Raises SynthError when the file changes while it is read: half of one version and half of another is no seed.
    """
    file = curator.file(curator_file)
    before = curator.version(curator_file, file)
    tokenizer = rephraser.tokenizer()
    seen = SeenDocuments()
    for chunk in _chunks(read_curator_file(file.source, curator_file)):
        documents = [item for item in chunk if isinstance(item, CuratorDocument)]
        ids = [document.document_id for document in documents]
        elsewhere = {} if is_alone else owned_elsewhere(lake, curator_file, ids)
        repeated = iter(seen.add([bytes.fromhex(document_id) for document_id in ids]))
        counts = iter(tokenizer.count_tokens([document.text for document in documents]) if documents else [])
        for item in chunk:
            if not isinstance(item, CuratorDocument):
                yield Drop(None, curator_file, item.row_number, None, "reading", item.reason, item.detail)
                continue
            is_repeated = next(repeated)
            rejection = _rejection(item, screens)
            is_duplicate = is_repeated or item.document_id in elsewhere
            row = _row(item, next(counts), tokenizer.fingerprint, is_duplicate, rejection)
            yield row
            if drop := _seed_drop(row, elsewhere.get(item.document_id), rejection):
                yield drop
    if curator.version(curator_file, curator.file(curator_file)) != before:
        raise SynthError(f"{file.source} changed while it was read.", "Run again when its writer has finished.")


CANDIDATE_COLUMNS = [
    "document_id", "title", "text", "row_number", "token_count", "tokenizer_fingerprint", "is_duplicate",
    "is_candidate",
]  # fmt: skip


def candidate(row: Mapping[str, Any], curator_file: str) -> SeedDocument | None:
    """The document that strategies work on; None for a row that is no candidate, or that another row holds already."""
    if row["is_duplicate"] or not row["is_candidate"]:
        return None
    return SeedDocument(
        row["document_id"],
        curator_file,
        row["title"] or "",
        row["text"],
        row["row_number"],
        row["token_count"],
        row["tokenizer_fingerprint"],
    )


def owned_elsewhere(lake: Lake, curator_file: str, document_ids: list[str]) -> dict[str, str]:
    """Which of the documents another file already holds, and which file: the first to be materialized keeps it."""
    if not document_ids or not lake.has_table(CURATED_DOCUMENTS.name):
        return {}
    found = lake.query(
        f"SELECT document_id, min(curator_file) AS owner FROM {CURATED_DOCUMENTS.name} "  # noqa: S608
        "SEMI JOIN wanted USING (document_id) WHERE NOT is_duplicate AND curator_file <> ? GROUP BY 1",
        [curator_file],
        {"wanted": pa.table({"document_id": pa.array(document_ids, pa.string())})},
    )
    return dict(zip(found["document_id"].to_pylist(), found["owner"].to_pylist(), strict=True))


def _chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += len(item.text) if isinstance(item, CuratorDocument) else 100
        if size >= CHARS_PER_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _rejection(document: CuratorDocument, screens: Sequence[Screen]) -> Rejection | None:
    if reason := judge_suitability(document.title, document.text, document.language):
        return Rejection("suitability", "not_a_candidate", reason)
    return first_rejection(screens, document.text, document.text)


def _row(
    document: CuratorDocument,
    token_count: int,
    tokenizer_fingerprint: str,
    is_duplicate: bool,
    rejection: Rejection | None,
) -> dict[str, Any]:
    is_unsuitable = rejection is not None and rejection.reason == "not_a_candidate"
    return {
        "document_id": document.document_id,
        "curator_file": document.curator_file,
        "row_number": document.row_number,
        "source_id": document.source_id,
        "title": document.title,
        "text": document.text,
        "url": document.url,
        "language": document.language,
        "categories": list(document.categories),
        "file_name": document.file_name,
        "license": document.license,
        "attribution": document.attribution,
        "char_count": len(document.text),
        "token_count": token_count,
        "tokenizer_fingerprint": tokenizer_fingerprint,
        "is_duplicate": is_duplicate,
        "is_candidate": rejection is None,
        # Of an unsuitable document the form that makes it so.
        "rejection_reason": None if rejection is None else rejection.detail if is_unsuitable else rejection.reason,
    }


def _seed_drop(row: Mapping[str, Any], owner: str | None, rejection: Rejection | None) -> Drop | None:
    if row["is_duplicate"]:
        detail = f"same title and text as a document in {owner or 'this file'}"
        rejection = Rejection("suitability", "duplicate", detail)
    if rejection is None:
        return None
    where = (row["document_id"], row["curator_file"], row["row_number"])
    return Drop(*where, None, rejection.stage, rejection.reason, rejection.detail)


@dg.asset(
    key=["seed", "profile"],
    deps=[CURATED],
    group_name="seed",
    kinds={"duckdb"},
    description=PROFILE.description,
    code_version=code_fingerprint(ProfileAccumulator),
    metadata=definition_metadata(PROFILE),
)
def corpus_profile(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> dg.MaterializeResult:
    """Length, token and category statistics, for each file and for the corpus."""
    return materialize_table(context, PROFILE, roots, lambda: _profile(lake))


PROFILE_COLUMNS = [
    "curator_file", "char_count", "token_count", "is_duplicate", "is_candidate", "rejection_reason", "categories",
    "source_id",
]  # fmt: skip


def _profile(lake: Lake) -> tuple[pa.Table, Mapping[str, Any]]:
    """One row for each file, then one for all of them; the last is the asset's metadata, too."""
    by_file: dict[str, ProfileAccumulator] = {}
    for batch in lake.scan(CURATED_DOCUMENTS.name, columns=PROFILE_COLUMNS):
        for row in batch.to_pylist():
            name = row.pop("curator_file")
            by_file.setdefault(name, ProfileAccumulator()).add(**{**row, "categories": row["categories"] or ()})
    corpus = ProfileAccumulator()
    for accumulator in by_file.values():
        corpus.update(accumulator)
    rows = [by_file[name].profile().as_row(name) for name in sorted(by_file)]
    rows.append(corpus.profile().as_row(None))
    return pa.Table.from_pylist(rows, schema=PROFILE.schema), _profile_metadata(corpus.profile())


def _profile_metadata(profile: CorpusProfile) -> dict[str, Any]:
    numbers = {
        "documents": profile.document_count,
        "candidates": profile.candidate_count,
        "duplicates": profile.duplicate_count,
        "documents that share a source id with other content": profile.duplicate_source_id_count,
        "characters": profile.char_count,
        "tokens": profile.token_count,
        "mean characters": profile.mean_chars or 0.0,
        "median characters": profile.median_chars or 0.0,
        "shortest (characters)": profile.min_chars or 0,
        "longest (characters)": profile.max_chars or 0,
        "standard deviation (characters)": profile.std_chars or 0.0,
    }
    return {
        **numbers,
        "rejected": dg.MetadataValue.json(dict(profile.rejection_counts)),
        "top categories": dg.MetadataValue.json(dict(profile.top_categories(20))),
    }
