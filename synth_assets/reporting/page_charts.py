"""Every chart of the page, by the name that the templates ask for.

In: which chart is drawn of which part of the content. Out: what a chart shows (`charts` and the others named so).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from resources.lake import Lake
from synth_assets.reporting import charts, cost_data, data, text_data
from synth_assets.reporting.choice_chart import choice_chart
from synth_assets.reporting.embedding import Figure, figure
from synth_assets.reporting.estimate_chart import estimate_chart
from synth_assets.reporting.measure_chart import measure_chart
from synth_assets.reporting.waste_chart import waste_chart

PICTURED_MEASURES = ("length_ratio", "novel_4gram_share", "kept_number_share")
"""Of the texts, in metadata: how much was written, how much of it anew, and how much of what counts was kept."""


def figures_of(content: Mapping[str, Any]) -> dict[str, Figure]:
    """Charts by the name that the templates ask for; a chart without rows is not there."""
    drawn: dict[str, charts.Chart] = {}
    if seed := content["seed"]:
        drawn["lengths"] = charts.length_chart(seed.lengths)
        if seed.categories:
            drawn["categories"] = charts.category_chart(seed.categories)
    for number, measured in enumerate(content["perplexities"]):
        if measured.bins:
            drawn[f"perplexity-{number}"] = charts.perplexity_chart(measured.bins, measured.medians)
    for number, judged in enumerate(content["judgements"]):
        for criterion in charts.CRITERIA:
            drawn[f"{criterion}-{number}"] = charts.judge_chart(judged.scores, criterion)
    for number, pairing in enumerate(content["pairings"]):
        drawn[f"pairing-{number}"] = charts.perplexity_judge_chart(pairing.documents, pairing.means)
    if measured := content["measured_texts"]:
        for measure, _ in measured.means:
            if spread := measured.spreads.get(measure.column):
                drawn[f"measure-{measure.column}"] = measure_chart(spread, measure.label)
    if content["drops"]:
        drawn["drops"] = charts.drop_chart(content["drops"])
    if content["bill"]:
        drawn["cost"] = charts.cost_chart(content["bill"])
    if points := cost_data.scaling_points(content["outlook"]):
        drawn["scaling"] = charts.scaling_chart(points)
    if any(choice.cost_usd is not None for choice in content["outlook"].choices):
        drawn["choices"] = choice_chart([asdict(choice) for choice in content["outlook"].choices])
    if content["waste"] and content["waste"].kinds:
        drawn["waste"] = waste_chart(content["waste"].kinds)
    if content["estimates"]:
        drawn["estimates"] = estimate_chart(content["estimates"].rows)
    if content["baseline"]:
        drawn["throughput"] = charts.throughput_chart(content["baseline"])
    return {name: figure(f"chart-{name}", chart) for name, chart in drawn.items()}


def pictures(lake: Lake, hardware_name: str) -> dict[str, charts.Chart]:
    """The charts that belong to no one table, and those of tables in many parts: for the metadata of the page."""
    drawn: dict[str, charts.Chart] = {}
    if dropped := data.drops(lake):
        drawn["drops"] = charts.drop_chart(dropped)
    candidates = data.headline(lake)["candidates"] or 0
    outlook = cost_data.cost_outlook(data.cost(lake) or [], candidates, hardware_name)
    if points := cost_data.scaling_points(outlook):
        drawn["scaling"] = charts.scaling_chart(points)
    if measured := text_data.measured_texts(lake):
        for measure, _ in measured.means:
            if measure.column in PICTURED_MEASURES and measure.column in measured.spreads:
                drawn[measure.label.lower()] = measure_chart(measured.spreads[measure.column], measure.label)
    return drawn
