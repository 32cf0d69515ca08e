from dataclasses import replace

import pytest

from resources import recent_answers
from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake
from resources.ledger import Ledger
from resources.recent_answers import RecentAnswers


@pytest.fixture
def lake(tmp_path):
    return Lake(f"sqlite:{tmp_path / 'catalog.sqlite'}", str(tmp_path / "data"))


def entries(*keys):
    answers = [Completion(key, f"Answer {key}.", "stop", 5, 3, 1, 0.5) for key in keys]
    return [LedgerEntry(answer, "distill", "document", 0, ServedModel("model")) for answer in answers]


def counted_look_ups(monkeypatch):
    look_ups = []
    from_lake = Ledger.fetch
    monkeypatch.setattr(Ledger, "fetch", lambda ledger, keys: look_ups.append(list(keys)) or from_lake(ledger, keys))
    return look_ups


def test_an_answer_comes_from_memory_once_and_from_the_lake_after_that_and_is_the_same(lake, monkeypatch):
    ledger = RecentAnswers(lake)
    ledger.record(entries("a", "b"))
    look_ups = counted_look_ups(monkeypatch)

    first = ledger.fetch(["a", "b", "c"])
    second = ledger.fetch(["a"])

    assert look_ups == [["c"], ["a"]]
    assert first == {entry.completion.request_key: entry.completion for entry in entries("a", "b")}
    assert second == {"a": first["a"]}


def test_what_could_not_be_committed_is_not_handed_out(lake):
    ledger = RecentAnswers(lake)
    [failed] = entries("a")
    failed = replace(failed, completion=replace(failed.completion, error_kind="timeout"))
    with pytest.raises(ValueError, match="no answer to keep"):
        ledger.record([failed])
    assert ledger.fetch(["a"]) == {}


def test_only_the_latest_answers_stay_in_memory(lake, monkeypatch):
    monkeypatch.setattr(recent_answers, "REMEMBERED_ANSWERS", 2)
    ledger = RecentAnswers(lake)
    ledger.record(entries("a", "b", "c"))
    look_ups = counted_look_ups(monkeypatch)
    assert set(ledger.fetch(["a", "b", "c"])) == {"a", "b", "c"}
    assert look_ups == [["a"]]
