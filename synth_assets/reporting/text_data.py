"""What the report says about the texts themselves: measures by strategy, their extremes, near-duplicates.

In: rows for the section `texts`, reduced and sampled in SQL. Out: how texts are measured (`core.measures`) and compared
(`core.near_duplicates`).
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from dataclasses import dataclass

from resources.lake import Lake
from synth_assets.core.quality_tables import NEAR_DUPLICATES, TEXT_QUALITY
from synth_assets.core.tables import CURATED_DOCUMENTS, MERGED_DOCUMENTS
from synth_assets.reporting.data import Rows, rows_of

EXCERPT_CHARS = 600


@dataclass(frozen=True)
class Measure:
    """One column of `metrics.text_quality` as the page shows it."""

    column: str
    label: str
    is_share: bool = True
    worst: str = ""
    """`DESC` or `ASC` where the far end is worth a look: the text with the highest or the lowest value is shown."""


MEASURES = (
    Measure("length_ratio", "Length, against the source", is_share=False),
    Measure("compression_ratio", "Compression ratio", is_share=False, worst="DESC"),
    Measure("novel_4gram_share", "New 4-grams"),
    Measure("copied_share", "Words in copied runs", worst="DESC"),
    Measure("kept_number_share", "Numbers of the source kept"),
    Measure("invented_number_count", "Numbers that the source has not", is_share=False, worst="DESC"),
    Measure("kept_name_share", "Names of the source kept"),
    Measure("invented_name_count", "Names that the source has not", is_share=False, worst="DESC"),
    Measure("duplicate_line_share", "Repeated lines", worst="DESC"),
    Measure("top_3gram_share", "Most frequent 3-gram"),
    Measure("opening_share", "Open alike", worst="DESC"),
    Measure("is_language_kept", "In the source's language"),
)


@dataclass(frozen=True)
class MeasuredTexts:
    """Means of every measure by strategy, the original first, and the texts at the far ends."""

    strategies: list[str]
    document_counts: dict[str, int]
    means: list[tuple[Measure, list[float | None]]]
    """One entry for each measure, with its mean for each of the strategies in order."""
    spreads: dict[str, Rows]
    """Measure to `strategy` and the quantiles `low` (0.1), `middle` and `high` (0.9), where it varies at all."""
    extremes: Rows


@dataclass(frozen=True)
class NearDuplicates:
    """How many texts of each strategy are too much like one that is kept, and the most alike of different documents."""

    counts: Rows
    pairs: Rows
    total: int


def measured_texts(lake: Lake) -> MeasuredTexts | None:
    """None until texts have been measured."""
    if not lake.has_table(TEXT_QUALITY.name):
        return None
    means = ", ".join(f"avg({measure.column}::DOUBLE) AS {measure.column}" for measure in MEASURES)
    rows = rows_of(
        lake,
        f"SELECT strategy, count(*) AS document_count, {means} FROM {TEXT_QUALITY.name} "
        "GROUP BY strategy ORDER BY strategy <> 'original', strategy",
    )
    if not rows:
        return None
    return MeasuredTexts(
        strategies=[row["strategy"] for row in rows],
        document_counts={row["strategy"]: row["document_count"] for row in rows},
        means=[(measure, [row[measure.column] for row in rows]) for measure in MEASURES],
        spreads=_spreads(lake),
        extremes=[row for measure in MEASURES if measure.worst for row in _extreme(lake, measure)]
        if _has_texts(lake)
        else [],
    )


def _has_texts(lake: Lake) -> bool:
    return lake.has_table(MERGED_DOCUMENTS.name) and lake.has_table(CURATED_DOCUMENTS.name)


def _spreads(lake: Lake) -> dict[str, Rows]:
    columns = ", ".join(f"{measure.column}::DOUBLE AS {measure.column}" for measure in MEASURES)
    names = ", ".join(measure.column for measure in MEASURES)
    rows = rows_of(
        lake,
        f"""SELECT strategy, measure, quantile_cont(value, 0.1) AS low, median(value) AS middle,
        quantile_cont(value, 0.9) AS high FROM (UNPIVOT (SELECT strategy, {columns} FROM {TEXT_QUALITY.name})
        ON {names} INTO NAME measure VALUE value) GROUP BY ALL ORDER BY measure, strategy""",
    )
    found = {measure.column: [row for row in rows if row["measure"] == measure.column] for measure in MEASURES}
    return {name: spread for name, spread in found.items() if any(row["low"] != row["high"] for row in spread)}


def _extreme(lake: Lake, measure: Measure) -> Rows:
    """The rephrased text at the far end of one measure, with its source."""
    rows = rows_of(
        lake,
        f"""SELECT measured.strategy, merged.title, measured.{measure.column}::DOUBLE AS value, measured.merged_id,
        left(merged.text, ?) AS text, length(merged.text) AS char_count,
        left(seed.text, ?) AS source, length(seed.text) AS source_char_count
        FROM (SELECT * FROM {TEXT_QUALITY.name} WHERE strategy <> 'original' AND {measure.column} IS NOT NULL
              ORDER BY {measure.column} {measure.worst}, merged_id LIMIT 1) AS measured
        JOIN {MERGED_DOCUMENTS.name} AS merged USING (merged_id, curator_file)
        JOIN {CURATED_DOCUMENTS.name} AS seed ON seed.document_id = measured.document_id
        AND seed.curator_file = measured.curator_file AND NOT seed.is_duplicate""",
        [EXCERPT_CHARS, EXCERPT_CHARS],
    )
    return [{**row, "measure": measure} for row in rows if row["value"]]


def near_duplicates(lake: Lake, sample_count: int = 4) -> NearDuplicates | None:
    """None until texts have been compared."""
    if not lake.has_table(NEAR_DUPLICATES.name):
        return None
    counts = rows_of(
        lake,
        f"SELECT strategy, kept_strategy, count(*) AS document_count, avg(similarity) AS mean_similarity "
        f"FROM {NEAR_DUPLICATES.name} GROUP BY ALL ORDER BY document_count DESC, strategy, kept_strategy",
    )
    pairs = _pairs(lake, sample_count) if _has_texts(lake) else []
    return NearDuplicates(counts, pairs, sum(row["document_count"] for row in counts))


def _pairs(lake: Lake, sample_count: int) -> Rows:
    return rows_of(
        lake,
        f"""SELECT pair.strategy, pair.kept_strategy, pair.similarity, dropped.title, kept.title AS kept_title,
        left(dropped.text, ?) AS text, length(dropped.text) AS char_count,
        left(kept.text, ?) AS kept_text, length(kept.text) AS kept_char_count
        FROM {NEAR_DUPLICATES.name} AS pair
        JOIN {MERGED_DOCUMENTS.name} AS dropped USING (merged_id, curator_file)
        JOIN {MERGED_DOCUMENTS.name} AS kept ON kept.merged_id = pair.kept_merged_id
        ORDER BY pair.document_id = kept.document_id, pair.similarity DESC, pair.merged_id LIMIT ?""",
        [EXCERPT_CHARS, EXCERPT_CHARS, sample_count],
    )
