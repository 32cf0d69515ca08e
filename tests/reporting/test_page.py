"""The page is one offline file that a browser draws, and that lets no text out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from resources.lake import Lake
from synth_assets.reporting.page import write_report
from tests.reporting.made_up_rows import HARDWARE
from tests.reporting.parsed_page import HOSTILE, Parsed, chart_rows


def test_the_page_is_one_file_that_fetches_nothing(page: str) -> None:
    parsed = Parsed(page)
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    assert parsed.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in parsed.policy


def test_the_policy_lets_exactly_the_scripts_of_the_page_run(page: str) -> None:
    parsed = Parsed(page)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in parsed.code]
    assert re.findall(r"sha256-([^']+)'", parsed.policy) == digests


def test_the_drawing_code_is_in_the_page_once_however_many_charts_there_are(page: str) -> None:
    parsed = Parsed(page)
    assert len(parsed.specs) > 10
    assert len(parsed.code) == 2
    assert sum("window.vegaEmbed=" in text for text in parsed.code) == 1
    assert len(page.encode()) < 2_000_000


def test_every_chart_has_a_place_with_a_description(page: str) -> None:
    parsed = Parsed(page)
    places = {attributes["id"]: attributes for _, attributes in parsed.elements if attributes.get("class") == "chart"}
    assert set(places) == {f"chart-{name}" for name in parsed.specs}
    assert all(attributes["aria-label"] for attributes in places.values())


def test_text_of_documents_and_models_stays_text(hostile_path: Path) -> None:
    html = hostile_path.read_text(encoding="utf-8")
    parsed = Parsed(html)
    assert len(parsed.code) == 2
    assert "alert(" not in parsed.code[1]
    for tag, attributes in parsed.elements:
        assert tag != "img"
        assert not [name for name in attributes if name.startswith("on")]
    assert f"0 {HOSTILE}" in parsed.text, "the title is shown as it was written"
    assert f"model-{HOSTILE}" in parsed.text


def test_a_marked_text_stays_text_and_a_reason_for_waste_too(hostile_path: Path) -> None:
    html = hostile_path.read_text(encoding="utf-8")
    parsed = Parsed(html)
    copied = [tag for tag, attributes in parsed.elements if attributes.get("class") == "copied"]
    assert copied, "the strange opening is in the sources and in the texts"
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"img", "iframe"})
    assert re.search(rf"failed {re.escape(HOSTILE)} \d", parsed.text)
    assert f"distill model-{HOSTILE} 20 20" in parsed.text, "the estimates name the model"


def test_no_text_ends_the_json_of_a_chart(hostile_path: Path) -> None:
    html = hostile_path.read_text(encoding="utf-8")
    for content in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL):
        assert "<" not in content
    specs = Parsed(html).specs
    assert any(HOSTILE in row["title"] for row in chart_rows(specs["pairing-0"]) if "title" in row)
    assert chart_rows(specs["throughput"])[0]["model"] == f"model-{HOSTILE}"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium is installed, so no chart can be drawn")
def test_a_browser_draws_every_chart_and_runs_nothing_else(hostile_path: Path, tmp_path: Path) -> None:
    command = (
        f"chromium --headless --no-sandbox --disable-gpu --disable-background-networking --dump-dom "
        f"--virtual-time-budget=20000 --user-data-dir={tmp_path} {hostile_path.as_uri()}"
    )
    dom = subprocess.run(command.split(), capture_output=True, text=True, timeout=120, check=True).stdout
    classes = [set((attributes.get("class") or "").split()) for _, attributes in Parsed(dom).elements]
    drawn = [names for names in classes if {"chart", "drawn"} <= names]
    assert len(drawn) == len(Parsed(hostile_path.read_text(encoding="utf-8")).specs)
    assert "could not be drawn" not in Parsed(dom).text
    assert not [tag for tag, _ in Parsed(dom).elements if tag == "img"]


def test_a_reader_of_the_old_page_keeps_it_whole_while_the_new_one_is_written(lake: Lake, tmp_path: Path) -> None:
    path = write_report(lake, tmp_path, HARDWARE, {})
    with path.open(encoding="utf-8") as old:
        write_report(lake, tmp_path, HARDWARE, {"second": "writing"})
        assert old.read().endswith("</html>")
    assert "writing" in path.read_text(encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir() if "report" in entry.name] == ["report.html"]


def test_a_page_that_cannot_be_put_in_place_leaves_nothing_behind(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(lake, tmp_path / "out", HARDWARE, {})
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["report.html"]
