"""Dollars for calls that the training data has nothing of: `reports.waste`.

In: the asset. Out: which calls those are (`waste_kinds`), their price (`core.waste`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from resources.ledger import Ledger
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import HARDWARE, JUDGE_SCORES, MERGED, NEAR_DUPLICATES, WASTE
from synth_assets.assets.measured import bill_models
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata, markdown_table
from synth_assets.assets.versions import RootVersions
from synth_assets.assets.waste_kinds import wasted_calls
from synth_assets.core.bill import Prices
from synth_assets.core.bill_tables import WASTE as WASTE_TABLE
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.strategy import Strategy
from synth_assets.core.waste import waste_rows
from synth_assets.reporting.chart_style import markdown_image
from synth_assets.reporting.waste_chart import waste_chart
from synth_assets.settings import Settings


def build_waste_asset(strategies: Sequence[Strategy]) -> dg.AssetsDefinition:
    """`reports.waste` over the given strategies: answers of any other one are superseded."""
    names = [strategy.name for strategy in strategies]

    @dg.asset(
        key=WASTE,
        deps=[MERGED, JUDGE_SCORES, NEAR_DUPLICATES, HARDWARE],
        group_name="reports",
        kinds={"duckdb"},
        description=WASTE_TABLE.description,
        code_version=code_fingerprint(wasted_calls, waste_rows),
        metadata=definition_metadata(WASTE_TABLE),
    )
    def waste(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        roots: dg.ResourceParam[RootVersions],
        rephraser: dg.ResourceParam[ModelEndpoint],
        judge: dg.ResourceParam[ModelEndpoint],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """Every bought answer and every failed call, looked up in the tables that should rest on it."""

        def build() -> tuple[pa.Table, Mapping[str, Any]]:
            models = bill_models(lake, settings, rephraser.known_model(), judge.known_model())
            prices = Prices(ledger.usage_by_strategy().to_pylist(), models, settings.hardware)
            rows = waste_rows(wasted_calls(lake, names), prices.of, settings.hardware)
            table = pa.Table.from_pylist(rows, schema=WASTE_TABLE.schema)
            metadata: dict[str, Any] = {
                "cost_usd": sum(row["cost_usd"] for row in rows),
                "waste": markdown_table(table, ["strategy", "model", "kind", "reason", "requests", "cost_usd"]),
            }
            if rows:
                metadata["plot"] = dg.MetadataValue.md(markdown_image(waste_chart(rows)))
            return table, metadata

        return materialize_table(context, WASTE_TABLE, roots, build)

    return waste
