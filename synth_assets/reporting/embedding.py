"""Charts in an HTML page: each chart's specification as inert JSON, the drawing code once, nothing from the network.

In: escaping, sentences with code in them, the script bundle, the content security policy. Out: the charts (`charts`)
and the page (`page`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from synth_assets.reporting.chart_style import vegalite_version
from synth_assets.reporting.lazy_import import lazy_module

if TYPE_CHECKING:
    import vl_convert

    from synth_assets.reporting.chart_style import Chart
else:
    vl_convert = lazy_module("vl_convert")


@dataclass(frozen=True)
class Figure:
    """One chart of the page: `spec` is JSON that may stand inside a script element."""

    id: str
    description: str
    height: int
    spec: Markup


def figure(figure_id: str, chart: Chart) -> Figure:
    """The chart as wide as its place in the page. No text in it can end the script element it stands in."""
    from jinja2.utils import htmlsafe_json_dumps  # 40 ms, and whoever plans imports this module

    spec = chart.to_dict()
    spec |= {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    # NaN is no JSON, and a browser would refuse the whole chart.
    json.dumps(spec, allow_nan=False)
    return Figure(figure_id, spec["description"], spec["height"], htmlsafe_json_dumps(spec))


def with_code(text: str) -> Markup:
    """A sentence for people as HTML: what it has between backticks is code, everything else is text."""
    if text.count("`") % 2:
        return escape(text)
    parts = (
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(text.split("`"))
    )
    return Markup().join(parts)


@cache
def drawing_code() -> Markup:
    """Vega, Vega-Lite and Vega-Embed in one script, for all charts of the page (0.9 MB)."""
    # Its type stub says that the snippet is required, its documentation that it is not.
    script = vl_convert.javascript_bundle(vl_version=vegalite_version())  # pyright: ignore[reportCallIssue]
    if "</script" in script.lower():
        raise ValueError("The bundled Vega script would end the script element that it stands in.")
    return Markup(script)  # noqa: S704 - it comes with the installed package, no user's text is in it


def content_security_policy(scripts: Sequence[str]) -> str:
    """Only these scripts run, and nothing is fetched: not even from a text that would slip through the escaping."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:"
