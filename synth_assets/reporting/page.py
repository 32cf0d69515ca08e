"""The report as one HTML file: queries the lake, draws the charts, fills the templates, writes in one step.

In: what stands where on the page. Out: the queries (`data` and the others named so), the charts (`charts`),
and the wording and layout (`templates/`). Whatever comes from documents or models is escaped by the templates.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from resources.lake import Lake
from synth_assets.core.quality import GOOD_MEAN_SCORE
from synth_assets.reporting import charts, cost_data, data, figures, quality_data, text_data
from synth_assets.reporting.embedding import Figure, content_security_policy, drawing_code, figure
from synth_assets.reporting.measure_chart import measure_chart

FILE_NAME = "report.html"


def write_report(lake: Lake, directory: Path, hardware_name: str, versions: Mapping[str, str]) -> Path:
    """Write `directory/report.html` and return its path; a reader sees the old file or the new one.

    `versions` is shown as it is, under provenance. A part whose tables are missing says what to run instead.
    Raises LakeError as the lake does, OSError where the file cannot be written.
    """
    html = render(page_content(lake, hardware_name, versions))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def template_version() -> str:
    """Hash of the templates, style and script: what the page looks like, beside the code that fills it."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted((Path(__file__).parent / "templates").rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def page_content(lake: Lake, hardware_name: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """Everything the templates show, by name."""
    headline = data.headline(lake)
    bill = data.cost(lake)
    outlook = cost_data.cost_outlook(bill or [], headline["candidates"] or 0, hardware_name)
    content: dict[str, Any] = {
        "generated_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware_name": hardware_name,
        "versions": dict(versions),
        "headline": headline,
        "seed": data.seed_profile(lake),
        "examples": data.examples(lake),
        "text_chars": data.TEXT_CHARS,
        "summary": quality_data.summary(lake),
        "perplexities": quality_data.perplexities(lake),
        "judgements": quality_data.judgements(lake),
        "criteria": charts.CRITERIA,
        "pairings": quality_data.pairings(lake),
        "good_score": GOOD_MEAN_SCORE,
        "measured_texts": text_data.measured_texts(lake),
        "near_duplicates": text_data.near_duplicates(lake),
        "drops": data.drops(lake),
        "bill": bill,
        "outlook": outlook,
        "baseline": data.baseline(lake),
        "models": data.models(lake),
        "fingerprints": data.fingerprints(lake),
        "snapshot_id": lake.snapshot_id(),
    }
    return content | {"charts": _figures(content)}


def _figures(content: Mapping[str, Any]) -> dict[str, Figure]:
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
    if content["baseline"]:
        drawn["throughput"] = charts.throughput_chart(content["baseline"])
    return {name: figure(f"chart-{name}", chart) for name, chart in drawn.items()}


def render(content: Mapping[str, Any]) -> str:
    """The page as HTML."""
    import jinja2  # 40 ms, and whoever plans imports this module for the hash of its code

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("synth_assets.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        figures.whole,
        figures.significant,
        figures.fixed,
        figures.usd,
        figures.compact,
        figures.metric,
        figures.percent,
    )
    environment.filters |= {filter_.__name__: filter_ for filter_ in (*filters, figures.change)}
    script = Markup(environment.get_template("report.js").render())  # noqa: S704 - a file of this package
    return environment.get_template("report.html.jinja").render(
        content,
        drawing_code=drawing_code(),
        page_script=script,
        security_policy=content_security_policy([drawing_code(), script]),
    )
