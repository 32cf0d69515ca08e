"""What the report says about documents, drops, cost and origin: aggregates and samples of the lake, made in SQL.

In: one function for each part of the page; each gives None or nothing where its table is missing. Out: perplexity and
judge scores (`quality_data`), whole documents (`example_data`), what an architecture costs (`cost_data`), the page.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resources.lake import Lake
from synth_assets.core.tables import BASELINE, COST, CURATED_DOCUMENTS, DROPS, MERGED_DOCUMENTS, PROFILE, rephrased

COMPLETIONS = "ledger.completions"

TEXT_CHARS = 1_800
"""Characters shown of one text; the page holds a few dozen texts and has to stay small."""

DETAIL_CHARS = 200
LISTED_FILES = 20
LISTED_CATEGORIES = 15
BEFORE_STRATEGIES = "(before any)"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class SeedProfile:
    """The seed in figures. `total` is the profile's row over all files, `lengths` are binned by characters."""

    total: dict[str, Any]
    files: Rows
    file_count: int
    lengths: Rows
    categories: Rows


def headline(lake: Lake) -> dict[str, Any]:
    """Counts over everything; a figure is None where its table is missing."""
    names = (
        "seed_rows documents candidates files training_documents training_tokens original_tokens strategies "
        "calls prompt_tokens completion_tokens drops"
    )
    figures: dict[str, Any] = dict.fromkeys(names.split())
    if lake.has_table(CURATED_DOCUMENTS.name):
        figures |= _one(
            lake,
            f"""SELECT count(*) AS seed_rows, count(DISTINCT document_id) AS documents,
            count(*) FILTER (is_candidate AND NOT is_duplicate) AS candidates,
            count(DISTINCT curator_file) AS files FROM {CURATED_DOCUMENTS.name}""",
        )
    if lake.has_table(MERGED_DOCUMENTS.name):
        figures |= _one(
            lake,
            f"""SELECT count(*) AS training_documents, sum(token_count)::BIGINT AS training_tokens,
            sum(token_count) FILTER (strategy = 'original')::BIGINT AS original_tokens,
            count(DISTINCT strategy) FILTER (strategy <> 'original') AS strategies
            FROM {MERGED_DOCUMENTS.name}""",
        )
    if lake.has_table(COMPLETIONS):
        figures |= _one(
            lake,
            f"""SELECT count(*) AS calls, sum(prompt_tokens)::BIGINT AS prompt_tokens,
            sum(completion_tokens)::BIGINT AS completion_tokens FROM {COMPLETIONS}""",
        )
    if lake.has_table(DROPS.name):
        figures |= _one(lake, f"SELECT count(*) AS drops FROM {DROPS.name}")
    return figures


def seed_profile(lake: Lake) -> SeedProfile | None:
    """The seed's lengths, categories and files; None until the profile has a row."""
    if not (lake.has_table(PROFILE.name) and lake.has_table(CURATED_DOCUMENTS.name)):
        return None
    total = rows_of(lake, f"SELECT * EXCLUDE (categories) FROM {PROFILE.name} WHERE curator_file IS NULL LIMIT 1")
    if not total or not total[0]["document_count"]:
        return None
    files = rows_of(
        lake,
        f"""SELECT * EXCLUDE (categories), count(*) OVER () AS file_count
        FROM {PROFILE.name} WHERE curator_file IS NOT NULL ORDER BY document_count DESC, curator_file LIMIT ?""",
        [LISTED_FILES],
    )
    categories = rows_of(
        lake,
        f"""SELECT entry.category AS category, entry.document_count AS document_count
        FROM (SELECT unnest(categories) AS entry FROM {PROFILE.name} WHERE curator_file IS NULL)
        ORDER BY document_count DESC, category LIMIT ?""",
        [LISTED_CATEGORIES],
    )
    # Ten bins a decade: articles span three decades, and equal steps of a logarithm show all of them.
    lengths = rows_of(
        lake,
        f"""SELECT pow(10, bin / 10) AS bin_start, pow(10, (bin + 1) / 10) AS bin_end, status,
        count(*) AS document_count
        FROM (SELECT floor(log10(greatest(char_count, 1)) * 10) AS bin, CASE WHEN is_duplicate THEN 'duplicate'
        WHEN is_candidate THEN 'used' ELSE 'not a candidate' END AS status FROM {CURATED_DOCUMENTS.name})
        GROUP BY bin, status ORDER BY bin, status""",
    )
    return SeedProfile(total[0], files, files[0]["file_count"] if files else 0, lengths, categories)


def drops(lake: Lake) -> Rows | None:
    """Drops by strategy, stage and reason, with one detail of each; None until the table is there."""
    if not lake.has_table(DROPS.name):
        return None
    return rows_of(
        lake,
        f"""SELECT coalesce(strategy, ?) AS strategy, stage, reason, count(*) AS drop_count,
        left(min(detail), ?) AS detail FROM {DROPS.name} GROUP BY ALL
        ORDER BY drop_count DESC, strategy, stage, reason""",
        [BEFORE_STRATEGIES, DETAIL_CHARS],
    )


def cost(lake: Lake) -> Rows | None:
    """`reports.cost`, the total last; None until it has been written."""
    if not lake.has_table(COST.name):
        return None
    return rows_of(lake, f"SELECT * FROM {COST.name} ORDER BY strategy = 'total', strategy, model") or None


def baseline(lake: Lake) -> Rows | None:
    """`serving.baseline` by model and concurrency; None until it has been measured."""
    if not lake.has_table(BASELINE.name):
        return None
    return rows_of(lake, f"SELECT * FROM {BASELINE.name} ORDER BY model, concurrency") or None


def models(lake: Lake) -> Rows:
    """Every model that answered: what for, how often, how much and when."""
    if not lake.has_table(COMPLETIONS):
        return []
    return rows_of(
        lake,
        f"""SELECT model, model_revision, string_agg(DISTINCT strategy, ', ' ORDER BY strategy) AS strategies,
        count(*) AS calls, sum(prompt_tokens)::BIGINT AS prompt_tokens,
        sum(completion_tokens)::BIGINT AS completion_tokens,
        strftime(min(created_at), '%Y-%m-%d %H:%M') AS first_at, strftime(max(created_at), '%Y-%m-%d %H:%M') AS last_at
        FROM {COMPLETIONS} GROUP BY model, model_revision ORDER BY calls DESC, model, model_revision""",
    )


def fingerprints(lake: Lake) -> Rows:
    """The fingerprints and models behind the rows of each strategy that is in the merged set."""
    if not lake.has_table(MERGED_DOCUMENTS.name):
        return []
    merged = f"SELECT DISTINCT strategy FROM {MERGED_DOCUMENTS.name} WHERE strategy <> 'original' ORDER BY strategy"
    found: Rows = []
    for name in (row["strategy"] for row in rows_of(lake, merged)):
        table = rephrased(name).name
        if lake.has_table(table):
            found += rows_of(
                lake,
                f"""SELECT ? AS strategy, strategy_fingerprint, model, count(*) AS document_count
                FROM {table} GROUP BY ALL ORDER BY document_count DESC""",
                [name],
            )
    return found


def rows_of(lake: Lake, sql: str, parameters: Sequence[Any] = ()) -> Rows:
    """A few rows, at once."""
    return lake.query(sql, parameters).to_pylist()


def _one(lake: Lake, sql: str) -> dict[str, Any]:
    return rows_of(lake, sql)[0]
