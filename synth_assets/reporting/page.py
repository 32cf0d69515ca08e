"""The report as one HTML file: queries the lake, draws the charts, fills the templates, writes in one step.

In: what the page knows. Out: the queries (`data` and the others named so), the charts (`page_charts`), and the wording
and layout (`templates/`). Whatever comes from documents or models is escaped by the templates.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from resources.errors import SettingError
from resources.lake import Lake
from synth_assets.core.hardware import Hardware
from synth_assets.core.quality import GOOD_MEAN_SCORE
from synth_assets.core.serving_advice import ServerSettings, ServingAdvice
from synth_assets.reporting import (
    charts,
    cost_data,
    data,
    example_data,
    figures,
    origin_data,
    quality_data,
    serving_data,
    text_data,
    usage_data,
)
from synth_assets.reporting.budget_data import FACTOR
from synth_assets.reporting.embedding import content_security_policy, drawing_code, with_code
from synth_assets.reporting.origin_data import Origin
from synth_assets.reporting.origin_picture import BOX_HEIGHT, BOX_WIDTH, origin_picture
from synth_assets.reporting.page_charts import figures_of

FILE_NAME = "report.html"


@dataclass(frozen=True)
class Surroundings:
    """What the lake does not know: the graph its tables come from, and what the client of the server is set to."""

    origins: Sequence[Origin] = ()
    server_settings: ServerSettings = field(default_factory=ServerSettings)


NOTHING_KNOWN = Surroundings()


def write_report(
    lake: Lake,
    directory: Path,
    hardware_name: str,
    versions: Mapping[str, str],
    surroundings: Surroundings = Surroundings(),
) -> Path:
    """Write `directory/report.html` and return its path; a reader sees the old file or the new one.

    `versions` is shown as it is, under provenance. A part whose tables are missing says what to run instead.
    Raises LakeError as the lake does, OSError where the file cannot be written.
    """
    html = render(page_content(lake, hardware_name, versions, surroundings))
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


def page_content(
    lake: Lake,
    hardware_name: str,
    versions: Mapping[str, str],
    surroundings: Surroundings = Surroundings(),
) -> dict[str, Any]:
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
        "examples": example_data.examples(lake),
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
        "budget_factor": FACTOR,
        "waste": usage_data.waste(lake),
        "estimates": usage_data.estimate_errors(lake),
        "usage": usage_data.usage(lake),
        "baseline": data.baseline(lake),
        "advice": _advice(lake, hardware_name, surroundings.server_settings),
        "models": data.models(lake),
        "fingerprints": data.fingerprints(lake),
        "snapshot_id": lake.snapshot_id(),
        "origins": origin_data.with_row_counts(lake, surroundings.origins),
        "origin_picture": origin_picture(surroundings.origins),
        "box_width": BOX_WIDTH,
        "box_height": BOX_HEIGHT,
    }
    return content | {"charts": figures_of(content)}


def _advice(lake: Lake, hardware_name: str, current: ServerSettings) -> ServingAdvice | None:
    """None without a measurement, and for hardware that is not known, which the section on cost says."""
    try:
        return serving_data.serving_advice(lake, Hardware.parse(hardware_name), current)
    except SettingError:
        return None


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
        figures.signed_percent,
        figures.estimate_error,
        cost_data.limit_within_a_day,
        with_code,
    )
    environment.filters |= {filter_.__name__: filter_ for filter_ in filters}
    script = Markup(environment.get_template("report.js").render())  # noqa: S704 - a file of this package
    return environment.get_template("report.html.jinja").render(
        content,
        drawing_code=drawing_code(),
        page_script=script,
        security_policy=content_security_policy([drawing_code(), script]),
    )
