"""The report is one offline file that copes with what is missing and lets no text out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.lake import Lake, Replacement
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.core import tables
from synth_assets.reporting import charts, figures
from synth_assets.reporting.page import write_report

STRATEGIES = ("wiki_rephrase", "diverse_qa", "distill", "knowledge_extract", "knowledge_list")
REWRITER, REFERENCE, JUDGE = "SmolLM2-135M-Instruct", "openai-community/gpt2", "Qwen3-8B"
HARDWARE = "4xH100-SXM"
WORDS = (
    "river", "delta", "carries", "fine", "sediment", "toward", "shallow", "coast", "where", "tides", "sort", "sand",
    "from", "clay", "slow", "currents", "build", "bars", "that", "shelter", "young", "marsh", "grass", "through",
)  # fmt: skip


def made_up_text(generator: random.Random, characters: int) -> str:
    words = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(generator.choice(WORDS))
    text = " ".join(words)
    return text[:characters].capitalize() + "."


def fill(
    lake: Lake,
    *,
    documents: int = 12,
    title: Callable[[int], str] = lambda number: f"River delta {number}",
    opening: str = "",
    rewriter: str = REWRITER,
    references: Sequence[str] = (REFERENCE,),
    judge: str = JUDGE,
    strategies: Sequence[str] = STRATEGIES,
    detail: str = "38 tokens, 50 are the least",
) -> None:
    """Every table that the report reads, with plausible figures that are the same at each call."""
    generator = random.Random(7)
    seed: list[dict[str, Any]] = []
    for number in range(documents):
        length = int(math.exp(generator.uniform(math.log(700), math.log(20_000))))
        text = opening + made_up_text(generator, length)
        seed.append(
            {
                "document_id": f"{number:032x}", "curator_file": f"part-{number % 3}.jsonl", "row_number": number,
                "source_id": str(number), "title": title(number), "text": text, "url": f"https://example.org/{number}",
                "language": "en", "categories": ["Coasts", f"Region {number % 4}"], "file_name": None,
                "char_count": len(text), "token_count": len(text) // 4, "is_duplicate": number % 6 == 5,
                "is_candidate": number % 6 != 4, "rejection_reason": "stub" if number % 6 == 4 else None,
            }
        )  # fmt: skip
    used = [row for row in seed if row["is_candidate"] and not row["is_duplicate"]]
    merged: list[dict[str, Any]] = []
    completions: list[dict[str, Any]] = []
    changes: list[Replacement] = []
    for position, name in enumerate(("original", *strategies)):
        rephrased = []
        for number, row in enumerate(used):
            if name != "original" and (number + position) % 9 == 8:
                continue
            share = 1.0 if name == "original" else 0.25 + 0.15 * position
            text = (
                row["text"] if name == "original" else opening + made_up_text(generator, int(row["char_count"] * share))
            )
            shared = {"document_id": row["document_id"], "curator_file": row["curator_file"], "text": text}
            merged.append(
                {
                    "merged_id": f"{name}-{row['document_id']}", "strategy": name, "title": row["title"],
                    "token_count": len(text) // 4, "char_count": len(text), "segments": [], **shared,
                }
            )  # fmt: skip
            if name != "original":
                tokens = {"prompt_tokens": row["token_count"] + 150, "completion_tokens": len(text) // 4}
                rephrased.append(
                    {
                        "structured": None, "segment_count": 1, "dropped_segment_count": 0, "model": rewriter,
                        "strategy_fingerprint": f"{position:x}" * 32, "segments": [], **tokens, **shared,
                    }
                )  # fmt: skip
                completions.append(
                    {
                        "request_key": f"{name}-{number}", "strategy": name, "document_id": row["document_id"],
                        "segment_index": 0, "model": rewriter, "model_revision": "9f31c0d2", "generation": 0,
                        "cached_prompt_tokens": 0, "wall_seconds": 1.0, "finish_reason": "stop", "completion": text,
                        "created_at": datetime(2026, 3, 1, 12, number % 60, tzinfo=UTC), **tokens,
                    }
                )  # fmt: skip
        if name != "original":
            changes.append(stored(tables.rephrased(name), rephrased))
    answers = pa.Table.from_pylist(completions, schema=COMPLETIONS_SCHEMA)
    changes += [
        Replacement(COMPLETIONS, answers, where=None),
        stored(tables.CURATED_DOCUMENTS, seed),
        stored(tables.PROFILE, profile_rows(seed)),
        stored(tables.MERGED_DOCUMENTS, merged),
        stored(tables.PERPLEXITY, perplexity_rows(generator, merged, references)),
        stored(tables.JUDGE_SCORES, judge_rows(generator, merged, judge)),
        stored(tables.QUALITY, quality_rows(merged, references, judge)),
        stored(tables.COST, cost_rows(completions, rewriter)),
        stored(tables.BASELINE, baseline_rows(rewriter)),
        stored(tables.DROPS, drop_rows(seed, strategies, detail)),
    ]
    lake.replace(changes)


def stored(spec: tables.TableSpec, rows: Sequence[dict[str, Any]]) -> Replacement:
    return Replacement(spec.name, pa.Table.from_pylist(list(rows), schema=spec.schema), where=None)


def profile_rows(seed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for file in (None, *sorted({row["curator_file"] for row in seed})):
        chosen = [row for row in seed if file in (None, row["curator_file"])]
        lengths = sorted(row["char_count"] for row in chosen)
        names = sorted({name for row in chosen for name in row["categories"]})
        rows.append(
            {
                "curator_file": file, "document_count": len(chosen),
                "candidate_count": sum(row["is_candidate"] for row in chosen),
                "duplicate_count": sum(row["is_duplicate"] for row in chosen),
                "mean_chars": sum(lengths) / len(lengths),
                "median_chars": float(lengths[len(lengths) // 2]), "min_chars": lengths[0], "max_chars": lengths[-1],
                "std_chars": 4000.0, "char_count": sum(lengths), "token_count": sum(lengths) // 4,
                "categories": [
                    {"category": name, "document_count": sum(name in row["categories"] for row in chosen)}
                    for name in names
                ],
            }
        )  # fmt: skip
    return rows


def perplexity_rows(
    generator: random.Random, merged: list[dict[str, Any]], references: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for index, model in enumerate(references):
        for row in merged:
            middle = 2.6 + 0.15 * (len(row["strategy"]) % 6) + 2 * index
            perplexity = math.exp(generator.gauss(middle, 0.35))
            rows.append(
                {
                    **identity(row), "reference_model": model, "perplexity": perplexity,
                    "bits_per_byte": math.log2(perplexity) / 4.2, "token_count": row["token_count"],
                    "negative_log_likelihood": math.log(perplexity) * row["token_count"],
                    "byte_count": row["char_count"],
                }
            )  # fmt: skip
    return rows


def judge_rows(generator: random.Random, merged: list[dict[str, Any]], judge: str) -> list[dict[str, Any]]:
    def score() -> float:
        return float(min(5, max(1, round(generator.gauss(4.1, 0.8)))))

    return [
        {
            **identity(row), "judge_model": judge, "coherence": score(), "faithfulness": score(),
            "information_density": score(), "coherence_reasoning": "It holds together.",
            "faithfulness_reasoning": "Each statement is in the source.", "information_density_reasoning": "Dense.",
            "part_count": 1, "prompt_tokens": 400, "completion_tokens": 80,
        }
        for row in merged
    ]  # fmt: skip


def quality_rows(merged: list[dict[str, Any]], references: Sequence[str], judge: str) -> list[dict[str, Any]]:
    return [
        {
            "strategy": name, "document_count": sum(row["strategy"] == name for row in merged),
            "reference_model": model,
            "mean_perplexity": 17.25, "median_perplexity": 15.5, "mean_bits_per_byte": 0.953, "judged_count": 8,
            "judge_model": judge, "mean_coherence": 4.12, "mean_faithfulness": 3.98, "mean_information_density": 3.5,
            "surprising_and_good_count": 2,
        }
        for model in references
        for name in sorted({row["strategy"] for row in merged})
    ]  # fmt: skip


def cost_rows(completions: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    def bill(strategy: str, model: str | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prompt, completion = (sum(row[name] for row in rows) for name in ("prompt_tokens", "completion_tokens"))
        gpu_hours = completion / 9_000_000
        actual = {
            "requests": len(rows), "prompt_tokens": prompt, "completion_tokens": completion,
            "flops": 3.2e9 * (prompt + completion), "gpu_hours": gpu_hours, "cost_usd": gpu_hours * 2.69,
        }  # fmt: skip
        before = {f"estimated_{name}": type(value)(value * 1.2) for name, value in actual.items()}
        return {"strategy": strategy, "model": model, "hardware": HARDWARE, **actual, **before}

    names = sorted({row["strategy"] for row in completions})
    rows = [bill(name, model, [row for row in completions if row["strategy"] == name]) for name in names]
    return [*rows, bill("total", None, completions)]


def baseline_rows(model: str) -> list[dict[str, Any]]:
    return [
        {
            "model": model, "base_url": "http://127.0.0.1:8000/v1", "hardware": HARDWARE, "concurrency": in_flight,
            "requests": max(5, in_flight), "prompt_tokens": 200, "completion_tokens": 64 * max(5, in_flight),
            "wall_seconds": 9.5, "tokens_per_second": 34 * in_flight**0.6, "mfu": 0.0021, "mbu": 0.013,
        }
        for in_flight in (1, 4, 16, 64)
    ]  # fmt: skip


def drop_rows(seed: list[dict[str, Any]], strategies: Sequence[str], detail: str) -> list[dict[str, Any]]:
    early = [
        {**identity(row), "strategy": None, "stage": "seed", "reason": reason, "detail": None}
        for row in seed
        for reason, is_dropped in (("duplicate", row["is_duplicate"]), ("not_a_candidate", not row["is_candidate"]))
        if is_dropped
    ]
    late = [
        {**identity(row), "strategy": name, "stage": "rephrase", "reason": reason, "detail": detail}
        for position, (name, reason) in enumerate(
            zip(strategies, ("too_short", "truncated", "invalid_schema"), strict=False)
        )
        for row in seed[: position + 1]
    ]
    return [{**row, "row_number": 1, "created_at": datetime(2026, 3, 1, tzinfo=UTC)} for row in (*early, *late)]


def identity(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("merged_id", "document_id", "curator_file", "strategy")}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_in(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = lake_in(tmp_path_factory.mktemp("filled"))
    fill(lake, documents=24, references=(REFERENCE, "HuggingFaceTB/SmolLM2-135M"))
    return lake


@pytest.fixture(scope="module")
def page(filled: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(filled, tmp_path_factory.mktemp("page"))


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


@pytest.fixture(scope="module")
def hostile_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = lake_in(tmp_path_factory.mktemp("hostile"))
    model = f"model-{HOSTILE}"
    fill(
        lake, documents=6, title=lambda number: f"{number} {HOSTILE}", opening=HOSTILE, rewriter=model,
        references=(model,), judge=model, detail=HOSTILE,
    )  # fmt: skip
    return write_report(lake, tmp_path_factory.mktemp("page"), HARDWARE, {"version": HOSTILE})


def lake_in(folder: Path) -> Lake:
    return Lake(f"sqlite:{folder}/catalog.sqlite", str(folder / "data"))


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
    assert "could not be drawn" not in dom
    assert not [tag for tag, _ in Parsed(dom).elements if tag == "img"]


def test_without_a_lake_the_page_says_what_to_run(lake: Lake, tmp_path: Path) -> None:
    text = Parsed(written(lake, tmp_path / "reports")).text
    assert "Nothing has been materialized yet. Run synth run" in text
    assert "Run synth baseline" in text
    assert "none yet" in text


SPECS = (
    tables.CURATED_DOCUMENTS, tables.PROFILE, tables.MERGED_DOCUMENTS, tables.PERPLEXITY, tables.JUDGE_SCORES,
    tables.QUALITY, tables.COST, tables.BASELINE, tables.DROPS,
)  # fmt: skip
SCHEMAS = {COMPLETIONS: COMPLETIONS_SCHEMA, **{spec.name: spec.schema for spec in SPECS}}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = lake_in(tmp_path_factory.mktemp("small"))
    fill(lake, documents=3, strategies=("distill",))
    return lake


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_missing_table_takes_only_its_own_part_away(small: Lake, tmp_path: Path, table: str) -> None:
    rows = small.read(table, schema=SCHEMAS[table])
    small.query(f"DROP TABLE {table}")
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


def test_a_chart_of_two_reference_models_is_refused() -> None:
    rows = [
        {
            "strategy": "original",
            "reference_model": model,
            "bin_start": 1,
            "bin_end": 2,
            "document_count": 1,
            "share": 1,
        }
        for model in ("a", "b")
    ]
    with pytest.raises(ValueError, match="One chart shows one reference_model; these rows have a, b"):
        charts.perplexity_chart(rows, [])


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


def test_texts_without_a_usable_perplexity_are_counted_and_not_drawn(lake: Lake, tmp_path: Path) -> None:
    fill(lake, documents=2, strategies=("distill",))
    shared = {"document_id": "d", "curator_file": "f", "strategy": "distill", "reference_model": REFERENCE}
    odd = [{**shared, "merged_id": str(value), "perplexity": value} for value in (math.nan, math.inf, None, 0.0)]
    lake.replace([stored(tables.PERPLEXITY, odd)])
    parsed = Parsed(written(lake, tmp_path))
    assert f"4 texts have no perplexity under {REFERENCE}" in parsed.text
    assert all(0 < row.get("bin_start", 1) < 1e6 for row in chart_rows(parsed.specs["perplexity-0"]))


def test_a_long_text_says_how_much_of_it_is_not_shown(lake: Lake, tmp_path: Path) -> None:
    fill(lake, documents=1, opening="ż" * 5_000, strategies=("distill",))
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


def test_two_models_of_one_strategy_are_two_bars_and_the_total_is_none() -> None:
    rows = [
        {"strategy": strategy, "model": model, "cost_usd": 1.0, "estimated_cost_usd": 2.0}
        for strategy, model in (("distill", "a"), ("distill", "b"), ("diverse_qa", "a"), ("total", None))
    ]
    bars = chart_rows(charts.cost_chart(rows).to_dict())
    assert {row["strategy"] for row in bars} == {"distill (a)", "distill (b)", "diverse_qa"}
    assert {row["kind"]: row["cost_usd"] for row in bars} == {"estimate": 2.0, "actual": 1.0}


def test_lengths_of_one_bin_are_stacked_without_a_gap() -> None:
    shared = {"bin_start": 1000.0, "bin_end": 1259.0}
    rows = [
        {**shared, "status": status, "document_count": count}
        for status, count in (("not a candidate", 2), ("used", 5), ("duplicate", 1))
    ]
    stacked = chart_rows(charts.length_chart(rows).to_dict())
    assert [(row["status"], row["low"], row["high"]) for row in stacked] == [
        ("used", 0, 5),
        ("duplicate", 5, 6),
        ("not a candidate", 6, 8),
    ]


def test_an_image_for_metadata_is_a_png_of_bounded_size() -> None:
    image = charts.markdown_image(charts.throughput_chart(baseline_rows("[model]")))
    assert len(image.encode()) <= 50_000
    encoded = re.fullmatch(r"!\[[^\[\]]+\]\(data:image/png;base64,([\w+/=]+)\)", image)
    assert encoded is not None
    assert base64.b64decode(encoded[1]).startswith(b"\x89PNG")


def test_an_image_that_cannot_be_small_enough_is_a_sentence() -> None:
    words = charts.markdown_image(charts.throughput_chart(baseline_rows("model")), max_bytes=2_000)
    assert "base64" not in words
    assert "2,000 bytes" in words


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (figures.significant, 0.000123456, "0.000123"),
        (figures.significant, 999.9, "1,000"),
        (figures.significant, -1234567.0, "-1,230,000"),
        (figures.significant, 0, "0"),
        (figures.usd, 0.0312, "$0.0312"),
        (figures.usd, 1234.5, "$1,234.50"),
        (figures.compact, 999_600, "1 M"),
        (figures.compact, 1_520_000_000, "1.52 B"),
        (figures.metric, 4.85e15, "4.85 P"),
        (figures.percent, 0.0021, "0.21%"),
        (figures.whole, None, "–"),
        (figures.usd, math.nan, "–"),
    ],
)
def test_figures_are_written_for_people(
    write: Callable[[float | None], str], value: float | None, expected: str
) -> None:
    assert write(value) == expected


@given(st.floats(min_value=1e-12, max_value=1e15))
def test_a_figure_as_written_is_within_half_a_percent_of_the_figure(value: float) -> None:
    assert float(figures.significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)
