"""The merged tables hold every original and every rephrased text once, however many parts they are joined in."""

from __future__ import annotations

from synth_assets.assets import merged
from synth_assets.strategies import discover

NAMES = [strategy.name for strategy in discover()]


def test_a_file_joined_in_parts_loses_and_repeats_nothing(workplace, make_article, monkeypatch):
    monkeypatch.setattr(merged, "CHARS_JOINED_AT_ONCE", 1_000)
    for name, first in (("a.jsonl", 1), ("b.jsonl", 4)):
        stub = {"text": "Too short to be an article.", "title": "Stub"}
        workplace.write(name, [stub, *(make_article(number) for number in range(first, first + 4))])
    assert workplace.run()[0].failed == []

    seed = "FROM seed.curated_documents WHERE is_candidate AND NOT is_duplicate"
    texts = " UNION ALL ".join(
        [
            f"SELECT document_id, curator_file, 'original' AS strategy, text {seed}",
            *(f"SELECT document_id, curator_file, '{name}', text FROM rephrased.{name}" for name in NAMES),
        ]
    )
    expected = workplace.rows(f"SELECT * FROM ({texts}) ORDER BY ALL")
    long = workplace.rows("SELECT document_id, curator_file, strategy, text FROM merged.documents ORDER BY ALL")
    assert long == expected
    assert {row["strategy"] for row in long} == {"original", *NAMES}

    made = {(row["document_id"], row["strategy"]): row["text"] for row in expected}
    wide = workplace.rows("SELECT * FROM merged.multistrategy")
    assert len(wide) == len({row["document_id"] for row in wide}) == 7
    assert [row[name] for row in wide for name in NAMES] == [
        made.get((row["document_id"], name)) for row in wide for name in NAMES
    ]


def test_the_parts_of_a_file_leave_no_id_out_and_take_none_twice():
    ids = [f"{first:04x}{'0' * 28}" for first in range(2**16)] + ["f" * 32]
    for chars in (0, 1, merged.CHARS_JOINED_AT_ONCE + 1, 10 * merged.CHARS_JOINED_AT_ONCE, 10**15):
        parts = merged.id_ranges(chars)
        assert len(parts) == max(1, min(merged.MOST_PARTS, -(-chars // merged.CHARS_JOINED_AT_ONCE)))
        assert sum(begin <= document_id < end for begin, end in parts for document_id in ids) == len(ids)
