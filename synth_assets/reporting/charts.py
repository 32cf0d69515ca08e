"""The charts: pure functions from rows to Altair charts.

In: what each chart shows. Out: where rows come from (`data`, `quality_data`), and the common look (`chart_style`).
Bins, counts and shares are made in SQL, so a chart holds as many rows as it shows marks. A chart of perplexities
takes rows of one reference model, a chart of scores rows of one judge: ValueError where there are more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from synth_assets.reporting.chart_style import (
    ACCENT,
    HIGHLIGHT,
    NEUTRAL,
    PALETTE,
    SCORE_COLORS,
    Row,
    band_height,
    data,
    markdown_image,
    strategy_colors,
    strategy_order,
    styled,
)
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import altair as alt

    from synth_assets.reporting.chart_style import Chart
else:
    alt = lazy_module("altair")

__all__ = [
    "category_chart", "cost_chart", "drop_chart", "judge_chart", "length_chart", "markdown_image",
    "perplexity_chart", "perplexity_judge_chart", "scaling_chart", "throughput_chart",
]  # fmt: skip

_STATUS_COLORS = {"used": ACCENT, "duplicate": NEUTRAL, "not a candidate": HIGHLIGHT}
CRITERIA = ("coherence", "faithfulness", "information_density")


def length_chart(rows: Sequence[Row]) -> Chart:
    """Seed lengths: `bin_start`, `bin_end` (characters), `status` (used, duplicate, not a candidate) and counts."""
    statuses = [status for status in _STATUS_COLORS if any(row["status"] == status for row in rows)]
    # Stacked here: Vega-Lite stacks no bars that have both ends on a logarithmic axis.
    stacked: list[Row] = []
    heights: Counter[float] = Counter()
    for row in sorted(rows, key=lambda row: statuses.index(row["status"])):
        low = heights[row["bin_start"]]
        heights[row["bin_start"]] += row["document_count"]
        stacked.append({**row, "low": low, "high": heights[row["bin_start"]]})
    chart = alt.Chart(data(stacked)).mark_rect().encode(
        x=alt.X("bin_start:Q", title="Characters", scale=alt.Scale(type="log", nice=False), axis=_log_axis("~s")),
        x2="bin_end:Q",
        y=alt.Y("low:Q", title="Documents", axis=_count_axis(heights.values())),
        y2="high:Q",
        color=alt.Color(
            "status:N", scale=alt.Scale(domain=statuses, range=[_STATUS_COLORS[name] for name in statuses]),
            legend=alt.Legend(columns=3),
        ),
        tooltip=[
            alt.Tooltip("bin_start:Q", title="from", format=",.0f"),
            alt.Tooltip("bin_end:Q", title="to", format=",.0f"),
            alt.Tooltip("status:N"),
            alt.Tooltip("document_count:Q", title="documents", format=","),
        ],
    )  # fmt: skip
    return styled(chart, "Histogram of seed document lengths in characters", 200)


def category_chart(rows: Sequence[Row]) -> Chart:
    """Bars of `category` and `document_count`, in the order of the rows."""
    order = [row["category"] for row in rows]
    chart = alt.Chart(data(rows)).mark_bar(color=ACCENT).encode(
        y=alt.Y("category:N", title=None, sort=order),
        x=alt.X("document_count:Q", title="Documents", axis=_count_axis(row["document_count"] for row in rows)),
        tooltip=["category:N", alt.Tooltip("document_count:Q", title="documents", format=",")],
    )  # fmt: skip
    return styled(chart, "Seed documents in the most frequent categories", 22 * max(len(rows), 1))


def perplexity_chart(bins: Sequence[Row], medians: Sequence[Row]) -> Chart:
    """A strip for each strategy: the stronger a bin, the more of its documents are in it; a tick at the median.

    `bins`: `strategy`, `reference_model`, `bin_start`, `bin_end`, `document_count`, `share` (0 to 1 of the strategy).
    `medians`: `strategy`, `reference_model`, `median_perplexity`.
    """
    model = _only("reference_model", [*bins, *medians])
    y = alt.Y("strategy:N", title=None, sort=strategy_order(bins))
    strips = alt.Chart(data(bins)).mark_rect(color=ACCENT).encode(
        x=alt.X(
            "bin_start:Q", title=f"Perplexity under {model}", axis=_log_axis("~s"),
            scale=alt.Scale(type="log", nice=False),
        ),
        x2="bin_end:Q",
        y=y,
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domainMin=0, range=[0.08, 1]), legend=None),
        tooltip=[
            "strategy:N",
            alt.Tooltip("bin_start:Q", title="from", format=".3~r"),
            alt.Tooltip("bin_end:Q", title="to", format=".3~r"),
            alt.Tooltip("document_count:Q", title="documents", format=","),
            alt.Tooltip("share:Q", title="share of the strategy", format=".0%"),
        ],
    )  # fmt: skip
    ticks = alt.Chart(data(medians)).mark_tick(color=HIGHLIGHT, thickness=3, opacity=1).encode(
        x="median_perplexity:Q",
        y=y,
        tooltip=["strategy:N", alt.Tooltip("median_perplexity:Q", title="median", format=".3~r")],
    )  # fmt: skip
    height = band_height(len(strategy_order(bins)))
    return styled(alt.layer(strips, ticks), f"Distribution of perplexity under {model} by strategy", height)


def judge_chart(rows: Sequence[Row], criterion: str) -> Chart:
    """Shares of the scores 1 to 5: `strategy`, `judge_model`, `criterion`, `score` (whole), `document_count`."""
    model = _only("judge_model", rows)
    chosen = [row for row in rows if row["criterion"] == criterion]
    chart = alt.Chart(data(chosen)).mark_bar().encode(
        y=alt.Y("strategy:N", title=None, sort=strategy_order(rows)),
        x=alt.X(
            "document_count:Q", title="Share of documents", stack="normalize", axis=alt.Axis(format="%", tickCount=5)
        ),
        order=alt.Order("score:O"),
        color=alt.Color(
            "score:O", scale=alt.Scale(domain=[1, 2, 3, 4, 5], range=list(SCORE_COLORS)), legend=alt.Legend(columns=5)
        ),
        tooltip=["strategy:N", "score:O", alt.Tooltip("document_count:Q", title="documents", format=",")],
    )  # fmt: skip
    words = criterion.replace("_", " ")
    return styled(
        chart, f"Scores for {words} from 1 to 5 by strategy, judged by {model}", band_height(len(strategy_order(rows)))
    )


def perplexity_judge_chart(documents: Sequence[Row], means: Sequence[Row]) -> Chart:
    """Perplexity against the judge's mean score: small dots are documents, diamonds the strategies.

    Both: `strategy`, `reference_model`, `judge_model`, `perplexity`, `mean_score`; `documents` also `title`. A click
    on the legend shows one strategy alone.
    """
    rows = [*documents, *means]
    reference, judge = _only("reference_model", rows), _only("judge_model", rows)
    strategies = strategy_order(rows)
    chosen = alt.selection_point(fields=["strategy"], bind="legend")
    x = alt.X(
        "perplexity:Q", title=f"Perplexity under {reference}", scale=alt.Scale(type="log", nice=False, padding=12),
        axis=_log_axis("~s"),
    )  # fmt: skip
    y = alt.Y(
        "mean_score:Q",
        title=f"Mean score by {judge}",
        scale=alt.Scale(domain=[1, 5]),
        axis=alt.Axis(tickCount=5, grid=True),
    )
    color = alt.Color("strategy:N", scale=strategy_colors(strategies))
    tooltip = [
        "strategy:N",
        alt.Tooltip("perplexity:Q", format=".4~r"),
        alt.Tooltip("mean_score:Q", title="mean score", format=".2f"),
    ]
    dots = alt.Chart(data(documents)).mark_circle(size=34).encode(
        x=x, y=y, color=color, opacity=alt.condition(chosen, alt.value(0.55), alt.value(0.05)),
        tooltip=[alt.Tooltip("title:N"), *tooltip],
    ).add_params(chosen)  # fmt: skip
    outlined = alt.MarkDef("point", shape="diamond", size=190, filled=True, stroke="#ffffff", strokeWidth=1.5)
    diamonds = alt.Chart(data(means), mark=outlined).encode(
        x=x, y=y, color=color, opacity=alt.condition(chosen, alt.value(1), alt.value(0.08)), tooltip=tooltip
    )  # fmt: skip
    return styled(alt.layer(dots, diamonds), f"Perplexity under {reference} beside mean scores by {judge}", 340)


def drop_chart(rows: Sequence[Row]) -> Chart:
    """Drops: `strategy` (a phrase for those before any strategy), `reason`, `drop_count`."""
    by_reason: Counter[str] = Counter()
    by_strategy: Counter[str] = Counter()
    for row in rows:
        by_reason[row["reason"]] += row["drop_count"]
        by_strategy[row["strategy"]] += row["drop_count"]
    reasons = [reason for reason, _ in by_reason.most_common()]
    chart = alt.Chart(data(rows)).mark_bar().encode(
        y=alt.Y("strategy:N", title=None, sort=strategy_order(rows)),
        x=alt.X("drop_count:Q", title="Drops", axis=_count_axis(by_strategy.values())),
        color=alt.Color("reason:N", scale=alt.Scale(domain=reasons, range=list(PALETTE)), sort=reasons),
        order=alt.Order("drop_count:Q", sort="descending"),
        tooltip=["strategy:N", "reason:N", alt.Tooltip("drop_count:Q", title="drops", format=",")],
    )  # fmt: skip
    return styled(chart, "Drops by strategy and reason", band_height(len(strategy_order(rows))))


def cost_chart(rows: Sequence[Row]) -> Chart:
    """Dollars expected and spent: rows as in `reports.cost`; the row `total` is left out."""
    listed = [row for row in rows if row["strategy"] != "total"]
    names = Counter(row["strategy"] for row in listed)
    pairs = [
        {
            "strategy": row["strategy"] if names[row["strategy"]] == 1 else f"{row['strategy']} ({row['model']})",
            "kind": kind,
            "cost_usd": row[column],
        }
        for row in listed
        for kind, column in (("estimate", "estimated_cost_usd"), ("actual", "cost_usd"))
        if row[column] is not None
    ]
    kinds = ["estimate", "actual"]
    chart = alt.Chart(data(pairs)).mark_bar().encode(
        y=alt.Y("strategy:N", title=None, sort=strategy_order(pairs)),
        yOffset=alt.YOffset("kind:N", sort=kinds),
        x=alt.X("cost_usd:Q", title="US dollars", axis=alt.Axis(format="$,.2~r", tickCount=4)),
        color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[NEUTRAL, ACCENT])),
        tooltip=["strategy:N", "kind:N", alt.Tooltip("cost_usd:Q", title="US dollars", format="$,.3~r")],
    )  # fmt: skip
    return styled(chart, "Estimated and actual cost by strategy", 38 * max(len(strategy_order(pairs)), 1))


def throughput_chart(rows: Sequence[Row]) -> Chart:
    """Output tokens per second over requests in flight: rows as in `serving.baseline`, a line for each model."""
    models = sorted({row["model"] for row in rows})
    in_flight = sorted({row["concurrency"] for row in rows})
    shown = [{name: row[name] for name in ("model", "concurrency", "tokens_per_second", "hardware")} for row in rows]
    chart = alt.Chart(data(shown)).mark_line(point=alt.OverlayMarkDef(size=50, filled=True)).encode(
        x=alt.X(
            "concurrency:Q", title="Requests in flight", scale=alt.Scale(type="log", base=2, nice=False, padding=12),
            axis=alt.Axis(values=in_flight, format="d"),
        ),
        y=alt.Y("tokens_per_second:Q", title="Output tokens per second", axis=alt.Axis(grid=True, tickCount=5)),
        color=alt.Color(
            "model:N", scale=alt.Scale(domain=models, range=list(PALETTE)),
            legend=alt.Legend(columns=1, labelLimit=300),
        ),
        tooltip=[
            "model:N",
            alt.Tooltip("concurrency:Q", title="in flight"),
            alt.Tooltip("tokens_per_second:Q", title="tokens per second", format=",.1f"),
        ],
    )  # fmt: skip
    return styled(chart, "Measured throughput of the model server over requests in flight", 240)


def scaling_chart(rows: Sequence[Row]) -> Chart:
    """Dollars over the size of the corpus: `factor` (1 = today), `cost_usd`, `gpu_hours`, `documents`."""
    factors = [row["factor"] for row in rows]
    points = alt.OverlayMarkDef(size=50, filled=True, color=ACCENT)
    chart = alt.Chart(data(rows)).mark_line(color=ACCENT, point=points).encode(
        x=alt.X(
            "factor:Q", title="Times today's documents", scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(values=factors, labelExpr="format(datum.value, ',') + '×'"),
        ),
        y=alt.Y("cost_usd:Q", title="US dollars", scale=alt.Scale(type="log"), axis=_log_axis("$,.2~r")),
        tooltip=[
            alt.Tooltip("documents:Q", format=","),
            alt.Tooltip("cost_usd:Q", title="US dollars", format="$,.3~r"),
            alt.Tooltip("gpu_hours:Q", title="GPU-hours", format=",.3~r"),
        ],
    )  # fmt: skip
    return styled(chart, "Cost of one to a thousand times the documents", 240)


def _only(column: str, rows: Sequence[Row]) -> str:
    names = sorted({row[column] for row in rows})
    if len(names) != 1:
        raise ValueError(f"One chart shows one {column}; these rows have {', '.join(names) or 'none'}.")
    return names[0]


def _count_axis(counts: Iterable[float]) -> alt.Axis:
    # Vega's own least step of 1 (`tickMinStep`) asks for a tick too many, and has halves from 0 to 2.
    return alt.Axis(format=",~d", tickCount=int(max(1, min(5, max(counts, default=1)))))


def _log_axis(number_format: str) -> alt.Axis:
    return alt.Axis(format=number_format, tickCount=5)
