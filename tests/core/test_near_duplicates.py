"""Which texts are near-duplicates: shared openings and labels count for nothing, and the copy that stays is settled."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.near_duplicates import (
    MIN_SIMILARITY,
    SignedDocument,
    matrix_of,
    near_duplicates,
    precedence,
    sign,
    similarities,
)
from synth_assets.core.shingles import MIN_SHINGLES, OPENING_WORDS, shingles

OPENING = (
    "Here is a clear and complete account of the document in plain English. The text describes in detail, and in the "
    "order of the source, what is known about its subject, who took part in it, and when and where all of it happened."
)


def content(number: int, count: int = 60) -> str:
    rng = random.Random(number)
    return " ".join(f"word{rng.randrange(10_000)}" for _ in range(count))


def similarity(first: str, second: str) -> float:
    """As two stored signatures are compared; texts that are compared as a whole are alike or not."""
    one, other = sign([first, second])
    if one.signature_id == other.signature_id:
        return 1.0
    if not one.values or not other.values:
        return 0.0
    return float(similarities(matrix_of([one.values]), matrix_of([other.values]), np.array([[0, 0]]))[0])


def left_out(texts: list[str]) -> list[int]:
    """Places of the near-duplicates, every pair compared."""
    signed = sign(texts)
    similar = defaultdict(list)
    places = [place for place, one in enumerate(signed) if one.values]
    matrix = matrix_of([signed[place].values for place in places])
    pairs = np.array([(a, b) for a in range(len(places)) for b in range(len(places)) if a != b]).reshape(-1, 2)
    for (a, b), found in zip(pairs, similarities(matrix, matrix, pairs), strict=True):
        first, second = signed[places[a]].signature_id, signed[places[b]].signature_id
        if found >= MIN_SIMILARITY and first != second:
            similar[first].append((second, float(found)))
    documents = [
        SignedDocument(str(place), str(place), "a.jsonl", "distill", one.signature_id)
        for place, one in enumerate(signed)
    ]
    return [int(found.document.merged_id) for found in near_duplicates(documents, similar)]


@pytest.mark.parametrize("content_words", [6, 12, 30, 80])
def test_200_short_texts_with_one_long_opening_and_different_contents_lose_none(content_words):
    assert left_out([f"{OPENING} {content(number, content_words)}" for number in range(200)]) == []


def test_without_leaving_the_opening_out_short_texts_would_be_taken_for_each_other():
    first, second = (set(f"{OPENING} {content(number, 4)}".split()) for number in (1, 2))
    assert len(first & second) / len(first | second) >= MIN_SIMILARITY


def test_the_same_contents_with_different_openings_are_found():
    openings = [OPENING, "Put simply, this is what happened there.", "To begin with, some words on what is well known:"]
    texts = [f"{opening} {content(1, 300)}" for opening in openings]
    assert left_out([*texts, content(2, 300)]) == [1, 2]


def test_labels_of_questions_and_answers_do_not_count():
    plain = [content(number, 12) for number in range(12)]
    labelled = "\n".join(
        f"{'**Question:**' if place % 2 == 0 else 'Answer:'} {part}" for place, part in enumerate(plain)
    )
    assert shingles(labelled) == shingles("\n".join(plain))


def test_a_colon_within_a_sentence_leaves_its_words_in():
    text = content(1, 80)
    assert shingles(f"{text} and they wrote one thing: {text}") > shingles(text)


def test_texts_with_few_shingles_are_alike_only_when_they_are_the_same():
    short = " ".join(content(1, OPENING_WORDS + MIN_SHINGLES).split())
    assert shingles(short) == frozenset()
    assert similarity(short, short.upper() + "!") == 1.0
    assert similarity(short, f"{short} more") == 0.0


def test_repeated_words_make_no_distinct_shingles():
    assert shingles("the same again and " * 100) == frozenset()


@pytest.mark.parametrize("changed_words", [0, 3, 10, 40])
def test_the_estimate_is_close_to_the_share_of_common_shingles(changed_words):
    base = content(1, 600).split()
    other = list(base)
    for place in range(OPENING_WORDS, OPENING_WORDS + 12 * changed_words, 12):
        other[place] = "changed"
    first, second = " ".join(base), " ".join(other)
    exact = len(shingles(first) & shingles(second)) / len(shingles(first) | shingles(second))
    assert similarity(first, second) == pytest.approx(exact, abs=4 * 0.045)


def test_the_signature_does_not_depend_on_what_else_is_signed():
    texts = [content(number, 100) for number in range(5)]
    assert sign(texts) == [found for text in texts for found in sign([text])]
    assert sign([]) == []


# --- which copy stays

DOCUMENTS = st.lists(
    st.builds(
        lambda number, strategy, signature: SignedDocument(
            f"{strategy}{number}", str(number), "a", strategy, signature
        ),
        st.integers(0, 20),
        st.sampled_from(["original", "distill", "wiki_rephrase", "aaa"]),
        st.sampled_from("stuvw"),
    ),
    unique_by=lambda document: document.merged_id,
)
PAIRS = st.dictionaries(st.tuples(st.sampled_from("stuvw"), st.sampled_from("stuvw")), st.floats(0.8, 1.0))


def both_ways(pairs):
    similar = defaultdict(list)
    for (first, second), value in pairs.items():
        if first < second:
            similar[first].append((second, value))
            similar[second].append((first, value))
    return similar


@given(DOCUMENTS, PAIRS)
def test_what_is_dropped_is_like_something_kept_and_nothing_kept_is_like_another(documents, pairs):
    similar = both_ways(pairs)
    found = list(near_duplicates(sorted(documents, key=precedence), similar))
    dropped = {one.document.merged_id for one in found}
    kept = [document for document in documents if document.merged_id not in dropped]
    assert {one.kept.merged_id for one in found} <= {document.merged_id for document in kept}
    for one in found:
        alike = {one.document.signature_id: 1.0, **dict(similar[one.document.signature_id])}
        assert alike[one.kept.signature_id] == one.similarity
        assert precedence(one.kept) < precedence(one.document)
    signatures = [document.signature_id for document in kept]
    assert len(set(signatures)) == len(signatures)
    assert not any(other in signatures for own in signatures for other, _ in similar[own])


def test_originals_stay_before_strategies_and_strategies_by_name():
    made = [SignedDocument(name, "1", "a", name, "s") for name in ("distill", "original", "aaa")]
    assert [found.document.strategy for found in near_duplicates(sorted(made, key=precedence), {})] == [
        "aaa",
        "distill",
    ]
