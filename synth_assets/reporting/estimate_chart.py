"""The chart of estimate against actual: how far off, by how much the ledger had seen.

In: rows as in `reports.estimates`. Out: the common look (`chart_style`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synth_assets.reporting.chart_style import NEUTRAL, PALETTE, Row, data, styled
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import altair as alt

    from synth_assets.reporting.chart_style import Chart
else:
    alt = lazy_module("altair")


def estimate_chart(rows: Sequence[Row]) -> Chart:
    """Relative error over answers in the ledger, a line for each strategy; several models of one have names."""
    models = defaultdict(set)
    for row in rows:
        models[row["strategy"]].add(row["model"])
    shown = [
        {
            "line": row["strategy"] if len(models[row["strategy"]]) == 1 else f"{row['strategy']} ({row['model']})",
            # The axis is logarithmic, and no answers at all are its left end.
            "answers": max(row["answers_before"], 1),
            "answers_before": row["answers_before"],
            "requests": row["requests"],
            "relative_error": row["relative_error"],
        }
        for row in rows
        if row["relative_error"] is not None
    ]
    lines = sorted({row["line"] for row in shown})
    largest = max((row["answers"] for row in shown), default=1)
    powers = [10**power for power in range(len(str(largest)))]
    made = alt.Chart(data(shown)).mark_line(point=alt.OverlayMarkDef(size=50, filled=True)).encode(
        x=alt.X(
            "answers:Q", title="Answers in the ledger when it was planned",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(values=powers, labelExpr="datum.value === 1 ? '0' : format(datum.value, '~s')"),
        ),
        y=alt.Y(
            "relative_error:Q", title="Estimate too high (+) or too low (-)",
            axis=alt.Axis(format="+.0%", tickCount=5),
        ),
        color=alt.Color("line:N", scale=alt.Scale(domain=lines, range=list(PALETTE))),
        tooltip=[
            alt.Tooltip("line:N", title="strategy"),
            alt.Tooltip("answers_before:Q", title="answers in the ledger", format=","),
            alt.Tooltip("requests:Q", title="requests", format=","),
            alt.Tooltip("relative_error:Q", title="error", format="+.1%"),
        ],
    )  # fmt: skip
    right = alt.Chart(data([{"relative_error": 0}])).mark_rule(color=NEUTRAL, strokeDash=[4, 4]).encode(
        y="relative_error:Q"
    )  # fmt: skip
    return styled(right + made, "Error of the estimated completion tokens, by answers in the ledger", 150)
