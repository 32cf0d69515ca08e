from concurrent.futures import ThreadPoolExecutor

import pytest

from resources.token_counts import CountMemory


class Counter:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> list[int]:
        self.asked.append(texts)
        return [len(text.split()) for text in texts]


@pytest.fixture
def count() -> Counter:
    return Counter()


def test_what_is_remembered_is_not_counted_again_and_a_repeated_text_only_once(count):
    memory = CountMemory(10)

    assert memory.counted(["a b", "c", "a b"], count) == [2, 1, 2]
    assert memory.counted(["c", "d e f", "", "a b"], count) == [1, 3, 0, 2]
    assert count.asked == [["a b", "c"], ["d e f", ""]]


def test_nothing_to_count_asks_for_nothing(count):
    assert CountMemory(10).counted([], count) == []
    assert count.asked == []


def test_the_memory_is_bounded_and_keeps_what_was_used_last(count):
    memory = CountMemory(2)
    for text in ("first", "second", "first", "third", "first", "second"):
        memory.counted([text], count)

    assert count.asked == [["first"], ["second"], ["third"], ["second"]]


def test_more_texts_than_there_is_room_for_are_counted_all_the_same(count):
    assert CountMemory(2).counted(["a", "a b", "a b c", "a b c d"], count) == [1, 2, 3, 4]


def test_texts_that_utf8_cannot_hold_are_told_apart(count):
    CountMemory(10).counted(["\ud800", "\ud801"], count)

    assert count.asked == [["\ud800", "\ud801"]]


def test_a_count_that_fails_is_not_remembered(count):
    memory = CountMemory(10)

    def broken(texts: list[str]) -> list[int]:
        raise OSError("the server is gone")

    with pytest.raises(OSError, match="gone"):
        memory.counted(["a b"], broken)
    assert memory.counted(["a b"], count) == [2]


def test_threads_that_share_a_memory_get_their_own_counts(count):
    memory = CountMemory(7)
    chunks = [["x " * size for size in range(start, start + 9)] for start in range(40)]

    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda texts: memory.counted(texts, count), chunks))

    assert counted == [list(range(start, start + 9)) for start in range(40)]
