"""What perplexity and the judge say together: per strategy, and which texts are surprising and yet good.

In: pure functions over the tables `metrics.perplexity` and `metrics.judge_scores`. Out: how the scores come
about (`perplexity`, `judge`). Figures of two reference models, or of two judges, are never averaged or ranked
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from pyarrow.dataset import Expression

JUDGE_DIMENSIONS = ("coherence", "faithfulness", "information_density")

SURPRISING_QUANTILE = 0.75
"""Surprising: in the top quarter of perplexity among all texts scored by the same reference model."""

GOOD_MEAN_SCORE = 4.0
"""Good: the mean of the judge's three scores, from 1 to 5, is at least this."""

MIN_PAIRS_FOR_CORRELATION = 3

_KEYS = ("strategy", "reference_model", "judge_model")

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StrategySummary:
    """One strategy under one reference model and one judge (None: nothing of it was judged)."""

    strategy: str
    reference_model: str
    judge_model: str | None
    document_count: int
    mean_perplexity: float | None
    median_perplexity: float | None
    mean_bits_per_byte: float | None
    judged_count: int
    mean_coherence: float | None
    mean_faithfulness: float | None
    mean_information_density: float | None
    surprising_and_good_count: int


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of perplexity with one judge dimension, -1 to 1."""

    strategy: str
    reference_model: str
    judge_model: str
    dimension: str
    pair_count: int
    correlation: float | None
    """None with fewer than 3 pairs, or where all values of one side are equal."""


@dataclass(frozen=True)
class ScoredText:
    """A text that is surprising and good."""

    merged_id: str
    document_id: str
    strategy: str
    reference_model: str
    judge_model: str
    perplexity: float
    mean_score: float


@dataclass(frozen=True)
class SurprisingAndGood:
    """The answer to the question which texts are surprising and yet good."""

    texts: list[ScoredText]
    """The most surprising first, at most `top_n` for each reference model and judge."""
    counts: dict[tuple[str, str, str], tuple[int, int]]
    """(strategy, reference model, judge) to (texts that are both, texts that have both figures)."""
    answer: str
    """Which strategy has most of them, in words."""


def summarise(perplexity: pa.Table, judge_scores: pa.Table) -> list[StrategySummary]:
    """One row for each strategy, reference model and judge, sorted by these names."""
    joined = _join(perplexity, judge_scores)
    both = surprising_and_good(perplexity, judge_scores).counts
    rows: list[StrategySummary] = []
    for (strategy, reference), group in _groups(perplexity, _KEYS[:2]):
        is_same = (_field("strategy") == strategy) & (_field("reference_model") == reference)
        judged = joined.filter(is_same)
        by_judge: list[tuple[str | None, pa.Table]] = [(key[0], part) for key, part in _groups(judged, _KEYS[2:])]
        for judge, part in by_judge or [(None, judged)]:
            rows.append(
                StrategySummary(
                    strategy=strategy,
                    reference_model=reference,
                    judge_model=judge,
                    document_count=group.num_rows,
                    mean_perplexity=_mean(group, "perplexity"),
                    median_perplexity=_quantile(group, "perplexity", 0.5),
                    mean_bits_per_byte=_mean(group, "bits_per_byte"),
                    judged_count=part.num_rows,
                    mean_coherence=_mean(part, "coherence"),
                    mean_faithfulness=_mean(part, "faithfulness"),
                    mean_information_density=_mean(part, "information_density"),
                    surprising_and_good_count=both.get((strategy, reference, judge or ""), (0, 0))[0],
                )
            )
    return rows


def rank_correlations(perplexity: pa.Table, judge_scores: pa.Table) -> list[RankCorrelation]:
    """Spearman's correlation for each strategy, reference model, judge and dimension."""
    rows: list[RankCorrelation] = []
    for (strategy, reference, judge), group in _groups(_join(perplexity, judge_scores), _KEYS):
        for dimension in JUDGE_DIMENSIONS:
            pairs = group.filter(_field("perplexity").is_valid() & _field(dimension).is_valid())
            value = spearman(_floats(pairs, "perplexity"), _floats(pairs, dimension))
            rows.append(RankCorrelation(strategy, reference, judge, dimension, pairs.num_rows, value))
    return rows


def surprising_and_good(perplexity: pa.Table, judge_scores: pa.Table, top_n: int = 10) -> SurprisingAndGood:
    """The texts in the top quarter of perplexity whose mean judge score is at least 4, and who makes most."""
    thresholds = {
        reference: _quantile(group, "perplexity", SURPRISING_QUANTILE)
        for (reference,), group in _groups(perplexity, _KEYS[1:2])
    }
    counts: dict[tuple[str, str, str], tuple[int, int]] = {}
    chosen: dict[tuple[str, str], list[ScoredText]] = {}
    for (strategy, reference, judge), group in _groups(_join(perplexity, judge_scores), _KEYS):
        complete = group.filter(_field("perplexity").is_valid() & _field("mean_score").is_valid())
        if complete.num_rows == 0:
            continue
        is_surprising = _field("perplexity") >= thresholds[reference]
        found = complete.filter(is_surprising & (_field("mean_score") >= GOOD_MEAN_SCORE))
        counts[strategy, reference, judge] = (found.num_rows, complete.num_rows)
        columns = found.select([field.name for field in fields(ScoredText)])
        chosen.setdefault((reference, judge), []).extend(ScoredText(**row) for row in columns.to_pylist())
    texts = [
        text
        for group in chosen.values()
        for text in sorted(group, key=lambda text: (-text.perplexity, text.merged_id))[:top_n]
    ]
    return SurprisingAndGood(texts, counts, _answer(counts))


def _answer(counts: dict[tuple[str, str, str], tuple[int, int]]) -> str:
    if not any(found for found, _ in counts.values()):
        return "No text that was scored and judged is both surprising and good."
    sentences: list[str] = []
    for reference, judge in sorted({key[1:] for key in counts}):
        shares = {key[0]: value for key, value in counts.items() if key[1:] == (reference, judge)}
        most = max(shares, key=lambda strategy: (shares[strategy][0], strategy))
        rate = max(shares, key=lambda strategy: (shares[strategy][0] / shares[strategy][1], strategy))
        sentence = f"{most} has the most texts that are surprising ({reference}) and good ({judge}): "
        sentence += f"{shares[most][0]} of {shares[most][1]}"
        if rate != most:
            sentence += f"; {rate} has the largest share: {shares[rate][0]} of {shares[rate][1]}"
        sentences.append(sentence + ".")
    return " ".join(sentences)


def spearman(left: _Floats, right: _Floats) -> float | None:
    """Rank correlation with ties given their mean rank; None where it is not defined."""
    if len(left) < MIN_PAIRS_FOR_CORRELATION:
        return None
    left, right = _mean_ranks(left), _mean_ranks(right)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def _mean_ranks(values: _Floats) -> _Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    return (last_rank - (counts - 1) / 2)[inverse]


def _join(perplexity: pa.Table, judge_scores: pa.Table) -> pa.Table:
    """Texts that were scored and judged, with the mean of the judge's scores (null where one is missing)."""
    scored = perplexity.select(["merged_id", "document_id", "strategy", "reference_model", "perplexity"])
    judged = judge_scores.select(["merged_id", "judge_model", *JUDGE_DIMENSIONS])
    scores = np.array([judged[name].to_numpy().astype(np.float64) for name in JUDGE_DIMENSIONS])
    mean_score = pa.array(scores.mean(axis=0), type=pa.float64(), from_pandas=True)
    return scored.join(judged.append_column("mean_score", mean_score), "merged_id", join_type="inner")


def _groups(table: pa.Table, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], pa.Table]]:
    """Sub-tables by the values of `keys`, sorted by them."""
    distinct = table.group_by(list(keys)).aggregate([]).to_pylist()
    for values in sorted(tuple(row[key] for key in keys) for row in distinct):
        group = table
        for key, value in zip(keys, values, strict=True):
            group = group.filter(_field(key) == value)
        yield values, group


def _floats(table: pa.Table, column: str) -> _Floats:
    return table[column].drop_null().to_numpy().astype(np.float64)


def _mean(table: pa.Table, column: str) -> float | None:
    values = _floats(table, column)
    return float(values.mean()) if len(values) else None


def _quantile(table: pa.Table, column: str, share: float) -> float | None:
    values = _floats(table, column)
    return float(np.quantile(values, share)) if len(values) else None


def _field(name: str) -> Expression:
    # The module makes a Python function for each of Arrow's 280, which takes 40 ms: too long for whoever only plans.
    import pyarrow.compute as pc

    return pc.field(name)
