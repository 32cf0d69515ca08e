"""Charts show what their rows say, refuse what must not be compared, and fit into metadata."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import vl_convert

from synth_assets.reporting import charts


def chart_rows(chart: charts.Chart) -> list[dict[str, Any]]:
    (rows,) = chart.to_dict()["datasets"].values()
    return rows


def throughput_rows(model: str) -> list[dict[str, Any]]:
    return [
        {"model": model, "hardware": "L40S", "concurrency": in_flight, "tokens_per_second": 30.0 * in_flight}
        for in_flight in (1, 4, 16)
    ]


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


def test_two_models_of_one_strategy_are_two_bars_and_the_total_is_none() -> None:
    rows = [
        {"strategy": strategy, "model": model, "cost_usd": 1.0, "estimated_cost_usd": 2.0}
        for strategy, model in (("distill", "a"), ("distill", "b"), ("diverse_qa", "a"), ("total", None))
    ]
    bars = chart_rows(charts.cost_chart(rows))
    assert {row["strategy"] for row in bars} == {"distill (a)", "distill (b)", "diverse_qa"}
    assert {row["kind"]: row["cost_usd"] for row in bars} == {"estimate": 2.0, "actual": 1.0}


def test_lengths_of_one_bin_are_stacked_without_a_gap() -> None:
    shared = {"bin_start": 1000.0, "bin_end": 1259.0}
    rows = [
        {**shared, "status": status, "document_count": count}
        for status, count in (("not a candidate", 2), ("used", 5), ("duplicate", 1))
    ]
    stacked = chart_rows(charts.length_chart(rows))
    assert [(row["status"], row["low"], row["high"]) for row in stacked] == [
        ("used", 0, 5),
        ("duplicate", 5, 6),
        ("not a candidate", 6, 8),
    ]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 6, 11, 1_234])
def test_an_axis_of_counts_has_whole_numbers_once_each(most: int) -> None:
    chart = charts.category_chart([{"category": "birds", "document_count": most}])
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    labels = re.findall(r">([\d,]+)</text>", svg)
    assert len(labels) >= 2
    assert len(set(labels)) == len(labels)


def test_an_image_for_metadata_is_a_png_of_bounded_size() -> None:
    image = charts.markdown_image(charts.throughput_chart(throughput_rows("[model]")))
    assert len(image.encode()) <= 50_000
    encoded = re.fullmatch(r"!\[[^\[\]]+\]\(data:image/png;base64,([\w+/=]+)\)", image)
    assert encoded is not None
    assert base64.b64decode(encoded[1]).startswith(b"\x89PNG")


def test_an_image_that_cannot_be_small_enough_is_a_sentence() -> None:
    words = charts.markdown_image(charts.throughput_chart(throughput_rows("model")), max_bytes=2_000)
    assert "base64" not in words
    assert "2,000 bytes" in words
