"""Answers that cannot be used: each ends as a named drop, is never asked for again, and costs its document only."""

from __future__ import annotations

import pytest

from resources.testing import Behaviour, Fault
from synth_assets.strategies import discover

STRATEGIES = {strategy.name: strategy for strategy in discover()}
FREE_TEXT = ("empty", "refuse", "filtered", "context_overflow", "reasoning")
REASONS = {
    "empty": "empty",
    "reasoning": "empty",
    "refuse": "refused",
    "filtered": "refused",
    "context_overflow": "context_overflow",
    "off_schema": "invalid_schema",
    "cut": "truncated",
}
CASES = [("distill", kind) for kind in FREE_TEXT] + [
    ("diverse_qa", kind) for kind in (*FREE_TEXT, "off_schema", "cut") if kind != "refuse"
]


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_an_answer_that_cannot_be_used_is_a_drop_with_its_reason_and_is_never_asked_again(
    workplace, make_article, strategy, kind
):
    workplace.environment["JUDGE_SHARE"] = "0"
    workplace.write("a.jsonl", [make_article(number) for number in range(1, 7)])
    workplace.server.behaviour = Behaviour(faults=(Fault(kind, containing="Station 4 "),))
    summary, _ = workplace.run(strategies=[strategy])
    assert summary.failed == []

    dropped = workplace.rows(
        f"SELECT d.reason, s.title FROM ledger.drops d JOIN seed.curated_documents s USING (document_id) "
        f"WHERE d.strategy = '{strategy}'"
    )
    assert {(row["title"], row["reason"]) for row in dropped} == {("Weather station 4", REASONS[kind])}
    assert workplace.rows(f"SELECT count(*) n FROM rephrased.{strategy}") == [{"n": 5}]

    before = workplace.server.request_count
    workplace.server.behaviour = Behaviour()
    workplace.write("a.jsonl", [make_article(number) for number in range(6, 0, -1)])
    summary, _ = workplace.run(strategies=[strategy])
    assert (summary.failed, workplace.server.request_count) == ([], before)


@pytest.mark.parametrize(
    "strategy", [name for name, strategy in STRATEGIES.items() if strategy.on_truncation != "drop"]
)
def test_where_a_strategy_keeps_what_was_cut_the_text_ends_with_a_whole_sentence(workplace, make_article, strategy):
    workplace.environment["JUDGE_SHARE"] = "0"
    workplace.write("a.jsonl", [make_article(number, words=600) for number in range(1, 3)])
    workplace.server.behaviour = Behaviour(faults=(Fault("cut"),))
    summary, _ = workplace.run(strategies=[strategy])
    assert summary.failed == []
    texts = [row["text"] for row in workplace.rows(f"SELECT text FROM rephrased.{strategy}")]
    dropped = workplace.rows(f"SELECT count(*) n FROM ledger.drops WHERE strategy = '{strategy}'")[0]["n"]
    assert len(texts) + dropped == 2
    assert all(text.rstrip().endswith((".", "!", "?")) for text in texts)
