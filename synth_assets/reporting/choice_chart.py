"""The chart of what else the same requests could be made with.

In: dollars by model and GPU. Out: where they come from (`choice_data`), and the common look (`chart_style`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth_assets.reporting.chart_style import PALETTE, Row, band_height, data, styled
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import altair as alt

    from synth_assets.reporting.chart_style import Chart
else:
    alt = lazy_module("altair")


def choice_chart(rows: Sequence[Row]) -> Chart:
    """Dollars for the requests by `model`, a dot for each `gpu`; rows also have `output_tokens_per_second`, `limit`."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    gpus = list(dict.fromkeys(row["gpu"] for row in rows))
    shown = [row for row in rows if row["cost_usd"] is not None]
    colors = [PALETTE[index % len(PALETTE)] for index in range(len(gpus))]
    chart = alt.Chart(data(shown)).mark_circle(size=110, opacity=0.9).encode(
        y=alt.Y("model:N", title=None, sort=models, axis=alt.Axis(grid=True)),
        x=alt.X(
            "cost_usd:Q", title="US dollars for these requests", scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(format="$,.2~r", tickCount=4),
        ),
        color=alt.Color(
            "gpu:N", sort=gpus, scale=alt.Scale(domain=gpus, range=colors),
            legend=alt.Legend(columns=2),
        ),
        tooltip=[
            "model:N", alt.Tooltip("hardware:N"), alt.Tooltip("cost_usd:Q", title="US dollars", format="$,.3~r"),
            alt.Tooltip("usd_per_million_output_tokens:Q", title="a million output tokens", format="$,.3~r"),
            alt.Tooltip("gpu_hours:Q", title="GPU-hours", format=",.3~r"),
            alt.Tooltip("output_tokens_per_second:Q", title="tokens per second", format=",.0f"), alt.Tooltip("limit:N"),
        ],
    )  # fmt: skip
    return styled(chart, "Cost of the same requests by model and GPU", band_height(len(models)))
