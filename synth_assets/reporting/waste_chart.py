"""The chart of waste: dollars by strategy and kind.

In: rows as in `reports.waste`. Out: the common look (`chart_style`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth_assets.core.waste import KINDS
from synth_assets.reporting.chart_style import HIGHLIGHT, NEUTRAL, PALETTE, Row, band_height, data, styled
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import altair as alt

    from synth_assets.reporting.chart_style import Chart
else:
    alt = lazy_module("altair")

_COLORS: dict[str, str] = dict(zip(KINDS, (PALETTE[4], HIGHLIGHT, PALETTE[0], NEUTRAL), strict=True))


def waste_chart(rows: Sequence[Row]) -> Chart:
    """A stacked bar for each strategy: dollars for failed, cut, dropped and superseded calls."""
    sums: dict[tuple[str, str], float] = {}
    for row in rows:
        pair = (row["strategy"], row["kind"])
        sums[pair] = sums.get(pair, 0.0) + (row["cost_usd"] or 0.0)
    kinds = [kind for kind in KINDS if any(found == kind for _, found in sums)]
    shown = [
        {"strategy": strategy, "kind": kind, "order": KINDS.index(kind), "cost_usd": dollars}
        for (strategy, kind), dollars in sorted(sums.items())
    ]
    chart = alt.Chart(data(shown)).mark_bar().encode(
        y=alt.Y("strategy:N", title=None),
        x=alt.X("cost_usd:Q", title="US dollars", axis=alt.Axis(format="$,.2~r", tickCount=4)),
        color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[_COLORS[kind] for kind in kinds])),
        order=alt.Order("order:Q"),
        tooltip=["strategy:N", "kind:N", alt.Tooltip("cost_usd:Q", title="US dollars", format="$,.3~r")],
    )  # fmt: skip
    return styled(
        chart, "Dollars for calls that are in no text, by strategy and kind", band_height(len({s for s, _ in sums}))
    )
