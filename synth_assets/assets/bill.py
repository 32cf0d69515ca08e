"""What was bought, in dollars, beside what was expected: `reports.cost`.

In: the asset. Out: the arithmetic (`core.bill`), waste by kind (`waste`), estimates by size of the ledger
(`estimates`).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from resources.ledger import Ledger
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import COST, HARDWARE, JUDGE_SCORES, MERGED, WASTE
from synth_assets.assets.measured import bill_models
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata, markdown_table
from synth_assets.assets.versions import RootVersions
from synth_assets.core.bill import cost_rows
from synth_assets.core.bill_tables import WASTE as WASTE_TABLE
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.tables import COST as COST_TABLE
from synth_assets.reporting.chart_style import markdown_image
from synth_assets.reporting.charts import cost_chart
from synth_assets.settings import Settings

_SHOWN = (
    "strategy", "model", "requests", "prompt_tokens", "cached_prompt_tokens", "completion_tokens",
    "estimated_cost_usd", "cost_usd", "wasted_cost_usd",
)  # fmt: skip


@dg.asset(
    key=COST,
    deps=[MERGED, JUDGE_SCORES, WASTE, HARDWARE],
    group_name="reports",
    kinds={"duckdb"},
    description=COST_TABLE.description,
    code_version=code_fingerprint(cost_rows),
    metadata=definition_metadata(COST_TABLE),
)
def cost(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    ledger: dg.ResourceParam[Ledger],
    roots: dg.ResourceParam[RootVersions],
    rephraser: dg.ResourceParam[ModelEndpoint],
    judge: dg.ResourceParam[ModelEndpoint],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """Every bought answer, beside what was expected when it was asked for."""

    def build() -> tuple[pa.Table, Mapping[str, Any]]:
        models = bill_models(lake, settings, rephraser.known_model(), judge.known_model())
        rows = cost_rows(ledger.usage_by_strategy().to_pylist(), models, settings.hardware, _wasted_usd(lake))
        table = pa.Table.from_pylist(rows, schema=COST_TABLE.schema)
        metadata: dict[str, Any] = {
            "plot": dg.MetadataValue.md(markdown_image(cost_chart(rows))),
            "bill": markdown_table(table, _SHOWN),
            "cost_usd": rows[-1]["cost_usd"],
            "wasted_cost_usd": rows[-1]["wasted_cost_usd"],
        }
        if models.warnings:
            metadata["warning"] = "\n".join(models.warnings)
        return table, metadata

    return materialize_table(context, COST_TABLE, roots, build)


def _wasted_usd(lake: Lake) -> dict[tuple[str, str], float]:
    """Dollars by strategy and model."""
    sums: dict[tuple[str, str], float] = {}
    for row in lake.read(WASTE_TABLE.name, schema=WASTE_TABLE.schema).to_pylist():
        pair = (row["strategy"], row["model"])
        sums[pair] = sums.get(pair, 0.0) + row["cost_usd"]
    return sums
