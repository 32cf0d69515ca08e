"""The report shows what its tables hold, and copes with what is missing."""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path

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
from tests.reporting.made_up_rows import REFERENCE
from tests.reporting.parsed_page import MakeLake, Parsed, chart_rows, written


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
