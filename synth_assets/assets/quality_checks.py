"""Asset checks on how good the texts are, by what the measures say of them.

In: drift against the last evaluation, gibberish. Out: how many documents are dropped (`accounts_check`).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.accounts_check import LEAST_DOCUMENTS
from synth_assets.assets.history import history_of
from synth_assets.assets.keys import TEXT_QUALITY
from synth_assets.assets.made_check import build_made_check
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.quality_tables import TEXT_QUALITY as TEXT_QUALITY_TABLE
from synth_assets.core.tables import DROPS

MAX_LENGTH_CHANGE = 0.25
"""Relative change of a strategy's mean length ratio."""
MAX_SHARE_CHANGE = 0.1
"""Change of a strategy's drop share or mean share of novel 4-grams."""
MAX_GIBBERISH_SHARE = 0.05
LEAST_WORDS = 50
"""A shorter text may well be a list of names, which is in no language."""

STEADY = "measures_are_steady"
FIGURES = "figures"
"""Metadata entry of the check on drift: what the next evaluation is held against."""

Figures = Mapping[str, Mapping[str, float | None]]
"""By strategy: documents, drop_share, length_ratio, novel_4gram_share."""


def build_quality_checks() -> list[dg.AssetChecksDefinition]:
    """All checks of this module."""
    return [build_made_check(TEXT_QUALITY), _drift(), _gibberish()]


def figures_of(lake: Lake) -> Figures:
    """What drift is looked for in, of every strategy that has texts."""
    sql = (
        "SELECT strategy, count(*) AS documents, avg(length_ratio) AS length_ratio, "  # noqa: S608
        "avg(novel_4gram_share) AS novel_4gram_share, coalesce(any_value(dropped.n), 0) AS dropped "
        f"FROM {TEXT_QUALITY_TABLE.name} LEFT JOIN (SELECT strategy, count(*) AS n FROM {DROPS.name} GROUP BY 1) "
        "AS dropped USING (strategy) WHERE strategy <> ? GROUP BY 1 ORDER BY 1"
    )
    return {
        row["strategy"]: {
            "documents": row["documents"],
            "drop_share": row["dropped"] / (row["documents"] + row["dropped"]),
            "length_ratio": row["length_ratio"],
            "novel_4gram_share": row["novel_4gram_share"],
        }
        for row in lake.query(sql, [ORIGINAL]).to_pylist()
    }


def drifts(before: Figures, now: Figures) -> list[str]:
    """What changed further than it should, in words; strategies with few documents are left out."""
    found: list[str] = []
    for strategy in sorted(before.keys() & now.keys()):
        old, new = before[strategy], now[strategy]
        if min(old["documents"] or 0, new["documents"] or 0) < LEAST_DOCUMENTS:
            continue
        for name in ("drop_share", "length_ratio", "novel_4gram_share"):
            was, is_now = old.get(name), new.get(name)
            if was is None or is_now is None:
                continue
            allowed = MAX_LENGTH_CHANGE * was if name == "length_ratio" else MAX_SHARE_CHANGE
            if abs(is_now - was) > allowed:
                found.append(f"{strategy} {name} {was:.3g} -> {is_now:.3g}")
    return found


def _drift() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=TEXT_QUALITY,
        name=STEADY,
        description=f"No strategy's mean length ratio changed by more than {MAX_LENGTH_CHANGE:.0%}, nor its drop share "
        f"or its share of novel 4-grams by more than {MAX_SHARE_CHANGE}, since this was last looked at.",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        now = figures_of(lake)
        found = drifts(_last_figures(context.instance), now)
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"changed: {', '.join(found) or 'nothing'}",
            metadata={FIGURES: dg.MetadataValue.json({name: dict(values) for name, values in now.items()})},
        )

    return check


def _last_figures(instance: dg.DagsterInstance) -> Figures:
    event = history_of(instance).last_evaluation(dg.AssetCheckKey(TEXT_QUALITY, STEADY))
    evaluation = event.dagster_event.event_specific_data if event and event.dagster_event else None
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return {}
    kept: Any = evaluation.metadata.get(FIGURES)
    return kept.value if isinstance(kept, dg.JsonMetadataValue) and isinstance(kept.value, dict) else {}


def _gibberish() -> dg.AssetChecksDefinition:
    sql = (
        f"SELECT strategy, avg((language IS NULL)::DOUBLE) AS share FROM {TEXT_QUALITY_TABLE.name} "  # noqa: S608
        "WHERE word_count >= ? GROUP BY 1 HAVING count(*) >= ? AND avg((language IS NULL)::DOUBLE) > ? ORDER BY 1"
    )

    @dg.asset_check(
        asset=TEXT_QUALITY,
        name="texts_are_in_a_language",
        description=f"Of the texts of {LEAST_WORDS} words or more, at most {MAX_GIBBERISH_SHARE:.0%} of any strategy's "
        "are in no language that can be told.",
    )
    def check(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        high = lake.query(sql, [LEAST_WORDS, LEAST_DOCUMENTS, MAX_GIBBERISH_SHARE]).to_pylist()
        names = ", ".join(f"{row['strategy']} {row['share']:.1%}" for row in high)
        return dg.AssetCheckResult(
            passed=not high,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"too much gibberish: {names or 'none'}",
        )

    return check
