"""From documents to rows, drops and missing answers, against a ledger in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.inference import Completion, CompletionRequest, LedgerEntry, ServedModel
from resources.testing import FAKE_MODEL, REFUSAL, FakeGenerator, FakeTokenizer, fake_completion
from synth_assets.core.generation import DOCUMENTS_PER_LOOKUP, RephrasedDocument, Unanswered, tabulate
from synth_assets.core.output_length import AnswerTotals
from synth_assets.core.request_planning import (
    CHAT_TEMPLATE_TOKENS,
    Drop,
    RequestPlanner,
    SeedDocument,
    planned_requests,
)
from synth_assets.core.screening import Rejection, Screen
from synth_assets.core.strategy import Strategy, TokenLimits
from synth_assets.core.tables import DROP_REASONS, rephrased
from synth_assets.strategies import discover

STRATEGIES = discover()
SENTENCE = "The mill on the river grinds corn for nine villages in the valley. "
LONG_ANSWER = "A mill stands on the river and grinds the corn of nine villages in the wide valley below it."


class MemoryLedger:
    """Answers in a dict; counts its look-ups."""

    def __init__(self) -> None:
        self.answers: dict[str, Completion] = {}
        self.lookups = 0

    def known_keys(self, request_keys: Sequence[str]) -> set[str]:
        return set(request_keys) & self.answers.keys()

    def fetch(self, request_keys: Sequence[str]) -> dict[str, Completion]:
        self.lookups += 1
        return {key: self.answers[key] for key in request_keys if key in self.answers}

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        self.answers.update({entry.completion.request_key: entry.completion for entry in entries})

    def buy(self, requests: Iterable[CompletionRequest], generator: FakeGenerator) -> None:
        for completion in generator.generate(requests):
            self.answers[completion.request_key] = completion


def small_strategy(**changes: object) -> Strategy:
    """Segments of about 70 tokens; documents from 8 tokens on; no clean-up."""
    plain = Strategy(
        name="small",
        title="Small",
        description="For tests.",
        source="none",
        instructions="Say it again.",
        request="Title: {title}\n\nText:\n{segment}",
        sampling_temperature=0.5,
        sampling_top_p=0.9,
        limits=TokenLimits(
            min_document_tokens=8, min_segment_tokens=4, max_input_tokens=110, max_output_tokens=80, min_final_tokens=5
        ),
        is_segment_independent=True,
    )
    return replace(plain, **changes)


def seed(text: str, number: int = 1) -> SeedDocument:
    return SeedDocument(f"document-{number}", "a.jsonl", f"Mill {number}", text, number)


def rephrase(
    documents: Sequence[SeedDocument],
    strategy: Strategy,
    answer: Callable[[CompletionRequest], Completion | str] | None = None,
    model: ServedModel = FAKE_MODEL,
    screens: Sequence[Screen] = (),
) -> tuple[list[RephrasedDocument | Drop | Unanswered], FakeGenerator]:
    """Ask for everything, then make the table; failed requests stay without an answer."""
    planner = RequestPlanner(strategy, FakeTokenizer(), model)
    ledger, generator = MemoryLedger(), FakeGenerator(answer, model=model)
    ledger.buy((planned.request for planned in planned_requests(documents, planner)), generator)
    ledger.answers = {key: answer for key, answer in ledger.answers.items() if answer.error_kind is None}
    return list(tabulate(documents, planner, ledger, FakeTokenizer(), "fingerprint", screens=screens)), generator


def document_of(result: RephrasedDocument | Drop | Unanswered) -> str | None:
    return result.row["document_id"] if isinstance(result, RephrasedDocument) else result.document_id


def reply(text: str, finish_reason: str = "stop") -> Callable[[CompletionRequest], Completion]:
    def answer(request: CompletionRequest) -> Completion:
        return Completion(request.request_key, text, finish_reason, 10, 20)  # pyright: ignore[reportArgumentType]

    return answer


# Every document ends as exactly one row, drop or unanswered


texts = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from([SENTENCE, "\n\n", "\n", "- one\n", "{title}{segment} ", "Ünïcödé 東京。", "####"]), max_size=99
    )
    .map("".join),
)  # fmt: skip
outcomes = st.sampled_from(["good", "cut", "empty", "refused", "nonsense", "overflow", "failed"])


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(contents=st.lists(st.tuples(texts, outcomes), max_size=6))
def test_every_document_is_one_row_or_one_named_drop_or_unanswered(strategy, contents):
    documents = [seed(text, number) for number, (text, _) in enumerate(contents)]
    outcome_of = {f"Mill {number}": outcome for number, (_, outcome) in enumerate(contents)}

    def answer(request: CompletionRequest) -> Completion | str:
        title = request.messages[-1].content.split("Title: ")[1].split("\n")[0]
        match outcome_of[title]:
            case "cut":
                return Completion(request.request_key, "It ends in the mid", "length", 10, 20)
            case "overflow":
                return Completion(request.request_key, "", "context_overflow", 10, 0)
            case "failed":
                return Completion(request.request_key, error_kind="timeout", error="too slow")
            case "empty":
                return ""
            case "refused":
                return REFUSAL
            case "nonsense":
                return "]]} ```"
        return fake_completion(request)

    results, _ = rephrase(documents, strategy, answer)
    assert [document_of(result) for result in results] == [document.document_id for document in documents]
    columns = set(rephrased(strategy.name).schema.names)
    for result, (text, outcome) in zip(results, contents, strict=True):
        if isinstance(result, Drop):
            assert result.reason in DROP_REASONS
            assert result.strategy == strategy.name
        elif isinstance(result, Unanswered):
            assert outcome == "failed"
            assert result.request_keys
        else:
            assert outcome in ("good", "nonsense")
            assert set(result.row) <= columns
            for span in result.row["segments"]:
                assert text[span["source_start"] : span["source_end"]].strip()


def test_documents_keep_their_order_across_ledger_look_ups():
    documents = [seed(SENTENCE * 3, number) for number in range(DOCUMENTS_PER_LOOKUP + 5)]
    results, generator = rephrase(documents, small_strategy())
    assert [document_of(result) for result in results] == [document.document_id for document in documents]
    assert generator.request_count == len(documents)


def test_the_ledger_is_asked_once_for_many_documents():
    strategy = small_strategy()
    planner = RequestPlanner(strategy, FakeTokenizer(), FAKE_MODEL)
    ledger = MemoryLedger()
    list(tabulate((seed(SENTENCE, n) for n in range(DOCUMENTS_PER_LOOKUP + 1)), planner, ledger, FakeTokenizer(), ""))
    assert ledger.lookups == 2


# Segments


@given(paragraphs=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_spans_point_at_each_segment_in_source_and_text(paragraphs):
    source = "\n\n".join(SENTENCE * count for count in paragraphs)
    said: dict[str, str] = {}

    def answer(request: CompletionRequest) -> str:
        said[request.request_key] = f"Answer {len(said)}. {LONG_ANSWER}"
        return said[request.request_key]

    [result], generator = rephrase([seed(source)], small_strategy(), answer)
    assert isinstance(result, RephrasedDocument)
    spans, text = result.row["segments"], result.row["text"]
    assert len(spans) == result.row["segment_count"]
    asked = {request.request_key: request.messages[-1].content for request in generator.requests}
    for span in spans:
        assert text[span["text_start"] : span["text_end"]] == said[span["request_key"]]
        assert asked[span["request_key"]].endswith("Text:\n" + source[span["source_start"] : span["source_end"]])
    assert text == "\n\n".join(said[span["request_key"]] for span in spans)
    between = [source[a["source_end"] : b["source_start"]] for a, b in pairwise(spans)]
    outside = [source[: spans[0]["source_start"]], *between, source[spans[-1]["source_end"] :]]
    assert "".join(outside).strip() == ""


@given(count=st.integers(1, 60))
def test_no_prompt_is_longer_than_the_input_limit(count):
    strategy = small_strategy()
    _, generator = rephrase([seed(SENTENCE * count)], strategy)
    for request in generator.requests:
        tokens = sum(FakeTokenizer().count_tokens([message.content for message in request.messages]))
        assert tokens <= strategy.limits.max_input_tokens


def paragraph(number: int) -> str:
    return f"Paragraph {number}. " + SENTENCE * 4


def test_an_independent_strategy_keeps_the_other_segments_and_counts_the_lost_one():
    source = "\n\n".join(paragraph(number) for number in range(3))

    def answer(request: CompletionRequest) -> str:
        return "" if "Paragraph 1." in request.messages[-1].content else LONG_ANSWER

    [result], _ = rephrase([seed(source)], small_strategy(), answer)
    assert isinstance(result, RephrasedDocument)
    assert (result.row["segment_count"], result.row["dropped_segment_count"]) == (3, 1)
    assert [span["segment_index"] for span in result.row["segments"]] == [0, 2]
    assert result.row["text"] == f"{LONG_ANSWER}\n\n{LONG_ANSWER}"


def test_a_dependent_strategy_drops_the_document_rather_than_join_it_over_a_gap():
    source = "\n\n".join(paragraph(number) for number in range(3))

    def answer(request: CompletionRequest) -> str:
        return "" if "Paragraph 1." in request.messages[-1].content else LONG_ANSWER

    [result], _ = rephrase([seed(source)], small_strategy(is_segment_independent=False), answer)
    assert isinstance(result, Drop)
    assert (result.reason, result.stage) == ("empty", "post_processing")
    assert "segment 2 of 3" in result.detail


def test_one_missing_answer_of_several_leaves_the_document_unanswered_with_its_key():
    source = "\n\n".join(paragraph(number) for number in range(3))

    def answer(request: CompletionRequest) -> Completion | str:
        if "Paragraph 1." in request.messages[-1].content:
            return Completion(request.request_key, error_kind="timeout")
        return LONG_ANSWER

    [result], generator = rephrase([seed(source)], small_strategy(), answer)
    assert isinstance(result, Unanswered)
    assert result.request_keys == (generator.requests[1].request_key,)


def test_tokens_of_a_row_add_up_over_all_its_calls():
    source = "\n\n".join(paragraph(number) for number in range(3))
    [result], _ = rephrase([seed(source)], small_strategy(), reply(LONG_ANSWER))
    assert isinstance(result, RephrasedDocument)
    assert (result.row["prompt_tokens"], result.row["completion_tokens"]) == (30, 60)


# Named drops


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_document_under_the_minimum_is_too_short_without_a_call(strategy):
    text = " ".join(["word"] * (strategy.limits.min_document_tokens - 1))
    [result], generator = rephrase([seed(text)], strategy)
    assert isinstance(result, Drop)
    assert (result.reason, result.stage) == ("too_short", "segmentation")
    assert generator.request_count == 0


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_document_of_the_minimum_is_asked_for(strategy):
    text = " ".join(["word"] * strategy.limits.min_document_tokens)
    _, generator = rephrase([seed(text)], strategy)
    assert generator.request_count == 1


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("It ends in the mid", "length", "truncated"),
        ("", "length", "truncated"),
        ("", "stop", "empty"),
        ("  \n ", "stop", "empty"),
        (REFUSAL, "stop", "refused"),
        ("Some text.", "content_filter", "refused"),
        ("", "context_overflow", "context_overflow"),
        ("Too few.", "stop", "too_short"),
    ],
)
def test_an_answer_that_gives_nothing_is_a_drop_with_its_reason(text, finish_reason, reason):
    [result], _ = rephrase([seed(SENTENCE)], small_strategy(), reply(text, finish_reason))
    assert isinstance(result, Drop)
    assert (result.reason, result.stage, result.strategy) == (reason, "post_processing", "small")
    assert (result.document_id, result.curator_file) == ("document-1", "a.jsonl")


@pytest.mark.parametrize(("most", "reason"), [(5, "too_long"), (500, None), (None, None)])
def test_a_text_over_the_maximum_is_a_drop_by_its_tokens(most, reason):
    limits = replace(small_strategy().limits, max_final_tokens=most)
    [result], _ = rephrase([seed(SENTENCE * 2)], small_strategy(limits=limits), reply(LONG_ANSWER))
    assert (result.reason if isinstance(result, Drop) else None) == reason


def test_what_a_screen_rejects_is_a_drop_with_its_reason_and_the_rest_stays():
    def screen(source: str, text: str) -> Rejection | None:
        return Rejection("gates", "low_quality", "too grey") if "grey" in source else None

    documents = [seed(SENTENCE * 2), seed(SENTENCE + "A grey mill it is, and it stands there still.", 2)]
    results, _ = rephrase(documents, small_strategy(), reply(LONG_ANSWER), screens=[screen])
    kept, dropped = results
    assert isinstance(kept, RephrasedDocument)
    assert dropped == Drop("document-2", "a.jsonl", 2, "small", "gates", "low_quality", "too grey")


def test_a_text_after_its_passage_is_screened_alone_and_stored_with_it():
    seen: list[str] = []

    def screen(source: str, text: str) -> Rejection | None:
        seen.append(text)
        return None

    strategy = small_strategy(is_after_source=True)
    [stored], _ = rephrase([seed(SENTENCE * 2)], strategy, reply(LONG_ANSWER), screens=[screen])
    assert isinstance(stored, RephrasedDocument)
    assert seen == [LONG_ANSWER]
    assert stored.row["text"] == f"{(SENTENCE * 2).strip()}\n\n{LONG_ANSWER}"


def test_a_cut_answer_keeps_its_whole_sentences_where_the_strategy_says_trim():
    cut = reply(LONG_ANSWER + " And then it", "length")
    [kept], _ = rephrase([seed(SENTENCE)], small_strategy(on_truncation="trim"), cut)
    [dropped], _ = rephrase([seed(SENTENCE)], small_strategy(on_truncation="drop"), cut)
    assert isinstance(kept, RephrasedDocument)
    assert kept.row["text"] == LONG_ANSWER
    assert isinstance(dropped, Drop)
    assert dropped.reason == "truncated"


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s.wire_model], ids=lambda strategy: strategy.name)
def test_a_structured_answer_that_is_none_is_an_invalid_schema(strategy):
    [result], _ = rephrase([seed(SENTENCE * 5)], strategy, reply('{"pairs": "no list"}'))
    assert isinstance(result, Drop)
    assert result.reason == "invalid_schema"


def test_a_title_that_leaves_no_room_for_the_text_overflows_without_a_call():
    document = replace(seed(SENTENCE), title="word " * 100)
    [result], generator = rephrase([document], small_strategy())
    assert isinstance(result, Drop)
    assert result.reason == "context_overflow"
    assert generator.request_count == 0


def test_a_model_with_a_short_context_gets_more_and_shorter_segments():
    strategy = small_strategy(limits=replace(small_strategy().limits, max_input_tokens=600))
    _, roomy = rephrase([seed(SENTENCE * 30)], strategy)
    _, narrow = rephrase([seed(SENTENCE * 30)], strategy, model=replace(FAKE_MODEL, max_model_len=200))
    assert roomy.request_count == 1
    assert narrow.request_count > 1


# Keys and estimates


def test_a_key_changes_with_whatever_changes_the_answer_and_with_nothing_else():
    def keys(
        strategy: Strategy, model: ServedModel = FAKE_MODEL, generation: int = 0, file: str = "a.jsonl"
    ) -> list[str]:
        planner = RequestPlanner(strategy, FakeTokenizer(), model, lambda _: generation)
        document = replace(seed("\n\n".join(map(paragraph, range(3)))), curator_file=file)
        return [planned.request.request_key for planned in planned_requests([document], planner)]

    plain = small_strategy()
    same = [
        keys(plain, file="b.jsonl"),
        keys(replace(plain, rules=(lambda answer, context: answer,))),
        keys(replace(plain, name="other")),
    ]
    different = [
        keys(replace(plain, instructions="Say it anew.")),
        keys(replace(plain, sampling_temperature=0.7)),
        keys(plain, replace(FAKE_MODEL, revision="2")),
        keys(plain, generation=1),
    ]
    assert all(found == keys(plain) for found in same)
    counts = Counter(key for found in [keys(plain), *different] for key in found)
    assert set(counts.values()) == {1}


@given(count=st.integers(1, 60))
def test_the_estimated_prompt_is_what_the_messages_hold_and_the_allowance_for_the_template(count):
    planner = RequestPlanner(small_strategy(), FakeTokenizer(), FAKE_MODEL)
    for planned in planned_requests([seed(SENTENCE * count)], planner):
        exact = sum(FakeTokenizer().count_tokens([message.content for message in planned.request.messages]))
        assert planned.estimated_prompt_tokens == exact + CHAT_TEMPLATE_TOKENS


def test_expected_answers_follow_what_the_ledger_has_learned_up_to_max_tokens():
    def expected(tokens: float) -> int:
        past_answers = AnswerTotals(100, 100, 200.0, tokens, 0.0, 0.0, 0.0)
        planner = RequestPlanner(small_strategy(), FakeTokenizer(), FAKE_MODEL, past_answers=past_answers)
        [planned] = planned_requests([seed(SENTENCE)], planner)
        return planned.estimated_completion_tokens

    assert expected(50.0) == pytest.approx(expected(100.0) / 2, abs=1)
    assert expected(1e6) == small_strategy().limits.max_output_tokens
