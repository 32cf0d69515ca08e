import statistics

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.profile import CorpusProfile, ProfileAccumulator, profile
from synth_assets.core.tables import PROFILE


def row(text="x" * 100, **changes):
    return {
        "char_count": len(text), "token_count": len(text) // 4, "is_duplicate": False, "is_candidate": True,
        "rejection_reason": None, "categories": [], "source_id": None, "text": text, **changes,
    }  # fmt: skip


ROWS = st.lists(
    st.builds(
        lambda length, **changes: row(char_count=length, token_count=length // 4, **changes),
        st.integers(0, 10**7),
        categories=st.lists(st.sampled_from(["Fish", "Birds", "Ferns"]), max_size=3),
        source_id=st.none() | st.sampled_from("abc"),
        is_duplicate=st.booleans(),
        is_candidate=st.booleans(),
        rejection_reason=st.none() | st.sampled_from(["stub", "list_heavy"]),
    ),
    max_size=12,
)


@given(ROWS)
def test_lengths_agree_with_the_standard_library(rows):
    found = profile(rows)
    lengths = [entry["char_count"] for entry in rows]
    assert found.document_count == len(rows)
    assert found.char_count == sum(lengths)
    assert found.token_count == sum(entry["token_count"] for entry in rows)
    if lengths:
        assert found.mean_chars == pytest.approx(statistics.fmean(lengths))
        assert found.median_chars == statistics.median(lengths)
        assert (found.min_chars, found.max_chars) == (min(lengths), max(lengths))
    if len(lengths) > 1:
        assert found.std_chars == pytest.approx(statistics.stdev(lengths), rel=1e-9, abs=1e-6)


@given(ROWS, ROWS)
def test_the_files_together_give_the_profile_of_the_whole_in_any_order(one, other):
    pieces = []
    for rows in (other, one):
        piece = ProfileAccumulator()
        for entry in rows:
            piece.add(**{name: value for name, value in entry.items() if name != "text"})
        pieces.append(piece)
    total = ProfileAccumulator()
    for piece in pieces:
        total.update(piece)
    assert total.profile() == profile([*one, *other]) == profile([*reversed(other), *one])


def test_an_empty_corpus_has_a_profile():
    assert profile([]) == CorpusProfile(0, 0, 0, 0, 0, 0, None, None, None, None, None, (), ())


def test_one_document_has_no_deviation():
    found = profile([row("abcd")])
    assert (found.mean_chars, found.median_chars, found.std_chars) == (4.0, 4.0, None)


def test_categories_are_counted_by_document_and_the_most_frequent_come_first():
    found = profile([row(categories=["Fish", "Fish", "Birds"]), row(categories=["Fish"]), row(categories=["Ants"])])
    assert found.category_counts == (("Fish", 2), ("Ants", 1), ("Birds", 1))
    assert found.top_categories(2) == (("Fish", 2), ("Ants", 1))


def test_candidates_rejections_and_duplicates_are_counted():
    rejected = {"is_candidate": False, "rejection_reason": "stub"}
    found = profile([row(), row(is_duplicate=True, is_candidate=False), row(**rejected), row(**rejected)])
    assert (found.document_count, found.candidate_count, found.duplicate_count) == (4, 1, 1)
    assert found.rejection_counts == (("stub", 2),)


def test_an_id_that_two_different_documents_have_is_counted_but_not_that_of_a_duplicate():
    found = profile(
        [
            row(source_id="1"),
            row(source_id="1"),
            row(source_id="1", is_duplicate=True),
            row(source_id="2"),
            row(),
            row(),
        ]
    )
    assert found.duplicate_source_id_count == 1


def test_a_profile_makes_a_row_of_the_table():
    rows = [profile([row(categories=["Fish"])]).as_row("a.jsonl"), profile([]).as_row(None)]
    table = pa.Table.from_pylist(rows, PROFILE.schema)
    assert set(rows[0]) == set(PROFILE.schema.names)
    assert table.to_pylist() == rows
