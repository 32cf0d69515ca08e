from __future__ import annotations

import _thread
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import resources.ledger as ledger_module
from resources.errors import LakeError
from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake
from resources.lake_connection import bare_cursor, lake_cursor
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA, Ledger, PerplexityScore
from resources.ledger_writer import LedgerWriter

ROOT = Path(ledger_module.__file__).parents[1]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("lake")
    lake = Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data")
    lake.append("seed.first", pa.table({"a": [1]}))
    yield lake
    lake.close()


@pytest.fixture
def ledger(lake: Lake) -> Iterator[Ledger]:
    """An empty ledger."""
    yield Ledger(lake)
    with bare_cursor(lake._address, create=True) as cursor:
        cursor.execute("USE lake")
        cursor.execute("DROP SCHEMA IF EXISTS ledger CASCADE")


def answer(key: str, text: str = "an answer") -> Completion:
    return Completion(key, text, "stop", 400, 150, 380, 1.25)


def entry(key: str, text: str = "an answer", strategy: str = "distill") -> LedgerEntry:
    return LedgerEntry(answer(key, text), strategy, "document", 0, ServedModel("model", "revision"), 420, 160)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_a_recorded_answer_comes_back_unchanged(ledger: Ledger) -> None:
    odd = "line\nbreak, 'quotes', \"double\", 👩‍👩‍👧, {braces}, <!-- comment -->"
    ledger.record([entry("one", odd), entry("two", "")])
    assert ledger.fetch(["one", "two", "three"]) == {"one": answer("one", odd), "two": answer("two", "")}
    assert ledger.known_keys(["one", "two", "three"]) == {"one", "two"}


def test_a_row_tells_what_was_bought_for_what(ledger: Ledger) -> None:
    before = datetime.now(UTC)
    ledger.record([LedgerEntry(answer("key"), "diverse_qa", "document", 3, ServedModel("model", "abc"), 420, 160, 2)])
    row = ledger.lake.read(COMPLETIONS, schema=COMPLETIONS_SCHEMA).to_pylist()[0]
    assert before <= row.pop("created_at") <= datetime.now(UTC)
    assert row == {
        "request_key": "key",
        "strategy": "diverse_qa",
        "document_id": "document",
        "segment_index": 3,
        "model": "model",
        "model_revision": "abc",
        "generation": 2,
        "prompt_tokens": 400,
        "cached_prompt_tokens": 380,
        "completion_tokens": 150,
        "estimated_prompt_tokens": 420,
        "estimated_completion_tokens": 160,
        "wall_seconds": 1.25,
        "finish_reason": "stop",
        "completion": "an answer",
    }


def test_an_empty_ledger_knows_nothing_and_creates_nothing(tmp_path: Path) -> None:
    ledger = Ledger(Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))
    assert ledger.known_keys(["key"]) == set()
    assert ledger.fetch(["key"]) == {}
    assert ledger.known_perplexities("gpt2", ["hash"]) == {}
    assert ledger.usage_by_strategy().num_rows == 0
    assert not ledger.compact_if_needed()
    ledger.record([])
    assert not (tmp_path / "lake").exists()


def test_asking_for_no_key_gives_none(ledger: Ledger) -> None:
    ledger.record([entry("key")])
    assert ledger.known_keys([]) == set()
    assert ledger.fetch([]) == {}


def test_the_earliest_of_two_answers_wins(ledger: Ledger) -> None:
    ledger.record([entry("key", "zebra")])
    ledger.record([entry("key", "apple")])
    assert ledger.fetch(["key", "key"]) == {"key": answer("key", "zebra")}


def test_a_look_up_since_a_moment_finds_only_what_was_committed_after_it(ledger: Ledger) -> None:
    ledger.record([entry("before")])
    moment = datetime.now(UTC)
    ledger.record([entry("after")])
    assert ledger.known_keys(["before", "after", "never"], since=moment) == {"after"}


def test_the_keys_of_a_batch_are_told_when_it_is_committed_and_not_before(ledger: Ledger) -> None:
    told: list[tuple[Sequence[str], set[str]]] = []
    with LedgerWriter(ledger, batch_seconds=3600) as writer:
        writer.on_committed = lambda keys: told.append((keys, ledger.known_keys(["one", "two"])))
        writer.add(entry("one"))
        writer.add(entry("two"))
        assert told == []
    assert told == [(["one", "two"], {"one", "two"})]


def test_of_two_answers_of_one_moment_the_same_one_always_wins(ledger: Ledger) -> None:
    ledger.record([entry("key", "zebra"), entry("key", "apple"), entry("key", "mango")])
    assert ledger.fetch(["key"]) == {"key": answer("key", "apple")}


def test_many_keys_are_looked_up_at_once(ledger: Ledger) -> None:
    keys = [f"key-{i:05}" for i in range(3000)]
    ledger.record([entry(key, f"text of {key}") for key in keys])
    asked = [*keys[::2], *(f"other-{i}" for i in range(3000))]
    assert ledger.known_keys(asked) == set(keys[::2])
    assert {key: found.text for key, found in ledger.fetch(asked).items()} == {
        key: f"text of {key}" for key in keys[::2]
    }


def test_a_failed_request_is_never_kept(ledger: Ledger) -> None:
    failed = LedgerEntry(Completion("key", error_kind="timeout"), "distill", "document", 0, ServedModel("model"))
    with pytest.raises(ValueError, match="no answer to keep"):
        ledger.record([entry("good"), failed])
    assert ledger.known_keys(["good", "key"]) == set()


def test_usage_counts_every_bought_answer(ledger: Ledger) -> None:
    ledger.record([entry("one"), entry("two"), entry("two"), entry("three", strategy="diverse_qa")])
    distill, qa = ledger.usage_by_strategy().to_pylist()
    assert distill == {
        "strategy": "distill",
        "model": "model",
        "requests": 3,
        "prompt_tokens": 1200,
        "cached_prompt_tokens": 1140,
        "completion_tokens": 450,
        "estimated_prompt_tokens": 1260,
        "estimated_completion_tokens": 480,
        "wall_seconds": 3.75,
    }
    assert (qa["strategy"], qa["requests"]) == ("diverse_qa", 1)


def test_scores_are_kept_by_text_and_reference_model(ledger: Ledger) -> None:
    score = PerplexityScore(123.25, 40, 160)
    ledger.record_perplexities("gpt2", {"text": score, "other": PerplexityScore(1.0, 2, 3)})
    ledger.record_perplexities("smollm2", {"text": PerplexityScore(99.0, 38, 160)})
    ledger.record_perplexities("gpt2", {"text": PerplexityScore(0.0, 0, 0)})
    assert ledger.known_perplexities("gpt2", ["text", "unseen"]) == {"text": score}
    assert ledger.known_perplexities("other", ["text"]) == {}


def test_many_small_commits_are_merged_and_stay_readable(ledger: Ledger) -> None:
    score = PerplexityScore(1.0, 1, 1)
    ledger.record_perplexities("gpt2", {"text": score})
    for i in range(15):
        ledger.record([entry(f"key-{i}", f"text {i}")])
    assert not ledger.compact_if_needed()
    ledger.record([entry("key-15", "text 15")])
    assert ledger.compact_if_needed()
    assert not ledger.compact_if_needed()
    assert ledger.lake.query(f"SELECT count(DISTINCT filename) AS n FROM {COMPLETIONS}")["n"][0].as_py() == 1
    keys = [f"key-{i}" for i in range(16)]
    assert {key: found.text for key, found in ledger.fetch(keys).items()} == {
        f"key-{i}": f"text {i}" for i in range(16)
    }
    assert ledger.known_perplexities("gpt2", ["text"]) == {"text": score}


def test_a_full_batch_is_committed_while_the_producer_goes_on(ledger: Ledger) -> None:
    with LedgerWriter(ledger, batch_size=3, batch_seconds=3600) as writer:
        for key in ("one", "two", "three"):
            writer.add(entry(key))
        wait_until(lambda: ledger.known_keys(["one", "two", "three"]) == {"one", "two", "three"})
        writer.add(entry("four"))
        assert writer.pending_keys() == {"four"}
        assert ledger.known_keys(["four"]) == set()
    assert ledger.known_keys(["four"]) == {"four"}


def test_a_slow_producers_batch_is_committed_in_time(ledger: Ledger) -> None:
    with LedgerWriter(ledger, batch_size=1000, batch_seconds=0.05) as writer:
        writer.add(entry("only"))
        wait_until(lambda: ledger.known_keys(["only"]))
        wait_until(lambda: not writer.pending_keys())


def test_flushing_commits_what_waits(ledger: Ledger) -> None:
    with LedgerWriter(ledger, batch_seconds=3600) as writer:
        writer.flush()
        writer.add(entry("one"))
        writer.flush()
        assert writer.pending_keys() == set()
        assert ledger.known_keys(["one"]) == {"one"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_leaving_by_an_exception_keeps_what_was_bought(ledger: Ledger, error: type[BaseException]) -> None:
    with pytest.raises(error), LedgerWriter(ledger, batch_seconds=3600) as writer:  # noqa: PT012
        writer.add(entry("paid"))
        raise error
    assert ledger.known_keys(["paid"]) == {"paid"}


class UnreliableLedger(Ledger):
    """A real ledger whose lake can be made to fail or to take its time."""

    failures: list[LakeError]
    may_commit: threading.Event

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        self.may_commit.wait(60)
        if self.failures:
            raise self.failures.pop()
        super().record(entries)


@pytest.fixture
def unreliable(ledger: Ledger) -> UnreliableLedger:
    unreliable = UnreliableLedger(ledger.lake)
    object.__setattr__(unreliable, "failures", [])
    object.__setattr__(unreliable, "may_commit", threading.Event())
    unreliable.may_commit.set()
    return unreliable


def added_on_a_thread(writer: LedgerWriter, *keys: str) -> tuple[threading.Thread, list[str], list[BaseException]]:
    """A producer, which of its answers it has got rid of so far, and what it was told instead."""
    added: list[str] = []
    errors: list[BaseException] = []

    def produce() -> None:
        try:
            for key in keys:
                writer.add(entry(key))
                added.append(key)
        except LakeError as error:
            errors.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    return producer, added, errors


def holds_a_producer(writer: LedgerWriter) -> bool:
    """True once somebody waits in `add`: its own thread is committing."""
    return bool(writer._committing and writer._state._waiters)


def test_a_producer_gathers_two_batches_during_a_commit_and_waits_with_the_next(unreliable: UnreliableLedger) -> None:
    unreliable.may_commit.clear()
    keys = [f"key-{i}" for i in range(10)]
    with LedgerWriter(unreliable, batch_size=2) as writer:
        producer, added, _ = added_on_a_thread(writer, *keys)
        # Two to four are being committed: those that had come when the writer's thread began.
        wait_until(lambda: holds_a_producer(writer) and len(added) >= 6)
        assert len(added) <= 8
        assert writer.pending_keys() == set(added)
        unreliable.may_commit.set()
        producer.join()
        assert added == keys
    assert unreliable.known_keys(keys) == set(keys)


def test_a_failed_commit_wakes_the_producer_that_waits_and_nothing_is_lost(unreliable: UnreliableLedger) -> None:
    unreliable.may_commit.clear()
    unreliable.failures.append(LakeError("The disk is full."))
    keys = [f"key-{i}" for i in range(10)]
    with LedgerWriter(unreliable, batch_size=2) as writer:
        producer, added, errors = added_on_a_thread(writer, *keys)
        wait_until(lambda: holds_a_producer(writer) and len(added) >= 6)
        unreliable.may_commit.set()
        producer.join()
        assert [str(error) for error in errors] == ["The disk is full."]
    paid = set(keys[: len(added) + 1])
    assert unreliable.known_keys(keys) == paid, "the answer of the interrupted `add` was paid for as well"


def test_ctrl_c_in_a_waiting_producer_loses_nothing(unreliable: UnreliableLedger) -> None:
    # A step of Dagster's in an earlier test may have left another handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    unreliable.may_commit.clear()
    keys = [f"key-{i}" for i in range(10)]
    added = []

    def interrupt() -> None:
        wait_until(lambda: holds_a_producer(writer))
        _thread.interrupt_main()
        # Time for the interrupt to arrive is not needed: it is pending, and the wait that follows takes it.
        unreliable.may_commit.set()

    interrupting = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt), LedgerWriter(unreliable, batch_size=2) as writer:  # noqa: PT012
        interrupting.start()
        for key in keys:
            added.append(key)
            writer.add(entry(key))
        interrupting.join()
    assert unreliable.known_keys(keys) == set(added)


def test_a_failed_commit_reaches_the_producer_and_its_answers_are_tried_once_more(
    unreliable: UnreliableLedger,
) -> None:
    unreliable.failures.append(LakeError("The disk is full."))
    with pytest.raises(LakeError, match="disk is full"), LedgerWriter(unreliable, batch_size=1) as writer:  # noqa: PT012
        writer.add(entry("one"))
        while True:
            writer.add(entry("two"))
            time.sleep(0.01)
    assert unreliable.known_keys(["one", "two"]) == {"one", "two"}


def test_flushing_raises_what_the_commit_raised(unreliable: UnreliableLedger) -> None:
    unreliable.failures.append(LakeError("The disk is full."))
    with LedgerWriter(unreliable, batch_seconds=3600) as writer:
        writer.add(entry("one"))
        with pytest.raises(LakeError, match="disk is full"):
            writer.flush()
    assert unreliable.known_keys(["one"]) == {"one"}


def test_answers_that_cannot_be_kept_on_leaving_are_an_error(unreliable: UnreliableLedger) -> None:
    unreliable.failures.extend(LakeError("The disk is full.") for _ in range(2))
    with pytest.raises(LakeError, match="disk is full"), LedgerWriter(unreliable, batch_seconds=3600) as writer:
        writer.add(entry("one"))


def test_a_failed_commit_does_not_hide_the_producers_own_error(unreliable: UnreliableLedger) -> None:
    unreliable.failures.extend(LakeError("The disk is full.") for _ in range(2))
    with pytest.raises(KeyboardInterrupt) as caught, LedgerWriter(unreliable, batch_seconds=3600) as writer:  # noqa: PT012
        writer.add(entry("one"))
        raise KeyboardInterrupt
    assert caught.value.__notes__ == ["1 paid answers could not be kept and are asked for again. The disk is full."]


def test_a_failed_request_is_refused_at_once(ledger: Ledger) -> None:
    failed = LedgerEntry(Completion("key", error_kind="timeout"), "distill", "document", 0, ServedModel("model"))
    with LedgerWriter(ledger) as writer:
        with pytest.raises(ValueError, match="no answer to keep"):
            writer.add(failed)
        writer.add(entry("good"))
    assert ledger.known_keys(["key", "good"]) == {"good"}


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    script = """
import sys
from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter

folder = sys.argv[1]
ledger = Ledger(Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data"))
with LedgerWriter(ledger, batch_size=5, batch_seconds=3600) as writer:
    added = set()
    for i in range(1_000_000):
        added.add(f"key-{i:07}")
        completion = Completion(f"key-{i:07}", "answer " * 300, "stop")
        writer.add(LedgerEntry(completion, "distill", "document", 0, ServedModel("model")))
        while len(writer.pending_keys()) > 20:
            pass
        print(len(added - writer.pending_keys()), flush=True)
"""
    folder = tmp_path / "lake"
    ledger = Ledger(Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data"))
    committed = 0
    for kill_after in (30, 77):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            committed = int(line)
            if committed >= kill_after:
                break
        process.kill()
        process.communicate()
        keys = [f"key-{i:07}" for i in range(committed)]
        assert ledger.known_keys(keys) == set(keys)
        stored = ledger.lake.read(COMPLETIONS, columns=["completion"])["completion"].to_pylist()
        assert set(stored) == {"answer " * 300}
    ledger.record([entry("afterwards")])
    assert ledger.known_keys(["afterwards"]) == {"afterwards"}
    ledger.lake.close()


def test_a_look_up_opens_only_the_files_of_the_time_in_which_its_answers_were_bought(ledger: Ledger) -> None:
    for key in ("long-ago", "then", "now"):
        ledger.record([entry(key)])
    files = ledger.lake.query("SELECT DISTINCT filename, request_key FROM ledger.completions")
    by_key = dict(zip(files["request_key"].to_pylist(), files["filename"].to_pylist(), strict=True))
    (sql, moments), *_ = ledger._bought_when({"then", "unknown"}).items()
    with lake_cursor(ledger.lake._address) as cursor:
        statement = f"EXPLAIN ANALYZE SELECT completion FROM {COMPLETIONS} WHERE {sql}"
        plan = "".join(cursor.execute(statement, moments).fetchall()[0][1].split()).replace("│", "")
    assert "TotalFilesRead:1" in plan
    assert ledger.fetch(["then", "unknown"]) == {"then": answer("then")}
    assert len(set(by_key.values())) == 3


def test_answers_bought_at_many_far_apart_times_are_all_found(ledger: Ledger) -> None:
    ledger.record([entry(f"key-{i}", f"text {i}") for i in range(40)])
    with bare_cursor(ledger.lake._address, create=True) as cursor:
        cursor.execute("USE lake")
        apart = "created_at + to_hours(CAST(substr(request_key, 5) AS BIGINT))"
        cursor.execute(f"UPDATE {COMPLETIONS} SET created_at = {apart}")
    asked = [f"key-{i}" for i in range(0, 40, 2)]
    assert ledger.fetch([*asked, "unknown"]) == {key: answer(key, f"text {key[4:]}") for key in asked}
