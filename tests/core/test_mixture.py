"""The plan of the mix: shares, budget, repetitions, shortfalls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import SettingError, SynthError
from synth_assets.core.mixture import (
    ORIGINAL,
    MixOptions,
    PartSize,
    crossing,
    parse_token_budget,
    parse_weights,
    plan_mix,
    token_shares,
)

SIZES = {ORIGINAL: PartSize(10, 1000), "distill": PartSize(10, 400), "wiki_rephrase": PartSize(10, 900)}

part_sizes = st.builds(PartSize, st.integers(1, 50), st.integers(1, 10**6))
some_sizes = st.dictionaries(st.sampled_from(["a", "b", "c"]), part_sizes, min_size=1).flatmap(
    lambda sizes: st.builds(lambda original: {ORIGINAL: original, **sizes}, part_sizes)
)
some_options = st.builds(
    MixOptions,
    real_share=st.none() | st.floats(0, 1),
    token_budget=st.none() | st.integers(1, 10**7),
    max_repeats=st.integers(1, 5),
)


def tokens_of(plan):
    return {part.part: part.whole_passes * part.available.tokens + part.rest_tokens for part in plan}


@given(some_sizes, some_options)
def test_shares_sum_to_one(sizes, options):
    assert sum(token_shares(sizes, options).values()) == 1


@given(some_sizes, some_options)
def test_no_plan_exceeds_its_budget_its_targets_or_the_cap_on_repetitions(sizes, options):
    plan = plan_mix(sizes, options)
    for part in plan:
        planned = part.whole_passes * part.available.tokens + part.rest_tokens
        assert planned + part.shortfall_tokens == part.target_tokens
        assert part.whole_passes + bool(part.rest_tokens) <= options.max_repeats
        assert 0 <= part.rest_tokens < part.available.tokens
    if options.token_budget is not None:
        assert sum(part.target_tokens for part in plan) <= options.token_budget


@given(some_sizes, some_options)
def test_the_same_sizes_in_another_order_give_the_same_plan(sizes, options):
    assert plan_mix(dict(reversed(sizes.items())), options) == plan_mix(sizes, options)


@given(some_sizes, st.integers(1, 5), st.floats(0.01, 0.99))
def test_without_a_budget_no_part_falls_short(sizes, max_repeats, real_share):
    plan = plan_mix(sizes, MixOptions(real_share=real_share, max_repeats=max_repeats))
    assert not any(part.shortfall_tokens for part in plan)
    assert any(part.whole_passes for part in plan)


@given(st.lists(st.integers(0, 100), min_size=1), st.data())
def test_documents_are_taken_until_their_tokens_are_reached_and_no_further(tokens, data):
    total = sum(tokens)
    wanted = data.draw(st.integers(1, total)) if total else 0
    place, before = crossing(enumerate(tokens), wanted)
    assert before == sum(tokens[:place])
    assert before + tokens[place] >= wanted
    assert place == 0 or before < wanted


def test_asked_for_more_than_there_is_the_sum_says_what_is_there():
    with pytest.raises(ValueError, match="11 tokens are wanted and 10 are there"):
        crossing([(1, 10)], 11)


def test_with_no_options_every_document_stands_in_the_mix_once():
    assert tokens_of(plan_mix(SIZES, MixOptions())) == {ORIGINAL: 1000, "distill": 400, "wiki_rephrase": 900}


def test_the_real_share_leaves_the_rest_to_the_strategies_alike():
    plan = plan_mix(SIZES, MixOptions(real_share=0.5, token_budget=1000))
    assert [part.part for part in plan] == [ORIGINAL, "distill", "wiki_rephrase"]
    assert tokens_of(plan) == {ORIGINAL: 500, "distill": 250, "wiki_rephrase": 250}


def test_weights_divide_the_synthetic_tokens_and_leave_out_whoever_is_not_named():
    plan = plan_mix(SIZES, MixOptions(real_share=0.25, weights={"distill": 3.0}, token_budget=400))
    assert tokens_of(plan) == {ORIGINAL: 100, "distill": 300}


def test_weights_alone_keep_the_proportion_of_real_text_that_there_is():
    plan = plan_mix(SIZES, MixOptions(weights={"distill": 1.0}, token_budget=700))
    assert tokens_of(plan) == {ORIGINAL: 500, "distill": 200}


def test_a_budget_alone_cuts_every_part_alike():
    assert tokens_of(plan_mix(SIZES, MixOptions(token_budget=230))) == {
        ORIGINAL: 100, "distill": 40, "wiki_rephrase": 90
    }  # fmt: skip


def test_a_part_too_small_for_its_share_is_repeated_up_to_the_cap_and_then_falls_short():
    options = MixOptions(real_share=0.0, weights={"distill": 1.0}, token_budget=1000, max_repeats=2)
    small = next(part for part in plan_mix(SIZES, options) if part.part == "distill")
    assert (small.whole_passes, small.rest_tokens, small.shortfall_tokens) == (2, 0, 200)
    options = MixOptions(real_share=0.0, weights={"distill": 1.0}, token_budget=700, max_repeats=2)
    small = next(part for part in plan_mix(SIZES, options) if part.part == "distill")
    assert (small.whole_passes, small.rest_tokens, small.shortfall_tokens) == (1, 300, 0)


def test_without_a_budget_the_smallest_part_decides_and_nothing_is_repeated_for_its_own_sake():
    alike = {ORIGINAL: PartSize(1, 100), "distill": PartSize(1, 100)}
    assert tokens_of(plan_mix(alike, MixOptions(real_share=0.5, max_repeats=3))) == {ORIGINAL: 100, "distill": 100}
    uneven = {ORIGINAL: PartSize(1, 1000), "distill": PartSize(1, 100)}
    assert tokens_of(plan_mix(uneven, MixOptions(real_share=0.5))) == {ORIGINAL: 100, "distill": 100}
    assert tokens_of(plan_mix(uneven, MixOptions(real_share=0.5, max_repeats=3))) == {ORIGINAL: 300, "distill": 300}


def test_a_share_for_strategies_that_have_no_texts_is_refused():
    with pytest.raises(SynthError, match="60% of tokens"):
        plan_mix({ORIGINAL: PartSize(1, 10)}, MixOptions(real_share=0.4))


@pytest.mark.parametrize("name", ["destill", ORIGINAL])
def test_a_weight_of_what_is_no_strategy_is_refused(name):
    with pytest.raises(SettingError, match=name):
        plan_mix(SIZES, MixOptions(weights={name: 1.0}))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("2000", 2000), ("500k", 500_000), ("10M", 10**7), ("1.5B", 15 * 10**8), (" 3m ", 3 * 10**6)],
)
def test_a_token_budget_has_a_unit_or_none(text, tokens):
    assert parse_token_budget(text) == tokens


@pytest.mark.parametrize("text", ["", "0", "-1", "10T", "1e6", "ten", "0.5"])
def test_what_is_no_token_budget_is_refused_by_name(text):
    with pytest.raises(SettingError, match="--token-budget"):
        parse_token_budget(text)


def test_weights_are_names_with_numbers():
    assert parse_weights("wiki_rephrase=2, distill=0.5") == {"wiki_rephrase": 2.0, "distill": 0.5}


@pytest.mark.parametrize("text", ["", "distill", "distill=", "=1", "distill=-1", "distill=nan", "a=1,a=2", "a=0"])
def test_what_are_no_weights_is_refused_by_name(text):
    with pytest.raises(SettingError, match="--weights"):
        parse_weights(text)
