from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from resources.inference import ServedModel
from resources.testing import FakeTokenizer
from synth_assets.core.request_planning import RequestPlanner, SeedDocument, planned_requests
from synth_assets.core.strategy import Strategy, TokenLimits

SENTENCE = "The mill was built beside the river in 1857. "
MODEL = ServedModel("model", "1", max_model_len=400)


class CountingTokenizer(FakeTokenizer):
    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.calls.append(list(texts))
        return super().count_tokens(texts)


class CharacterTokenizer(FakeTokenizer):
    """Spaces count, too."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return list(map(len, texts))


def a_strategy(**changes: Any) -> Strategy:
    values: dict[str, Any] = {
        "name": "plain",
        "title": "Plain",
        "description": "For tests.",
        "source": "none",
        "instructions": "Say it again.",
        "request": "Title: {title}\n\nText:\n{segment}",
        "sampling_temperature": 0.5,
        "sampling_top_p": 0.9,
        "limits": TokenLimits(
            min_document_tokens=8, min_segment_tokens=4, max_input_tokens=110, max_output_tokens=80, min_final_tokens=5
        ),
    }
    return Strategy(**{**values, **changes})


def seed(text: str, number: int = 1, title: str = "Mill") -> SeedDocument:
    return SeedDocument(f"document-{number}", "a.jsonl", title, text, number)


texts = st.one_of(
    st.text(max_size=60),
    st.builds(
        lambda parts, end: " " + "".join(parts) + end,
        st.lists(st.sampled_from([SENTENCE, "\n\n", "- one\n", "東京。", "x" * 99]), max_size=40),
        st.sampled_from(["", " \n", "x" * 2000]),
    ),
)
# Titles of 0 to 90 words: at the longest the prompt leaves no room for a text.
titles = st.integers(0, 90).map(lambda words: "Old mill " * words)


@settings(max_examples=150, deadline=None)
@given(contents=st.lists(st.tuples(texts, titles), max_size=8))
def test_documents_are_planned_together_as_each_is_alone(contents):
    documents = [seed(text, number, title) for number, (text, title) in enumerate(contents)]
    planner = RequestPlanner(a_strategy(), FakeTokenizer(), MODEL)

    together = planner.plan_many(documents)

    assert together == [planner.plan(document) for document in documents]
    assert list(planned_requests(documents, planner)) == [request for plan in together for request in plan.requests]


def test_documents_that_need_no_cutting_are_counted_in_one_call():
    tokenizer = CountingTokenizer()
    planner = RequestPlanner(a_strategy(), tokenizer, MODEL)
    tokenizer.calls.clear()

    plans = planner.plan_many([seed(f"{SENTENCE * 2}\n", number, f"Mill {number}") for number in range(20)])

    assert [len(plan.segments) for plan in plans] == [1] * 20
    assert tokenizer.calls == [[f"Mill {number}" for number in range(20)] + [(SENTENCE * 2).strip()] * 20]


def test_a_text_that_this_tokenizer_has_counted_for_the_seed_is_not_counted_again():
    tokenizer = CountingTokenizer()
    planner = RequestPlanner(a_strategy(), tokenizer, MODEL)
    text = (SENTENCE * 2).strip()
    [count] = FakeTokenizer().count_tokens([text])
    tokenizer.calls.clear()

    plan = planner.plan(replace(seed(text), token_count=count, tokenizer_fingerprint=tokenizer.fingerprint))

    assert tokenizer.calls == [["Mill"]]
    assert plan.segments[0].token_count == count


@pytest.mark.parametrize(
    ("text", "fingerprint"),
    [
        (SENTENCE * 2, "fake-word-tokenizer"),
        ("\n" + SENTENCE.strip(), "fake-word-tokenizer"),
        (SENTENCE.strip(), "another"),
        (SENTENCE.strip(), None),
    ],
    ids=["space behind", "space before", "another tokenizer", "a seed that does not say"],
)
def test_a_count_of_something_else_is_not_taken(text, fingerprint):
    counted = replace(seed(text), token_count=1, tokenizer_fingerprint=fingerprint)
    planner = RequestPlanner(a_strategy(), FakeTokenizer(), MODEL)

    assert planner.plan(counted).segments == planner.plan(seed(text)).segments


@given(st.text(alphabet="ab. \n", max_size=3000))
def test_segments_are_the_same_whether_the_seed_has_counted_or_not(text):
    tokenizer = CharacterTokenizer()
    planner = RequestPlanner(a_strategy(), tokenizer, MODEL)
    [count] = tokenizer.count_tokens([text])
    counted = replace(seed(text), token_count=count, tokenizer_fingerprint=tokenizer.fingerprint)

    assert planner.plan(counted).requests == planner.plan(seed(text)).requests


def test_no_documents_are_no_plans_and_no_count():
    tokenizer = CountingTokenizer()
    planner = RequestPlanner(a_strategy(), tokenizer, MODEL)
    tokenizer.calls.clear()

    assert planner.plan_many([]) == []
    assert tokenizer.calls == []


def test_the_stream_of_requests_pulls_few_documents_ahead_and_fewer_before_the_first():
    pulled: list[int] = []

    def stream() -> Iterator[SeedDocument]:
        for number in range(1000):
            pulled.append(number)
            yield seed(SENTENCE * 2, number)

    requests = planned_requests(stream(), RequestPlanner(a_strategy(), FakeTokenizer(), MODEL))

    assert pulled == []
    next(requests)
    assert len(pulled) <= 16
    for number in range(1, 1000):
        assert next(requests).document_id == f"document-{number}"
        assert len(pulled) <= number + 64
    assert next(requests, None) is None


class Wire(BaseModel):
    fact: str


def test_the_schema_of_a_wire_model_is_made_once_and_not_for_each_request(monkeypatch: pytest.MonkeyPatch):
    strategy = a_strategy(wire_model=Wire)
    schema = strategy.response_schema
    planner = RequestPlanner(strategy, FakeTokenizer(), MODEL)
    monkeypatch.setattr(Wire, "model_json_schema", lambda: pytest.fail("the schema was made again"))

    [planned] = planner.plan(seed(SENTENCE * 2)).requests

    assert planned.request.response_schema == schema
