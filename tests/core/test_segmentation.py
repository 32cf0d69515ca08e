from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as BytePairTokenizer
from tokenizers import models, pre_tokenizers, trainers

from synth_assets.core.segmentation import Segment, countable_whole, segment

PROSE = (
    "The lighthouse at the mouth of the river was finished in 1857. Its lamp burned rape oil at first. "
    "Dr. Marta Hill, who kept it for forty years, wrote down every ship that passed. Was she ever bored? "
    "Nobody knows; her journals speak of wind, of gulls and of the price of coal."
)


class CountingTokenizer:
    name = fingerprint = "counting"

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self.calls: list[list[str]] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.calls.append(list(texts))
        return [self._count(text) for text in texts]

    @property
    def characters(self) -> int:
        return sum(len(text) for call in self.calls for text in call)


def count_bytes(text: str) -> int:
    return len(text.encode())


def count_words(text: str) -> int:
    return len(text.split())


def count_words_and_costly_line_breaks(text: str) -> int:
    """More for the joined text than for its pieces, and more than any estimate of the gap between them."""
    return len(text.split()) + 7 * text.count("\n")


def _byte_pair_count() -> Callable[[str], int]:
    tokenizer = BytePairTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([PROSE], trainer)
    return lambda text: len(tokenizer.encode(text).ids)


COUNTS = [count_bytes, count_words, count_words_and_costly_line_breaks, _byte_pair_count()]

words = st.text(alphabet="ab.?!é漢。\"'3", min_size=1, max_size=12)
gaps = st.sampled_from([" ", "  ", "\n", "\n\n", "\r\n", " \n \n", "\u2028", "\t", "\x0b"])
texts = st.one_of(
    st.text(max_size=300),
    st.lists(st.tuples(words, gaps), max_size=60).map(lambda pairs: "".join(word + gap for word, gap in pairs)),
)


def assert_covers(text: str, segments: Sequence[Segment]) -> None:
    position = 0
    for index, piece in enumerate(segments):
        assert piece.index == index
        assert text[position : piece.start].strip() == ""
        assert piece.start >= position
        assert piece.text == text[piece.start : piece.end] == piece.text.strip() != ""
        position = piece.end
    assert text[position:].strip() == ""


@pytest.mark.parametrize("count", COUNTS)
@settings(max_examples=150, deadline=None)
@given(text=texts, max_tokens=st.integers(1, 60), min_tokens=st.integers(0, 10))
def test_nothing_is_lost_or_repeated_and_every_segment_keeps_the_budget(count, text, max_tokens, min_tokens):
    segments = segment(text, CountingTokenizer(count), max_tokens, min_tokens)

    assert_covers(text, segments)
    for piece in segments:
        assert piece.token_count == count(piece.text)
        assert piece.token_count <= max_tokens or len(piece.text) == 1
    assert segments == segment(text, CountingTokenizer(count), max_tokens, min_tokens)


@settings(max_examples=100, deadline=None)
@given(text=texts, max_tokens=st.integers(4, 60))
def test_a_segment_is_its_own_only_segment(text, max_tokens):
    for piece in segment(text, CountingTokenizer(count_bytes), max_tokens, 3):
        again = segment(piece.text, CountingTokenizer(count_bytes), max_tokens, 3)
        assert [other.text for other in again] == [piece.text]


def test_a_text_that_fits_is_one_segment_for_one_count():
    tokenizer = CountingTokenizer(count_words)

    segments = segment(f"  {PROSE}\n", tokenizer, 100, 5)

    assert segments == (Segment(0, 2, 2 + len(PROSE), PROSE, count_words(PROSE)),)
    assert tokenizer.calls == [[PROSE]]


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(texts, texts.map(lambda text: text * 30)), max_tokens=st.integers(1, 60))
def test_a_whole_text_that_is_counted_already_is_cut_alike_and_not_counted_again(text, max_tokens):
    whole = countable_whole(text, max_tokens)
    known, unknown = CountingTokenizer(count_bytes), CountingTokenizer(count_bytes)

    segments = segment(text, known, max_tokens, 3, None if whole is None else count_bytes(whole))

    assert segments == segment(text, unknown, max_tokens, 3)
    assert known.calls == (unknown.calls if whole is None else unknown.calls[1:])


def test_a_known_count_is_not_taken_for_a_text_that_is_too_long_to_be_counted():
    text = "word " * 1000

    assert countable_whole(text, 300) is None
    assert segment(text, CountingTokenizer(count_words), 300, 3, 1) == segment(
        text, CountingTokenizer(count_words), 300, 3
    )


@pytest.mark.parametrize("text", ["", " \n\t\u2028 "])
def test_a_text_without_content_has_no_segments(text):
    assert segment(text, CountingTokenizer(count_words), 10, 2) == ()


def test_a_budget_without_tokens_is_refused():
    with pytest.raises(ValueError, match="max_tokens"):
        segment(PROSE, CountingTokenizer(count_words), 0, 0)


def test_paragraphs_are_packed_whole_up_to_the_budget():
    paragraphs = [f"{name} one two three four five." for name in ("A", "B", "C", "D", "E")]
    text = "\n\n".join(paragraphs)

    segments = segment(text, CountingTokenizer(count_words), 16, 2)

    assert [piece.text for piece in segments] == [
        "\n\n".join(paragraphs[:2]),
        "\n\n".join(paragraphs[2:4]),
        paragraphs[4],
    ]


def test_hard_wrapped_lines_of_a_paragraph_stay_together_where_it_fits():
    text = "one two three four\nfive six seven eight\n\nnine\nten eleven twelve thirteen fourteen"

    segments = segment(text, CountingTokenizer(count_words), 12, 1)

    assert [piece.text for piece in segments] == text.split("\n\n")


def test_windows_line_ends_do_not_make_paragraphs():
    text = "one two three\r\nfour five six\r\n\r\nseven eight nine\r\nten eleven twelve"

    segments = segment(text, CountingTokenizer(count_words), 9, 1)

    assert [piece.text for piece in segments] == text.split("\r\n\r\n")


def test_a_paragraph_over_the_budget_is_split_behind_sentences_and_not_behind_abbreviations():
    segments = segment(PROSE, CountingTokenizer(count_words), 20, 2)

    assert [piece.text.split()[0] for piece in segments] == ["The", "Dr.", "Nobody"]
    assert all(piece.text[-1] in ".?" for piece in segments)


def test_a_sentence_over_the_budget_is_split_between_words():
    text = " ".join(f"word{i}" for i in range(100))

    segments = segment(text, CountingTokenizer(count_words), 30, 2)

    assert " ".join(piece.text for piece in segments) == text
    assert len(segments) <= 5


def test_text_without_spaces_is_split_between_characters_and_packed_well():
    text = "灯台は川の口に立つ" * 50

    segments = segment(text, CountingTokenizer(count_bytes), 300, 5)

    assert "".join(piece.text for piece in segments) == text
    assert len(segments) <= 1.4 * count_bytes(text) / 300


def test_a_character_over_the_budget_stands_alone_and_is_not_dropped():
    segments = segment("ab漢cd", CountingTokenizer(count_bytes), 2, 0)

    assert [piece.text for piece in segments] == ["ab", "漢", "cd"]
    assert segments[1].token_count == 3


def test_a_joined_segment_that_counts_more_than_its_pieces_is_taken_apart_again():
    text = "\n".join(["one two three"] * 12)

    segments = segment(text, CountingTokenizer(count_words_and_costly_line_breaks), 30, 1)

    assert_covers(text, segments)
    assert max(piece.token_count for piece in segments) <= 30
    assert len(segments) <= 7


def test_a_short_tail_takes_sentences_from_the_segment_before_it():
    text = "One two three four. Five six seven eight. Nine ten eleven twelve.\n\nThe end."

    segments = segment(text, CountingTokenizer(count_words), 12, 5)

    assert [piece.text for piece in segments] == [
        "One two three four. Five six seven eight.",
        "Nine ten eleven twelve.\n\nThe end.",
    ]


def test_a_short_tail_joins_its_neighbour_where_only_the_estimate_said_no():
    # Together 12 words; the estimate adds 2 for the blank line.
    text = "One two three four five six seven eight nine ten.\n\nThe end.\n\n" + "Word " * 12

    segments = segment(text, CountingTokenizer(count_words), 12, 5)

    assert segments[0].text == "One two three four five six seven eight nine ten.\n\nThe end."


def test_a_short_tail_stays_where_its_neighbour_has_nothing_to_give():
    text = "one two three four five six seven eight nine ten eleven twelve\n\nthe end"

    assert [piece.token_count for piece in segment(text, CountingTokenizer(count_words), 12, 5)] == [12, 2]


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join([PROSE] * 400),
        " ".join([PROSE] * 400),
        "x" * 100_000,
        "word " * 20_000,
        "灯台は川の口に立つ。" * 10_000,
        "\n" * 100_000 + "end",
        "a\n\n" + " " * 100_000 + "b " * 500,
        "\n\n".join(["word " * 49, "short"] * 400),
    ],
    ids=["paragraphs", "one line", "no borders", "no sentences", "no spaces", "blank lines", "wide gap", "runts"],
)
def test_work_is_linear_in_the_text(text):
    half, whole = CountingTokenizer(count_words_or_quads), CountingTokenizer(count_words_or_quads)

    segment(text[: len(text) // 2], half, 50, 5)
    segment(text, whole, 50, 5)

    assert whole.characters <= 8 * len(text)
    assert whole.characters <= 2.2 * half.characters + 10_000
    assert len(whole.calls) <= 12
    assert max(len(piece) for call in whole.calls for piece in call) <= 16 * 50


def count_words_or_quads(text: str) -> int:
    """As real tokenizers: a long word is several tokens."""
    return sum(-(-len(word) // 4) for word in text.split())
