"""Estimate against actual as the ledger grows: `reports.estimates`.

In: the asset, and which requests were estimated from the same ledger. Out: the arithmetic (`core.estimate_errors`).
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from resources.ledger import COMPLETIONS
from synth_assets.assets.keys import ESTIMATES, JUDGE_SCORES, MERGED
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata, markdown_table
from synth_assets.assets.versions import RootVersions
from synth_assets.core.bill_tables import ESTIMATES as ESTIMATES_TABLE
from synth_assets.core.bill_tables import USAGE
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.estimate_errors import PlannedTogether, estimate_rows
from synth_assets.reporting.chart_style import markdown_image
from synth_assets.reporting.estimate_chart import estimate_chart

_SHOWN = (
    "strategy", "model", "answers_before", "requests", "estimated_completion_tokens", "completion_tokens",
    "relative_error",
)  # fmt: skip

_TOTALS = [field.name for field in fields(PlannedTogether)][3:]

# A purchase plans with what the ledger holds when it starts: an answer belongs to the last one that began before it.
# All answers of a commit have one time, so that sums of commits are joined and not answers.
_BY_PURCHASE = f"""
WITH commits AS (
    SELECT strategy, model, created_at, count(*) AS requests, {", ".join(f"sum({name}) AS {name}" for name in _TOTALS)}
    FROM {COMPLETIONS} WHERE finish_reason <> 'context_overflow' GROUP BY ALL
), purchases AS (
    SELECT DISTINCT model, started_at FROM {{usage}}
)
SELECT strategy, commits.model, {", ".join(f"sum({name})::BIGINT AS {name}" for name in ("requests", *_TOTALS))}
FROM commits ASOF LEFT JOIN purchases
ON commits.model = purchases.model AND commits.created_at >= purchases.started_at
GROUP BY strategy, commits.model, started_at ORDER BY strategy, commits.model, started_at NULLS FIRST
"""  # noqa: S608 - constants of this project


def planned_together(lake: Lake) -> list[PlannedTogether]:
    """The answered requests of each strategy, model and purchase, in order of time; some hundred rows at most.

    Answers older than the first measured purchase count as one. Of two purchases of one model at the same time, an
    answer goes to the one that began later.
    """
    if not lake.has_table(COMPLETIONS):
        return []
    missing = {} if lake.has_table(USAGE.name) else {"missing_usage": pa.Table.from_batches([], USAGE.schema)}
    statement = _BY_PURCHASE.format(usage=next(iter(missing), USAGE.name))
    return [PlannedTogether(**row) for row in lake.query(statement, [], missing).to_pylist()]


@dg.asset(
    key=ESTIMATES,
    deps=[MERGED, JUDGE_SCORES],
    group_name="reports",
    kinds={"duckdb"},
    description=ESTIMATES_TABLE.description,
    code_version=code_fingerprint(planned_together, estimate_rows),
    metadata=definition_metadata(ESTIMATES_TABLE),
)
def estimates(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> dg.MaterializeResult:
    """What was expected of each request beside what came, by what the ledger knew when it was planned."""

    def build() -> tuple[pa.Table, Mapping[str, Any]]:
        rows = list(estimate_rows(planned_together(lake)))
        table = pa.Table.from_pylist(rows, schema=ESTIMATES_TABLE.schema)
        metadata: dict[str, Any] = {"estimate against actual": markdown_table(table, _SHOWN)}
        if rows:
            metadata["plot"] = dg.MetadataValue.md(markdown_image(estimate_chart(rows)))
        return table, metadata

    return materialize_table(context, ESTIMATES_TABLE, roots, build)
