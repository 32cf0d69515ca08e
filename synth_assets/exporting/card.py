"""The data card: `README.md` with the YAML header that the Hugging Face hub reads, and what a trainer has to know.

In: the header's values, escaping, filling the template. Out: the figures (`selection`, `card_data`), the wording
(`card.md.jinja`). Every value that the template writes is escaped for Markdown, whatever it comes from.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synth_assets.core.quality_tables import NEAR_DUPLICATES
from synth_assets.core.strategy import Strategy
from synth_assets.exporting import card_data
from synth_assets.exporting.lake_view import LakeView
from synth_assets.exporting.selection import Selection

MOST_VALUE_CHARS = 200

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))  # fmt: skip

_HUB_LICENSES = {
    "apache-2.0", "mit", "cc", "cc0-1.0", "odc-by", "odbl", "pddl", "gfdl", "bsd-3-clause", "gpl-3.0", "mpl-2.0",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0",
    "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
}  # fmt: skip
"""Identifiers of text and data licences that the hub knows; any other is `other`."""


class _Verbatim(str):
    """Text that is Markdown already."""


def render_card(
    view: LakeView,
    selection: Selection,
    strategies: Sequence[Strategy],
    data_files: Sequence[str],
    options: Mapping[str, Any],
) -> str:
    """The card of one export; the same lake, selection and files give the same text."""
    import jinja2

    in_mix = [strategy for strategy in strategies if strategy.name in {part.plan.part for part in selection.parts}]
    languages = card_data.seed_values(view, "language")
    licenses = card_data.seed_values(view, "license")
    measure_names, measures = card_data.text_measures(view)
    environment = jinja2.Environment(  # noqa: S701 - `finalize` escapes for Markdown, which autoescape does not
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("card.md.jinja").render(
        header=_Verbatim(card_header(selection.rows, languages, licenses, data_files)),
        selection=selection,
        tokens=sum(part.tokens for part in selection.parts),
        options=options,
        counted={
            "file": card_data.source_files(view),
            "licence": licenses,
            "attribution": card_data.seed_values(view, "attribution"),
            "language": languages,
        },
        models=card_data.models(view, [strategy.name for strategy in in_mix]),
        strategies=in_mix,
        drops=card_data.drops(view),
        perplexities=card_data.perplexities(view),
        judgements=card_data.judgements(view),
        measure_names=measure_names,
        measures=measures,
        has_near_duplicates=view.has(NEAR_DUPLICATES.name),
    )


def card_header(
    rows: int,
    languages: Sequence[Mapping[str, Any]],
    licenses: Sequence[Mapping[str, Any]],
    data_files: Sequence[str],
) -> str:
    """The YAML header: https://huggingface.co/docs/hub/datasets-cards. Each value is JSON, which is YAML as well."""
    codes = sorted({str(row["value"]) for row in languages if re.fullmatch(r"[a-z]{2,3}", str(row["value"]))})
    header: dict[str, Any] = {
        "language": codes or ["und"],
        "license": hub_licenses([row["value"] for row in licenses]),
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "1B<n<10B")],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "rephrased", "pre-training"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": list(data_files)}]}],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in header.items()]
    return "\n".join(["---", *lines, "---"])


def hub_licenses(values: Sequence[str | None]) -> list[str]:
    """The hub's identifiers of licences as a corpus states them: `unknown` for none, `other` for one it has not."""
    return sorted({_hub_license(value) for value in values}) or ["unknown"]


def _hub_license(value: str | None) -> str:
    if not value or not value.strip():
        return "unknown"
    name = re.sub(r"[\s_]+", "-", value.strip().lower())
    return name if name in _HUB_LICENSES else "other"


def markdown_text(value: str) -> str:
    """One line of plain text in Markdown, also in a table: no markup, link or HTML of the value takes effect."""
    line = " ".join(value.split())
    short = line if len(line) <= MOST_VALUE_CHARS else f"{line[: MOST_VALUE_CHARS - 1]}…"
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~>])", r"\\\1", html.escape(short, quote=False).replace("&gt;", ">"))
    # A bare address becomes a link in GitHub's Markdown.
    return escaped.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def _escaped(value: Any) -> Any:
    if isinstance(value, _Verbatim):
        return str(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not stated"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return markdown_text(str(value))
