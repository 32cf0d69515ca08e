"""How every chart looks, and a chart as an image.

In: colours, fonts, chart-wide settings, rendering. Out: what a chart shows (`charts`), and how it is put into the
page (`embedding`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from synth_assets.core.mixture import ORIGINAL
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import altair as alt
    import vl_convert

    Chart = alt.Chart | alt.LayerChart | alt.FacetChart
else:
    # 0.6 s and 0.1 s, with every command that looks at the graph.
    alt = lazy_module("altair")
    vl_convert = lazy_module("vl_convert")

Row = Mapping[str, Any]

# Each has a contrast of at least 3:1 both on white and on the dark theme's near-black (WCAG 1.4.11).
PALETTE: Final = ("#3f7fd9", "#c9761a", "#2c9a6b", "#8f6bdb", "#d4516b", "#1b92a6", "#8c8530", "#b05fa8")
NEUTRAL: Final = "#7d8590"
ACCENT, HIGHLIGHT = PALETTE[0], PALETTE[1]
SCORE_COLORS: Final = ("#c2453f", "#d98b45", "#9aa1aa", "#5f9bd6", "#2f6fbf")
"""For scores 1 to 5: poor is warm, good is cool, so that they differ without green and red."""

IMAGE_WIDTH = 560
_IMAGE_SCALES = (2.0, 1.5, 1.0, 0.7)

_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Rows as a chart's data."""
    return alt.InlineData(values=[dict(row) for row in rows])


def strategy_order(rows: Sequence[Row]) -> list[str]:
    """The strategies of these rows: the original first, the others by name."""
    return sorted({row["strategy"] for row in rows}, key=lambda name: (name != ORIGINAL, name))


def strategy_colors(strategies: Sequence[str]) -> alt.Scale:
    """Grey for the original, so that what was made of it stands out."""
    made = [name for name in strategies if name != ORIGINAL]
    colors = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(made)}
    return alt.Scale(domain=list(strategies), range=[colors.get(name, NEUTRAL) for name in strategies])


def band_height(count: int) -> int:
    """Height in pixels of a chart with `count` horizontal bands."""
    return 30 * max(count, 1)


def styled(chart: Chart, description: str, height: int) -> Chart:
    """The chart with the common look; `description` is read aloud by screen readers. Width is left to its place."""
    return (
        chart.properties(height=height, description=description)
        .configure(font=_FONT, background="transparent")
        .configure_view(stroke=None)
        .configure_axis(
            grid=False,
            domainColor="#c3c8cf",
            tickColor="#c3c8cf",
            gridColor="#e3e6ea",
            labelColor="#59616c",
            titleColor="#59616c",
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            titlePadding=10,
            titleLimit=260,
            labelLimit=130,
            labelOverlap=True,
        )
        # From the right edge leftwards, a long model name stays inside a chart as narrow as a phone.
        .configure_axisX(titleAnchor="end", labelFlush=True)
        .configure_legend(
            orient="top",
            direction="horizontal",
            title=None,
            columns=2,
            labelColor="#59616c",
            labelFontSize=12,
            symbolType="circle",
            symbolOpacity=1,
            labelLimit=150,
        )
        .configure_bar(cornerRadiusEnd=1)
    )


def markdown_image(chart: Chart, max_bytes: int = 50_000) -> str:
    """A Markdown image with the chart inside it as a PNG: text of `max_bytes` at most, for Dagster's metadata.

    The resolution falls until it fits; where even the lowest does not fit, a sentence says so instead.
    """
    spec = chart.to_dict()
    spec.setdefault("width", IMAGE_WIDTH)
    # Opaque, because the grey of the labels is meant for white and Dagster's page may be dark.
    spec["background"] = "white"
    alt_text = str(spec.get("description", "chart")).translate({ord(mark): " " for mark in "[]\n"})
    for scale in _IMAGE_SCALES:
        png = vl_convert.vegalite_to_png(spec, scale=scale, vl_version=vegalite_version())
        image = f"![{alt_text}](data:image/png;base64,{base64.b64encode(png).decode()})"
        if len(image.encode()) <= max_bytes:
            return image
    return f"The chart is larger than the {max_bytes:,} bytes that metadata may have; the HTML report shows it."


def vegalite_version() -> str:
    """Vega-Lite version of Altair's charts, as the renderer names it: `6.4`."""
    return ".".join(alt.VEGALITE_VERSION.split(".")[:2])
