"""What the data card says beyond the mix itself: sources, licences, models, prompts, drops, measures.

In: queries over one view of the lake. Out: wording and escaping (`card`), counts of the mix (`selection`). A table that
does not exist gives no rows, and the card says so.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project and names of tables' columns.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from resources.ledger import COMPLETIONS
from synth_assets.core.quality_tables import TEXT_QUALITY
from synth_assets.core.tables import CURATED_DOCUMENTS, DROPS, JUDGE_SCORES, MERGED_DOCUMENTS, PERPLEXITY, rephrased
from synth_assets.exporting.lake_view import LakeView

MOST_ROWS = 20
"""Of lists that grow with the corpus, such as files: those with the most documents."""

Rows = list[dict[str, Any]]


def source_files(view: LakeView) -> Rows:
    """Curator files by number of documents: `value`, `documents`, and of all `value_count`."""
    return _counted(view, "curator_file")


def seed_values(view: LakeView, column: str) -> Rows:
    """Values of a column of the seed by number of documents, null where it is not stated; columns as above."""
    if not view.has(CURATED_DOCUMENTS.name) or column not in view.columns(CURATED_DOCUMENTS.name).names:
        return []
    return _counted(view, column)


def models(view: LakeView, strategies: Sequence[str]) -> Rows:
    """Whose answers were bought for the strategies' texts: `strategy`, `model`, `model_revision`, `answers`.

    Revisions are the ledger's: of two that answered for one model, both are listed. Looking up the answers of each text
    would hold every request key, 100 bytes each.
    """
    tables = [(name, rephrased(name).name) for name in strategies if view.has(rephrased(name).name)]
    if not tables or not view.has(COMPLETIONS):
        return []
    used = " UNION ALL ".join(
        f"SELECT DISTINCT '{name}' AS strategy, model FROM {view.at(table)}" for name, table in tables
    )
    return view.rows(
        f"SELECT strategy, model, model_revision, count(*) AS answers FROM {view.at(COMPLETIONS)}"
        f" SEMI JOIN ({used}) USING (strategy, model) GROUP BY ALL ORDER BY ALL"
    )


def drops(view: LakeView) -> Rows:
    """Inputs that gave no text: `strategy` (null before any strategy), `stage`, `reason`, `documents`."""
    if not view.has(DROPS.name):
        return []
    return view.rows(
        f"SELECT strategy, stage, reason, count(*) AS documents FROM {view.at(DROPS.name)} GROUP BY ALL"
        " ORDER BY strategy NULLS FIRST, documents DESC, stage, reason"
    )


def perplexities(view: LakeView) -> Rows:
    """Means by strategy and reference model, over all merged documents: geometric for perplexity."""
    if not view.has(PERPLEXITY.name):
        return []
    return view.rows(
        "SELECT strategy, reference_model, count(*) AS documents, exp(avg(ln(perplexity))) AS perplexity,"
        f" avg(bits_per_byte) AS bits_per_byte FROM {view.at(PERPLEXITY.name)}"
        " WHERE perplexity > 0 AND isfinite(perplexity) GROUP BY 1, 2 ORDER BY 2, 1"
    )


def judgements(view: LakeView) -> Rows:
    """Mean scores by strategy and judge, and how many texts of the strategy were judged."""
    if not view.has(JUDGE_SCORES.name):
        return []
    return view.rows(
        "SELECT strategy, judge_model, count(*) AS judged, any_value(total) AS documents, avg(coherence) AS coherence,"
        " avg(faithfulness) AS faithfulness, avg(information_density) AS information_density"
        f" FROM {view.at(JUDGE_SCORES.name)} JOIN"
        f" (SELECT strategy, count(*) AS total FROM {view.at(MERGED_DOCUMENTS.name)} GROUP BY 1) USING (strategy)"
        " GROUP BY 1, 2 ORDER BY 2, 1"
    )


def text_measures(view: LakeView) -> tuple[list[str], Rows]:
    """Names of the measures of `metrics.text_quality`, and their means by strategy."""
    if not view.has(TEXT_QUALITY.name):
        return [], []
    names = [
        field.name
        for field in view.columns(TEXT_QUALITY.name)
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
    ]
    means = "".join(f', avg("{name}"::DOUBLE) AS "{name}"' for name in names)
    return names, view.rows(f"SELECT strategy{means} FROM {view.at(TEXT_QUALITY.name)} GROUP BY 1 ORDER BY 1")


def _counted(view: LakeView, column: str) -> Rows:
    if not view.has(CURATED_DOCUMENTS.name):
        return []
    return view.rows(
        "SELECT *, count(*) OVER () AS value_count FROM"
        f" (SELECT {column} AS value, count(*) AS documents FROM {view.at(CURATED_DOCUMENTS.name)}"
        " WHERE is_candidate AND NOT is_duplicate GROUP BY 1)"
        f" ORDER BY documents DESC, value LIMIT {MOST_ROWS}"
    )
