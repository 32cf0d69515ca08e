"""The report is one offline file that copes with what is missing and lets no text out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.lake import Lake, Replacement
from resources.lake_connection import bare_cursor
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.core import tables
from synth_assets.core.bill_tables import ESTIMATES, USAGE, WASTE
from synth_assets.reporting.data import TEXT_CHARS
from synth_assets.reporting.example_data import examples
from synth_assets.reporting.page import write_report

MakeLake = Callable[..., Lake]
HARDWARE = "4xH100-SXM"
REFERENCE = "openai-community/gpt2"


@pytest.fixture
def lake(make_lake: MakeLake, tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


@pytest.fixture(scope="module")
def filled(make_lake: MakeLake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(
        tmp_path_factory.mktemp("filled"), documents=24, references=(REFERENCE, "HuggingFaceTB/SmolLM2-135M")
    )


@pytest.fixture(scope="module")
def page(filled: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(filled, tmp_path_factory.mktemp("page"))


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


@pytest.fixture(scope="module")
def hostile_path(make_lake: MakeLake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = f"model-{HOSTILE}"
    lake = make_lake(
        tmp_path_factory.mktemp("hostile"), documents=6, title=lambda number: f"{number} {HOSTILE}",
        opening=HOSTILE, rewriter=model, references=(model,), judge=model, detail=HOSTILE,
    )  # fmt: skip
    return write_report(lake, tmp_path_factory.mktemp("page"), HARDWARE, {"version": HOSTILE})


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


def test_texts_are_compared_with_their_source_and_shown_to_the_last_allowed_character(filled: Lake) -> None:
    for example in examples(filled):
        original, *made = example.texts
        assert {run.kind for run in original["runs"]} == {"other"}
        assert {run.kind for text in made for run in text["runs"]} != {"other"}
        for text in example.texts:
            [row] = filled.query(
                f"SELECT text FROM {tables.MERGED_DOCUMENTS.name} WHERE merged_id = ?", [text["merged_id"]]
            ).to_pylist()
            assert "".join(run.text for run in text["runs"]) == row["text"][:TEXT_CHARS]


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


def test_without_a_lake_the_page_says_what_to_run(lake: Lake, tmp_path: Path) -> None:
    text = Parsed(written(lake, tmp_path / "reports")).text
    assert "Nothing has been materialized yet. Run synth run" in text
    assert "Run synth baseline" in text
    assert "none yet" in text


SPECS = (
    tables.CURATED_DOCUMENTS, tables.PROFILE, tables.MERGED_DOCUMENTS, tables.PERPLEXITY, tables.JUDGE_SCORES,
    tables.QUALITY, tables.COST, tables.BASELINE, tables.DROPS, WASTE, ESTIMATES, USAGE,
)  # fmt: skip
SCHEMAS = {COMPLETIONS: COMPLETIONS_SCHEMA, **{spec.name: spec.schema for spec in SPECS}}


@pytest.fixture(scope="module")
def small(make_lake: MakeLake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("small"), documents=3, strategies=("distill",))


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_missing_table_takes_only_its_own_part_away(small: Lake, tmp_path: Path, table: str) -> None:
    rows = small.read(table, schema=SCHEMAS[table])
    with bare_cursor(small._address, create=False) as cursor:
        cursor.execute(f"DROP TABLE lake.{table}")
    try:
        parsed = Parsed(written(small, tmp_path))
    finally:
        small.append(table, rows)
    assert "then write the report again" in parsed.text
    assert len(parsed.specs) >= 5


def test_empty_tables_are_as_good_as_missing_ones(lake: Lake, tmp_path: Path) -> None:
    empty = [Replacement(name, schema.empty_table(), where=None) for name, schema in SCHEMAS.items()]
    lake.replace(empty)
    text = Parsed(written(lake, tmp_path)).text
    assert "Nothing was dropped" in text
    assert "There is no bill yet. Run synth run" in text


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


def test_histograms_count_every_document_once(filled: Lake, page: str) -> None:
    specs = Parsed(page).specs
    assert sum(row["document_count"] for row in chart_rows(specs["lengths"])) == 24
    bins = [row for row in chart_rows(specs["perplexity-0"]) if "share" in row]
    scored = f"SELECT strategy, perplexity FROM {tables.PERPLEXITY.name} WHERE reference_model = ?"
    rows = filled.query(scored, [bins[0]["reference_model"]]).to_pylist()
    for row in rows:
        assert any(
            entry["strategy"] == row["strategy"] and entry["bin_start"] <= row["perplexity"] < entry["bin_end"]
            for entry in bins
        )
    assert sum(entry["document_count"] for entry in bins) == len(rows)
    for strategy in {row["strategy"] for row in rows}:
        assert sum(entry["share"] for entry in bins if entry["strategy"] == strategy) == pytest.approx(1)


def test_figures_of_two_reference_models_are_never_in_one_chart(page: str) -> None:
    specs = Parsed(page).specs
    for kind in ("perplexity", "pairing"):
        shown = [{row["reference_model"] for row in chart_rows(specs[f"{kind}-{number}"])} for number in (0, 1)]
        assert shown == [{"HuggingFaceTB/SmolLM2-135M"}, {REFERENCE}]


def test_surprising_and_yet_good_texts_are_those_that_the_definition_names(filled: Lake, page: str) -> None:
    scores = "coherence + faithfulness + information_density"
    rows = filled.query(
        f"SELECT perplexity, ({scores}) / 3 AS mean_score FROM {tables.PERPLEXITY.name} "
        f"JOIN {tables.JUDGE_SCORES.name} USING (merged_id) WHERE reference_model = ?",
        [REFERENCE],
    ).to_pylist()
    quartile = statistics.quantiles([row["perplexity"] for row in rows], n=4, method="inclusive")[2]
    expected = sum(row["perplexity"] >= quartile and row["mean_score"] >= 4 for row in rows)
    assert expected > 6
    found = re.search(rf"that {REFERENCE} finds surprising .*?upper quarter\), (\d+) have", Parsed(page).text)
    assert found is not None
    assert int(found[1]) == expected


def test_texts_without_a_usable_perplexity_are_counted_and_not_drawn(make_lake: MakeLake, tmp_path: Path) -> None:
    lake = make_lake(tmp_path, documents=2, strategies=("distill",))
    shared = {"document_id": "d", "curator_file": "f", "strategy": "distill", "reference_model": REFERENCE}
    odd = [{**shared, "merged_id": str(value), "perplexity": value} for value in (math.nan, math.inf, None, 0.0)]
    lake.append(tables.PERPLEXITY.name, pa.Table.from_pylist(odd, schema=tables.PERPLEXITY.schema))
    parsed = Parsed(written(lake, tmp_path))
    assert f"4 texts have no perplexity under {REFERENCE}" in parsed.text
    assert all(0 < row.get("bin_start", 1) < 1e6 for row in chart_rows(parsed.specs["perplexity-0"]))


def test_a_long_text_says_how_much_of_it_is_not_shown(make_lake: MakeLake, tmp_path: Path) -> None:
    lake = make_lake(tmp_path, documents=1, opening="ż" * 5_000, strategies=("distill",))
    (row,) = lake.query(
        f"SELECT char_count FROM {tables.MERGED_DOCUMENTS.name} WHERE strategy = 'original'"
    ).to_pylist()
    text = Parsed(written(lake, tmp_path)).text
    assert f"… ({row['char_count'] - 1_800:,} more characters)" in text


def test_examples_are_the_shortest_documents_that_every_strategy_has(filled: Lake, page: str) -> None:
    whole = filled.query(
        f"SELECT title FROM {tables.MERGED_DOCUMENTS.name} GROUP BY title HAVING count(*) = 6 "
        "ORDER BY sum(char_count) FILTER (strategy = 'original') LIMIT 4"
    )["title"].to_pylist()
    assert len(whole) == 4
    titles = re.findall(r'<article class="example">\s*<h3>(.*?)</h3>', page)
    assert titles == whole


def test_the_bill_is_scaled_to_a_thousand_times_the_documents(page: str) -> None:
    points = chart_rows(Parsed(page).specs["scaling"])
    assert [row["factor"] for row in points] == [1, 10, 100, 1000]
    assert points[3]["documents"] == 1000 * points[0]["documents"]


def test_hardware_that_is_not_known_is_said_and_the_rest_is_written(filled: Lake, tmp_path: Path) -> None:
    html = write_report(filled, tmp_path, "3xAbacus", {}).read_text(encoding="utf-8")
    assert "COST_HARDWARE='3xAbacus' is no hardware" in Parsed(html).text
    assert "cost" in Parsed(html).specs
