"""Reports over the whole corpus: quality by strategy, and the HTML page.

In: reducing over all partitions. Out: the bill (`bill`, `waste`, `estimates`), the arithmetic (`core.quality`) and the
page (`reporting`).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from synth_assets.assets.keys import (
    BASELINE,
    COST,
    CURATED,
    ESTIMATES,
    JUDGE_SCORES,
    MERGED,
    NEAR_DUPLICATES,
    PERPLEXITY,
    TEXT_QUALITY,
    WASTE,
    table_name,
)
from synth_assets.assets.origins import origins
from synth_assets.assets.single_runs import materialize_table, upstream_tag
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions, Versions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.quality import JUDGE_DIMENSIONS, rank_correlations, summarise, surprising_and_good
from synth_assets.core.serving_advice import ServerSettings
from synth_assets.core.tables import JUDGE_SCORES as JUDGE_TABLE
from synth_assets.core.tables import PERPLEXITY as PERPLEXITY_TABLE
from synth_assets.core.tables import QUALITY
from synth_assets.reporting.chart_style import markdown_image
from synth_assets.reporting.charts import perplexity_judge_chart
from synth_assets.reporting.page import Surroundings, template_version, write_report
from synth_assets.reporting.page_charts import pictures
from synth_assets.reporting.quality_data import pairings
from synth_assets.settings import Settings

QUALITY_KEY = dg.AssetKey(["reports", "quality"])
HTML_KEY = dg.AssetKey(["reports", "html"])


@dg.asset(
    key=QUALITY_KEY,
    deps=[PERPLEXITY, JUDGE_SCORES],
    group_name="reports",
    kinds={"duckdb"},
    description=QUALITY.description,
    code_version=code_fingerprint(summarise),
    metadata=definition_metadata(QUALITY),
)
def quality(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> dg.MaterializeResult:
    """Perplexity beside judge scores, and which texts are surprising and yet good."""
    return materialize_table(context, QUALITY, roots, lambda: _quality(lake))


def build_html_asset(whole_graph: Callable[[], "dg.AssetGraph"]) -> dg.AssetsDefinition:
    """`reports.html`; a run knows only the part of the graph that it makes, so the whole is asked for."""

    @dg.asset(
        key=HTML_KEY,
        deps=[COST, WASTE, ESTIMATES, QUALITY_KEY, CURATED, MERGED, TEXT_QUALITY, NEAR_DUPLICATES, BASELINE],
        group_name="reports",
        kinds={"html"},
        description="The report: one HTML file under SYNTH_HOME/reports that opens offline.",
        code_version=f"{code_fingerprint(write_report)}-{template_version()}",
    )
    def html(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        roots: dg.ResourceParam[RootVersions],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult:
        """Write the page; a reader sees the old one or the new one."""
        tags = upstream_tag(context, roots, HTML_KEY)
        graph, hardware_name = whole_graph(), settings.hardware.name
        nodes = origins(graph, Versions(context.instance, graph, roots))
        surroundings = Surroundings(
            # Without the page itself, which is being made.
            [node for node in nodes if node.name != table_name(HTML_KEY)],
            ServerSettings(settings.max_parallel_requests, settings.server_count),
        )
        versions = {"curator folder": str(settings.curator_output_dir)}
        path = write_report(lake, settings.reports_dir, hardware_name, versions, surroundings)
        plots = {
            f"plot: {name}": dg.MetadataValue.md(markdown_image(chart))
            for name, chart in pictures(lake, hardware_name).items()
        }
        metadata = {"path": dg.MetadataValue.path(str(path)), "size_bytes": path.stat().st_size, **plots}
        return dg.MaterializeResult(metadata=metadata, tags=tags)

    return html


_NUMBERS = ["merged_id", "document_id", "strategy"]


def _quality(lake: Lake) -> tuple[pa.Table, Mapping[str, Any]]:
    """The summary, its correlations, and a picture for each reference model and judge."""
    scored = lake.read(PERPLEXITY_TABLE.name, columns=[*_NUMBERS, "reference_model", "perplexity", "bits_per_byte"])
    judged = lake.read(
        JUDGE_TABLE.name,
        schema=pa.schema([JUDGE_TABLE.schema.field(name) for name in (*_NUMBERS, "judge_model", *JUDGE_DIMENSIONS)]),
    )
    rows = [asdict(row) for row in summarise(scored, judged)]
    metadata: dict[str, Any] = {
        "which texts are surprising and yet good": surprising_and_good(scored, judged).answer,
        "rank correlations": dg.MetadataValue.json([asdict(row) for row in rank_correlations(scored, judged)]),
    }
    for pairing in pairings(lake):
        plot = markdown_image(perplexity_judge_chart(pairing.documents, pairing.means))
        metadata[f"plot: {pairing.reference_model}, judged by {pairing.judge_model}"] = dg.MetadataValue.md(plot)
    return pa.Table.from_pylist(rows, schema=QUALITY.schema), metadata
