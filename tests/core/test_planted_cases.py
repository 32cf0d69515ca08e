"""Cases come from passages of prose, each passage once, and are the same each time."""

from __future__ import annotations

from collections import Counter

from synth_assets.core.planted_cases import passages, planted_cases
from synth_assets.core.planted_faults import FAULT_KINDS


def article(number: int) -> tuple[str, str]:
    paragraphs = [
        f"In {1500 + 10 * number + part} the town of Ghent counted {number * 100 + part} bells in its towers. "
        f"Most of them were cast by Pieter Hemony and his brother. The oldest one is called Roland, and it weighs "
        f"{6000 + part} kilograms. It was rung at every fire."
        for part in range(5)
    ]
    return f"Bells {number}", "\n\n".join(["The towers", *paragraphs[:2], "1. a list\n" * 40, *paragraphs[2:]])


def test_passages_are_two_paragraphs_of_prose_and_no_article_counts_twice():
    found = list(passages([article(1), article(2), article(1)]))
    assert [passage.name for passage in found] == ["Bells 1 1", "Bells 1 2", "Bells 2 1", "Bells 2 2"]
    for passage in found:
        first, second = passage.text.split("\n\n")
        assert first.startswith("In ")
        assert second.startswith("In ")


def test_every_kind_has_its_cases_and_a_seed_repeats_them():
    found = list(passages(article(number) for number in range(6)))
    cases = planted_cases(found, 10, seed=3)
    assert Counter(case.kind for case in cases) == dict.fromkeys(FAULT_KINDS, 10)
    assert all(case.text != case.passage.text for case in cases)
    assert cases == planted_cases(found, 10, seed=3)
    assert cases != planted_cases(found, 10, seed=4)


def test_kinds_share_their_passages():
    found = list(passages(article(number) for number in range(6)))
    assert len({case.passage for case in planted_cases(found, 4, seed=3)}) == 4
