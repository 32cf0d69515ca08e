"""The report's section on the texts themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resources.lake import Lake
from synth_assets.core.quality_tables import NEAR_DUPLICATES, TEXT_QUALITY
from synth_assets.reporting.page import page_content, write_report
from synth_assets.reporting.text_data import MEASURES, measured_texts, near_duplicates

HARDWARE = "4xH100-SXM"


@pytest.fixture(scope="module")
def filled(make_lake: Callable[..., Lake], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("texts"), documents=24)


def test_every_measure_is_a_column_of_the_table():
    assert {measure.column for measure in MEASURES} <= set(TEXT_QUALITY.schema.names)


def test_means_are_those_of_each_strategy_and_the_original_stands_first(filled):
    shown = measured_texts(filled)
    assert shown is not None
    assert shown.strategies[0] == "original"
    expected = {
        row["strategy"]: row["mean"]
        for row in filled.query(
            f"SELECT strategy, avg(copied_share) AS mean FROM {TEXT_QUALITY.name} GROUP BY 1"
        ).to_pylist()
    }
    [means] = [values for measure, values in shown.means if measure.column == "copied_share"]
    assert dict(zip(shown.strategies, means, strict=True)) == pytest.approx(expected)
    assert expected["original"] is None


def test_the_far_end_of_a_measure_is_its_highest_text_beside_its_source(filled):
    shown = measured_texts(filled)
    assert shown is not None
    [row] = [row for row in shown.extremes if row["measure"].column == "copied_share"]
    highest = filled.query(f"SELECT max(copied_share) AS m FROM {TEXT_QUALITY.name}")["m"][0].as_py()
    assert row["value"] == highest
    assert row["source"]
    assert row["text"]
    assert row["strategy"] != "original"


def test_a_measure_that_never_varies_has_no_chart_and_one_that_finds_nothing_no_far_end(filled):
    shown = measured_texts(filled)
    assert shown is not None
    assert "top_3gram_share" not in shown.spreads
    assert "copied_share" in shown.spreads
    assert "duplicate_line_share" not in {row["measure"].column for row in shown.extremes}


def test_near_duplicates_are_counted_and_shown_with_what_is_kept(filled):
    found = near_duplicates(filled)
    assert found is not None
    assert (found.total, found.counts[0]["strategy"], found.counts[0]["kept_strategy"]) == (1, "distill", "original")
    assert found.pairs[0]["kept_text"]
    assert found.pairs[0]["text"]


def test_the_page_has_the_measures_and_says_what_to_run_where_there_are_none(filled, tmp_path, make_lake):
    page = write_report(filled, tmp_path, HARDWARE, {}).read_text()
    assert "Numbers that the source has not" in page
    assert 'id="chart-measure-copied_share"' in page

    unmeasured = make_lake(tmp_path / "unmeasured", documents=3)
    for spec in (TEXT_QUALITY, NEAR_DUPLICATES):
        unmeasured.delete(spec.name, {})
    content = page_content(unmeasured, HARDWARE, {})
    assert content["measured_texts"] is None
    assert content["near_duplicates"].total == 0
    page = write_report(unmeasured, tmp_path / "page", HARDWARE, {}).read_text()
    assert "No text has been measured yet." in page
    assert "No text says the same in the same words as another one." in page
