"""What every strategy of the registry has to hold, a new one as well."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.core.postprocessing import clean
from synth_assets.core.strategy import AnswerContext
from synth_assets.strategies import discover

SOURCE = "Braces {title} and {segment} and %s are text.\nSo is <b>this</b>."

pytestmark = pytest.mark.parametrize("strategy", discover(), ids=lambda strategy: strategy.name)

fragments = st.sampled_from(
    [
        "Here is the text: ",
        "Sure! ",
        "**",
        "*",
        "# ",
        "- ",
        "1. ",
        '"',
        "`",
        "```\n",
        "\n",
        "\n\n",
        "Bridges",
        "It is old. ",
    ]
)
answers = st.one_of(st.text(max_size=60), st.lists(fragments, max_size=12).map("".join))


def test_the_prompt_starts_alike_for_every_document_and_ends_with_the_segment(strategy):
    first, second = strategy.messages("Bridges", "One."), strategy.messages("Salt mines", "Two.")

    assert [message.role for message in first] == ["system", "user"]
    assert first[0] == second[0]
    assert first[1].content.endswith("One.")
    assert "Bridges" in first[1].content
    assert first[1].content.split("Bridges")[0] == second[1].content.split("Salt mines")[0]


def test_title_and_segment_reach_the_prompt_as_they_are(strategy):
    user = strategy.messages("A {segment} of {title}", SOURCE)[1].content

    assert SOURCE in user
    assert "A {segment} of {title}" in user


def test_the_prompt_is_short_and_demands_the_output_only(strategy):
    system, user = strategy.messages("", "")

    # 4 characters a token: a prompt takes at most a third of the input, so that there is room for the source.
    assert len(system.content + user.content) / 4 < strategy.limits.max_input_tokens / 3
    assert "nothing else" in system.content


def test_limits_and_sampling_are_in_range(strategy):
    limits = strategy.limits

    assert 0 < limits.min_segment_tokens <= limits.min_document_tokens < limits.max_input_tokens
    assert 0 < limits.min_final_tokens < limits.max_output_tokens
    assert 0 <= strategy.sampling.temperature <= 1
    assert 0 < strategy.sampling.top_p <= 1
    assert strategy.sampling.max_tokens == limits.max_output_tokens


@settings(max_examples=100, deadline=None)
@given(answer=answers)
def test_clean_up_is_idempotent(strategy, answer):
    context = AnswerContext("Bridges", SOURCE, "key")
    cleaned = clean(answer, context, strategy.rules)

    assert clean(cleaned, context, strategy.rules) == cleaned


def test_the_schema_keeps_the_order_in_which_the_model_is_to_write(strategy):
    if strategy.wire_model is None:
        assert strategy.response_schema is None
        return
    schema = json.loads(strategy.response_schema)

    assert list(schema["properties"]) == list(strategy.wire_model.model_fields)


def test_every_string_and_list_of_a_schema_is_bounded(strategy):
    def unbounded(node, path):
        if isinstance(node, list):
            return [found for i, item in enumerate(node) for found in unbounded(item, f"{path}/{i}")]
        if not isinstance(node, dict):
            return []
        # A pattern carries its bound itself: it repeats nothing without one.
        is_bounded = node.keys() & {"maxLength", "enum", "const"} or not set("*+") & set(node.get("pattern", "*"))
        is_open = (node.get("type") == "string" and not is_bounded) or (
            node.get("type") == "array" and "maxItems" not in node
        )
        return [path] * is_open + [found for key, item in node.items() for found in unbounded(item, f"{path}/{key}")]

    assert unbounded(json.loads(strategy.response_schema or "{}"), "") == []


def test_the_fingerprint_is_stable_and_belongs_to_the_strategy(strategy):
    others = [other.generation_fingerprint for other in discover() if other.name != strategy.name]

    assert strategy.generation_fingerprint == strategy.generation_fingerprint
    assert strategy.generation_fingerprint not in others
