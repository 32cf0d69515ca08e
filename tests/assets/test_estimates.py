"""Which requests were planned from the same ledger: told from purchases and from when answers came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.lake import Lake
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.assets.estimates import planned_together
from synth_assets.core.bill_tables import USAGE

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    yield lake
    lake.close()


def purchases(lake: Lake, *minutes: int, model: str = "m") -> None:
    rows = [{"started_at": START + timedelta(minutes=minute), "model": model} for minute in minutes]
    lake.append(USAGE.name, pa.Table.from_pylist(rows, schema=USAGE.schema))


def answers(lake: Lake, *minutes: int, strategy: str = "distill", **more: Any) -> None:
    rows = [
        {
            "request_key": f"{strategy}-{minute}", "strategy": strategy, "model": "m", "finish_reason": "stop",
            "prompt_tokens": 90, "completion_tokens": 40, "estimated_prompt_tokens": 100,
            "estimated_completion_tokens": 60, "created_at": START + timedelta(minutes=minute), **more,
        }
        for minute in minutes
    ]  # fmt: skip
    lake.append(COMPLETIONS, pa.Table.from_pylist(rows, schema=COMPLETIONS_SCHEMA))


def test_an_answer_belongs_to_the_last_purchase_that_began_before_it(lake: Lake) -> None:
    purchases(lake, 0, 100)
    answers(lake, 1, 2, 3, 101)
    answers(lake, 4, 102, strategy="wiki_rephrase")
    found = [(each.strategy, each.requests) for each in planned_together(lake)]
    assert found == [("distill", 3), ("distill", 1), ("wiki_rephrase", 1), ("wiki_rephrase", 1)]


def test_estimates_and_what_came_are_summed_apart(lake: Lake) -> None:
    purchases(lake, 0)
    answers(lake, 1, 2)
    (found,) = planned_together(lake)
    assert (found.estimated_prompt_tokens, found.prompt_tokens) == (200, 180)
    assert (found.estimated_completion_tokens, found.completion_tokens) == (120, 80)


def test_answers_from_before_anything_was_measured_are_one_purchase(lake: Lake) -> None:
    answers(lake, 1, 2)
    assert [each.requests for each in planned_together(lake)] == [2]
    purchases(lake, 50)
    answers(lake, 51)
    assert [each.requests for each in planned_together(lake)] == [2, 1]


def test_purchases_of_another_model_divide_nothing(lake: Lake) -> None:
    purchases(lake, 0)
    purchases(lake, 2, model="another")
    answers(lake, 1, 3)
    assert [each.requests for each in planned_together(lake)] == [2]


def test_a_request_that_was_refused_as_too_long_says_nothing_of_estimates(lake: Lake) -> None:
    purchases(lake, 0)
    answers(lake, 1)
    answers(lake, 2, finish_reason="context_overflow", completion_tokens=0)
    assert [each.requests for each in planned_together(lake)] == [1]


def test_an_empty_lake_has_nothing_to_compare(lake: Lake) -> None:
    assert planned_together(lake) == []
