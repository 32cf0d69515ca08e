"""What the report says about quality: perplexity and judge scores by strategy, binned and sampled in SQL.

In: rows for the charts and tables of one reference model and one judge at a time. Out: how documents are scored
(`core.perplexity`, `core.judge`), and the table `reports.quality` itself, which an asset writes.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from dataclasses import dataclass

from resources.lake import Lake
from synth_assets.core.quality import GOOD_MEAN_SCORE, SURPRISING_QUANTILE
from synth_assets.core.tables import JUDGE_SCORES, MERGED_DOCUMENTS, PERPLEXITY, QUALITY
from synth_assets.reporting.data import DETAIL_CHARS, TEXT_CHARS, Rows, rows_of

DOTS_PER_STRATEGY = 80

_USABLE = "perplexity > 0 AND isfinite(perplexity)"
_MEAN_SCORE = "(judged.coherence + judged.faithfulness + judged.information_density) / 3"

# Every text that has both figures, with its title and text. A merged text is found by file and identity, since
# the same document may be in the files of two corpora.
_SCORED = f"""WITH scored AS (
    SELECT measured.merged_id, measured.strategy, measured.reference_model, measured.perplexity, judged.judge_model,
    judged.coherence, judged.faithfulness, judged.information_density, judged.faithfulness_reasoning,
    {_MEAN_SCORE} AS mean_score, merged.title, merged.text
    FROM {PERPLEXITY.name} AS measured
    JOIN {JUDGE_SCORES.name} AS judged USING (merged_id, curator_file)
    JOIN {MERGED_DOCUMENTS.name} AS merged USING (merged_id, curator_file)
    WHERE {_USABLE} AND isfinite({_MEAN_SCORE})
)"""


@dataclass(frozen=True)
class Perplexities:
    """One reference model: ten bins a decade, medians, and texts that it gave no figure."""

    reference_model: str
    bins: Rows
    medians: Rows
    unscored_count: int


@dataclass(frozen=True)
class Judgements:
    """One judge: how often each whole score was given, for each criterion and strategy."""

    judge_model: str
    scores: Rows


@dataclass(frozen=True)
class Pairing:
    """One reference model beside one judge: sampled documents, strategies' means, surprising and yet good texts."""

    reference_model: str
    judge_model: str
    documents: Rows
    means: Rows
    surprising_perplexity: float
    """The upper quartile of all texts under this reference model."""
    surprising: Rows
    surprising_count: int


def summary(lake: Lake) -> Rows:
    """`reports.quality`, the original first."""
    if not lake.has_table(QUALITY.name):
        return []
    return rows_of(
        lake,
        f"""SELECT * REPLACE (coalesce(reference_model, '') AS reference_model) FROM {QUALITY.name}
        ORDER BY reference_model, judge_model, strategy <> 'original', strategy""",
    )


def perplexities(lake: Lake) -> list[Perplexities]:
    """One entry for each reference model that has scored texts."""
    if not lake.has_table(PERPLEXITY.name):
        return []
    return [_perplexities(lake, model) for model in _distinct(lake, "reference_model", PERPLEXITY.name)]


def _perplexities(lake: Lake, model: str) -> Perplexities:
    bins = rows_of(
        lake,
        f"""SELECT strategy, ? AS reference_model, pow(10, bin / 10) AS bin_start, pow(10, (bin + 1) / 10) AS bin_end,
        count(*) AS document_count, count(*) / sum(count(*)) OVER (PARTITION BY strategy) AS share
        FROM (SELECT strategy, floor(log10(perplexity) * 10) AS bin FROM {PERPLEXITY.name}
        WHERE reference_model = ? AND {_USABLE}) GROUP BY strategy, bin ORDER BY strategy, bin""",
        [model, model],
    )
    medians = rows_of(
        lake,
        f"""SELECT strategy, ? AS reference_model, median(perplexity) AS median_perplexity FROM {PERPLEXITY.name}
        WHERE reference_model = ? AND {_USABLE} GROUP BY strategy ORDER BY strategy""",
        [model, model],
    )
    unscored = rows_of(
        lake,
        f"""SELECT count(*) AS n FROM {PERPLEXITY.name}
        WHERE reference_model = ? AND NOT coalesce({_USABLE}, false)""",
        [model],
    )
    return Perplexities(model, bins, medians, unscored[0]["n"])


def judgements(lake: Lake) -> list[Judgements]:
    """One entry for each judge that has scored texts; means over a text's parts are rounded to whole scores."""
    if not lake.has_table(JUDGE_SCORES.name):
        return []
    statement = f"""
        SELECT strategy, ? AS judge_model, criterion, greatest(1, least(5, round(value)))::INT AS score,
        count(*) AS document_count FROM (UNPIVOT (SELECT strategy, coherence, faithfulness, information_density
        FROM {JUDGE_SCORES.name} WHERE judge_model = ?) ON coherence, faithfulness, information_density
        INTO NAME criterion VALUE value) WHERE isfinite(value) GROUP BY ALL ORDER BY strategy, criterion, score
    """
    return [
        Judgements(model, rows_of(lake, statement, [model, model]))
        for model in _distinct(lake, "judge_model", JUDGE_SCORES.name)
    ]


def pairings(lake: Lake, sample_count: int = 6) -> list[Pairing]:
    """One entry for each reference model and judge that have scored the same texts."""
    if not all(lake.has_table(spec.name) for spec in (PERPLEXITY, JUDGE_SCORES, MERGED_DOCUMENTS)):
        return []
    pairs = rows_of(
        lake,
        f"{_SCORED} SELECT DISTINCT reference_model, judge_model FROM scored ORDER BY reference_model, judge_model",
    )
    return [_pairing(lake, pair["reference_model"], pair["judge_model"], sample_count) for pair in pairs]


def _pairing(lake: Lake, reference_model: str, judge_model: str, sample_count: int) -> Pairing:
    pair = [reference_model, judge_model]
    # Ordering by a hash of the identity gives a sample that stays the same from one report to the next.
    documents = rows_of(
        lake,
        f"""{_SCORED} SELECT strategy, reference_model, judge_model, perplexity, mean_score, left(title, 80) AS title
        FROM scored WHERE reference_model = ? AND judge_model = ?
        QUALIFY row_number() OVER (PARTITION BY strategy ORDER BY hash(merged_id)) <= ?""",
        [*pair, DOTS_PER_STRATEGY],
    )
    means = rows_of(
        lake,
        f"""{_SCORED} SELECT strategy, reference_model, judge_model, exp(avg(ln(perplexity))) AS perplexity,
        avg(mean_score) AS mean_score, count(*) AS document_count
        FROM scored WHERE reference_model = ? AND judge_model = ? GROUP BY ALL ORDER BY strategy""",
        pair,
    )
    threshold = surprising_perplexity(lake, reference_model)
    # Two of a strategy at most, so that one strategy does not fill the list.
    surprising = rows_of(
        lake,
        f"""{_SCORED} SELECT strategy, title, left(text, ?) AS text, length(text) AS char_count, perplexity, mean_score,
        coherence, faithfulness, information_density, left(faithfulness_reasoning, ?) AS faithfulness_reasoning,
        count(*) OVER () AS surprising_count
        FROM scored WHERE reference_model = ? AND judge_model = ? AND perplexity >= ? AND mean_score >= ?
        QUALIFY row_number() OVER (PARTITION BY strategy ORDER BY mean_score DESC, perplexity DESC, merged_id) <= 2
        ORDER BY mean_score DESC, perplexity DESC, merged_id LIMIT ?""",
        [TEXT_CHARS, DETAIL_CHARS, *pair, threshold, GOOD_MEAN_SCORE, sample_count],
    )
    count = surprising[0]["surprising_count"] if surprising else 0
    return Pairing(reference_model, judge_model, documents, means, threshold, surprising, count)


def surprising_perplexity(lake: Lake, reference_model: str) -> float:
    """From here on a text is surprising: the upper quartile of all texts under that reference model."""
    rows = rows_of(
        lake,
        f"""SELECT quantile_cont(perplexity, {SURPRISING_QUANTILE}) AS threshold
        FROM {PERPLEXITY.name} WHERE reference_model = ? AND {_USABLE}""",
        [reference_model],
    )
    return rows[0]["threshold"]


def _distinct(lake: Lake, column: str, table: str) -> list[str]:
    rows = rows_of(lake, f"SELECT DISTINCT {column} AS name FROM {table} WHERE {column} IS NOT NULL ORDER BY name")
    return [row["name"] for row in rows]
