"""The report's page as its tests read it: elements, words, scripts, and what the charts are drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from resources.lake import Lake
from synth_assets.reporting.page import write_report
from tests.reporting.made_up_rows import HARDWARE

MakeLake = Callable[..., Lake]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


def written(lake: Lake, directory: Path) -> str:
    return write_report(lake, directory, HARDWARE, {"synth-assets": "0.1.0"}).read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of the script elements."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._open: str = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        self._open = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        elif not self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def code(self) -> list[str]:
        return [text for attributes, text in self.scripts if attributes.get("type") != "application/json"]

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        return {
            str(attributes["id"]).removeprefix("chart-").removesuffix("-spec"): json.loads(text)
            for attributes, text in self.scripts
            if attributes.get("type") == "application/json"
        }

    @property
    def policy(self) -> str:
        return next(
            str(attributes["content"])
            for tag, attributes in self.elements
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        )


def chart_rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of a chart, of its layers too."""
    own = spec.get("data", {}).get("values", [])
    inlined = [row for rows in spec.get("datasets", {}).values() for row in rows]
    return [*own, *inlined, *(row for layer in spec.get("layer", []) for row in chart_rows(layer))]
