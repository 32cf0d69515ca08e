"""The chart of one measure of the texts: a range for each strategy.

In: quantiles by strategy. Out: where they come from (`text_data`), and the common look (`chart_style`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth_assets.reporting.chart_style import ACCENT, HIGHLIGHT, Row, band_height, data, strategy_order, styled
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import altair as alt

    from synth_assets.reporting.chart_style import Chart
else:
    alt = lazy_module("altair")


def measure_chart(rows: Sequence[Row], label: str) -> Chart:
    """Bars from `low` (0.1) to `high` (0.9) with a tick at `middle`, one for each `strategy`, of one measure."""
    order = strategy_order(rows)
    y = alt.Y("strategy:N", title=None, sort=order)
    tooltip = [
        "strategy:N",
        alt.Tooltip("low:Q", title="10%", format=".3~r"),
        alt.Tooltip("middle:Q", title="median", format=".3~r"),
        alt.Tooltip("high:Q", title="90%", format=".3~r"),
    ]
    base = alt.Chart(data(rows))
    bars = base.mark_bar(color=ACCENT, height=8, opacity=0.6).encode(
        x=alt.X("low:Q", title=label, axis=alt.Axis(tickCount=4)), x2="high:Q", y=y, tooltip=tooltip
    )
    ticks = base.mark_tick(color=HIGHLIGHT, thickness=3, opacity=1).encode(x="middle:Q", y=y, tooltip=tooltip)
    return styled(alt.layer(bars, ticks), f"{label}: range by strategy", band_height(len(order)))
