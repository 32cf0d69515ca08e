"""The bill of a real graph: what failed, was dropped, cut and replaced, what was measured, and what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pytest

from resources.testing import Behaviour, Fault
from synth_assets.assets.keys import COST, ESTIMATES, WASTE
from synth_assets.strategies import discover


def asked_for(strategy: str, text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Holds for request bodies of that strategy whose prompt contains the text."""
    (named,) = (each for each in discover() if each.name == strategy)
    instructions = named.messages("", "")[0].content

    def holds(body: Mapping[str, Any]) -> bool:
        prompts = [message["content"] for message in body["messages"]]
        return prompts[0] == instructions and any(text in prompt for prompt in prompts)

    return holds


@pytest.fixture
def billed(workplace, make_article):
    """A first run in which one call fails, one is refused and one cut; a second one after an edit, with reports."""
    # What is left of a cut answer has to be long enough for a text.
    articles = [make_article(number, words=600 if number == 3 else 140) for number in range(1, 5)]
    workplace.write("a.jsonl", articles)
    workplace.server.behaviour = Behaviour(
        faults=(
            Fault("status", when=asked_for("distill", "Station 1 ")),
            Fault("refuse", when=asked_for("wiki_rephrase", "Station 2 ")),
            Fault("cut", when=asked_for("knowledge_extract", "Station 3 ")),
        )
    )
    _, first = workplace.run()
    workplace.server.behaviour = Behaviour()
    workplace.write("a.jsonl", [*articles[:3], make_article(9)])
    _, second = workplace.run(has_reports=True)
    sent = [each.report.requests_sent for project in (first, second) for each in _purchasers(project)]
    return workplace, sent


def _purchasers(project):
    return project.purchases.rephrase, project.purchases.judge


def test_the_bill_tells_what_was_used_what_was_wasted_and_how_far_off_it_was(billed) -> None:
    workplace, sent = billed
    ledger = workplace.rows("SELECT * EXCLUDE completion FROM ledger.completions")

    waste = workplace.rows("SELECT * FROM reports.waste")
    kinds = {(row["strategy"], row["kind"], row["reason"]): row["requests"] for row in waste}
    assert kinds["distill", "failed", "server_error"] == 1
    assert kinds["wiki_rephrase", "dropped", "refused"] == 1
    assert kinds["knowledge_extract", "cut", "length"] == 1
    assert {strategy for strategy, _, reason in kinds if reason == "document_gone"} > {"distill", "diverse_qa"}
    assert all(row["cost_usd"] > 0 for row in waste)

    cost = {row["strategy"]: row for row in workplace.rows("SELECT * FROM reports.cost")}
    assert cost["total"]["requests"] == len(ledger)
    assert cost["total"]["cached_prompt_tokens"] == sum(row["cached_prompt_tokens"] for row in ledger) > 0
    assert cost["total"]["wasted_cost_usd"] == pytest.approx(sum(row["cost_usd"] for row in waste))
    by_strategy = Counter[str]()
    for row in waste:
        by_strategy[row["strategy"]] += row["cost_usd"]
    assert cost["distill"]["wasted_cost_usd"] == pytest.approx(by_strategy["distill"])

    estimates = workplace.rows("SELECT * FROM reports.estimates WHERE strategy = 'diverse_qa'")
    assert sum(row["requests"] for row in estimates) == sum(row["strategy"] == "diverse_qa" for row in ledger)

    usage = workplace.rows("SELECT * FROM serving.usage ORDER BY started_at")
    assert [row["requests"] for row in usage] == [count for count in sent if count]
    assert sum(row["completion_tokens"] for row in usage) == sum(row["completion_tokens"] for row in ledger)
    assert all(row["tokens_per_second"] > 0 and row["mean_in_flight"] > 0 for row in usage)

    for key, shown in ((COST, "bill"), (WASTE, "waste"), (ESTIMATES, "estimate against actual")):
        event = workplace.instance.get_latest_materialization_event(key)
        metadata = event.asset_materialization.metadata
        assert isinstance(metadata[shown], dg.MarkdownMetadataValue)
        assert "data:image/png" in metadata["plot"].value
