"""The tables that others script against: name, explicit Arrow schema, and which columns make a row's version.

In: every table the assets write. Out: how rows come about, and how they are stored. A column that only tells where a
row came from (fingerprint, row number, token counts of the call) is no part of the version, so that a row whose
content did not change keeps everything below it fresh (early cut-off).
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class TableSpec:
    """One table: `name` is schema.table, `version_columns` are what the data version hashes."""

    name: str
    schema: pa.Schema
    version_columns: tuple[str, ...]
    description: str = ""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SEGMENT_TYPE = pa.struct(
    [
        pa.field("segment_index", _I),
        pa.field("source_start", _I),
        pa.field("source_end", _I),
        pa.field("text_start", _I),
        pa.field("text_end", _I),
        pa.field("request_key", _S),
    ]
)
"""One segment: its character range in the source, its character range in the text made of it, the call behind it."""

CURATED_DOCUMENTS = TableSpec(
    "seed.curated_documents",
    _schema(
        document_id=_S,
        curator_file=_S,
        row_number=_I,
        source_id=_S,
        title=_S,
        text=_S,
        url=_S,
        language=_S,
        categories=pa.list_(_S),
        file_name=_S,
        license=_S,
        attribution=_S,
        char_count=_I,
        token_count=_I,
        tokenizer_fingerprint=_S,
        is_duplicate=_B,
        is_candidate=_B,
        rejection_reason=_S,
    ),
    (
        "document_id",
        "title",
        "url",
        "language",
        "categories",
        "is_duplicate",
        "is_candidate",
        "rejection_reason",
    ),
    "One document of one Curator file.",
)

PROFILE = TableSpec(
    "seed.profile",
    _schema(
        curator_file=_S,
        document_count=_I,
        candidate_count=_I,
        duplicate_count=_I,
        mean_chars=_F,
        median_chars=_F,
        min_chars=_I,
        max_chars=_I,
        std_chars=_F,
        char_count=_I,
        token_count=_I,
        categories=pa.list_(pa.struct([pa.field("category", _S), pa.field("document_count", _I)])),
    ),
    (
        "curator_file",
        "document_count",
        "candidate_count",
        "duplicate_count",
        "char_count",
        "token_count",
        "categories",
    ),
    "Length, token and category statistics of each file and, where curator_file is null, of all of them.",
)

REPHRASED_SCHEMA = _schema(
    document_id=_S,
    curator_file=_S,
    text=_S,
    structured=_S,
    segment_count=_I,
    dropped_segment_count=_I,
    prompt_tokens=_I,
    completion_tokens=_I,
    model=_S,
    strategy_fingerprint=_S,
    segments=pa.list_(SEGMENT_TYPE),
)


def rephrased(strategy: str, description: str = "") -> TableSpec:
    """The table of one strategy: one row is one seed document in that strategy."""
    return TableSpec(f"rephrased.{strategy}", REPHRASED_SCHEMA, ("document_id", "text", "structured"), description)


MERGED_DOCUMENTS = TableSpec(
    "merged.documents",
    _schema(
        merged_id=_S,
        document_id=_S,
        curator_file=_S,
        strategy=_S,
        title=_S,
        text=_S,
        token_count=_I,
        char_count=_I,
        segments=pa.list_(SEGMENT_TYPE),
    ),
    ("merged_id", "document_id", "strategy", "text"),
    "One training document, long form: the originals and every strategy.",
)


def multistrategy(strategies: tuple[str, ...]) -> TableSpec:
    """The wide form, as the notebook exports it: one seed document, and a column for each strategy."""
    columns = dict(document_id=_S, curator_file=_S, title=_S, url=_S, text=_S, **dict.fromkeys(strategies, _S))
    return TableSpec(
        "merged.multistrategy",
        _schema(**columns),
        ("document_id", "text", *strategies),
        "One seed document, wide.",
    )


PERPLEXITY = TableSpec(
    "metrics.perplexity",
    _schema(
        merged_id=_S,
        document_id=_S,
        curator_file=_S,
        strategy=_S,
        reference_model=_S,
        perplexity=_F,
        bits_per_byte=_F,
        negative_log_likelihood=_F,
        token_count=_I,
        byte_count=_I,
    ),
    ("merged_id", "reference_model", "perplexity", "token_count"),
    "One merged document scored by the reference model; figures of two reference models are never compared.",
)

JUDGE_SCORES = TableSpec(
    "metrics.judge_scores",
    _schema(
        merged_id=_S,
        document_id=_S,
        curator_file=_S,
        strategy=_S,
        judge_model=_S,
        coherence=_F,
        faithfulness=_F,
        information_density=_F,
        coherence_reasoning=_S,
        faithfulness_reasoning=_S,
        information_density_reasoning=_S,
        part_count=_I,
        prompt_tokens=_I,
        completion_tokens=_I,
        request_keys=pa.list_(_S),
    ),
    ("merged_id", "judge_model", "coherence", "faithfulness", "information_density"),
    "One judged document: means over its parts of scores from 1 to 5.",
)

COST = TableSpec(
    "reports.cost",
    _schema(
        strategy=_S,
        requests=_I,
        prompt_tokens=_I,
        completion_tokens=_I,
        flops=_F,
        gpu_hours=_F,
        cost_usd=_F,
        estimated_requests=_I,
        estimated_prompt_tokens=_I,
        estimated_completion_tokens=_I,
        estimated_flops=_F,
        estimated_gpu_hours=_F,
        estimated_cost_usd=_F,
        model=_S,
        hardware=_S,
        cached_prompt_tokens=_I,
        wasted_cost_usd=_F,
    ),
    (
        "strategy",
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "flops",
        "gpu_hours",
        "cost_usd",
        "wasted_cost_usd",
    ),
    "One strategy and model, the judge, and a row `total`. Cached prompt tokens are among the prompt tokens and cost "
    "nothing; `wasted_cost_usd` sums up `reports.waste`, of which failed calls come on top of `cost_usd`.",
)

QUALITY = TableSpec(
    "reports.quality",
    _schema(
        strategy=_S,
        document_count=_I,
        reference_model=_S,
        mean_perplexity=_F,
        median_perplexity=_F,
        mean_bits_per_byte=_F,
        judged_count=_I,
        judge_model=_S,
        mean_coherence=_F,
        mean_faithfulness=_F,
        mean_information_density=_F,
        surprising_and_good_count=_I,
    ),
    ("strategy", "document_count", "mean_perplexity", "judged_count", "mean_coherence", "mean_faithfulness"),
    "Perplexity beside judge scores, one row for each strategy.",
)

BASELINE = TableSpec(
    "serving.baseline",
    _schema(
        model=_S,
        base_url=_S,
        hardware=_S,
        concurrency=_I,
        requests=_I,
        prompt_tokens=_I,
        completion_tokens=_I,
        wall_seconds=_F,
        tokens_per_second=_F,
        mfu=_F,
        mbu=_F,
    ),
    ("model", "concurrency", "tokens_per_second"),
    "Measured throughput of the model server: sequential first, then at growing concurrency.",
)

DROPS = TableSpec(
    "ledger.drops",
    _schema(
        document_id=_S,
        curator_file=_S,
        row_number=_I,
        strategy=_S,
        stage=_S,
        reason=_S,
        detail=_S,
        created_at=pa.timestamp("us", tz="UTC"),
    ),
    ("document_id", "curator_file", "row_number", "strategy", "stage", "reason"),
    "One input that gave no output. `strategy` is null where it fell out before any strategy, and `mix` for a finished "
    "text that is left out of the training data as a near-duplicate.",
)

DROP_REASONS = frozenset(
    {"unreadable_row", "missing_text", "duplicate", "not_a_candidate", "context_overflow", "truncated", "empty"}
    | {"refused", "invalid_schema", "too_short", "too_long", "low_quality", "near_duplicate", "contaminated"}
)
"""Every value that `ledger.drops.reason` can have."""
