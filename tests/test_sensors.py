"""The sensor against real files: what it waits for, what it asks for, and what it never asks for twice."""

from __future__ import annotations

import gzip
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_assets.definitions import project_defs
from synth_assets.sensors import QUIET_SECONDS, UNFINISHED_SECONDS, is_being_written, is_whole, settled_files

LINE = json.dumps({"text": "An article.", "title": "Article"}) + "\n"
QUIET = QUIET_SECONDS + 1


@dataclass
class Sensor:
    """The project's sensor with its cursor, called as the daemon calls it."""

    definition: dg.SensorDefinition
    instance: dg.DagsterInstance
    cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        """One evaluation; the runs that it asks for."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = self.definition(context)
        if isinstance(result, dg.SkipReason):
            self.skipped = result.skip_message or ""
            return []
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])


@pytest.fixture
def sensor(workplace) -> Sensor:
    [definition] = project_defs(workplace.project()).sensors or []
    assert isinstance(definition, dg.SensorDefinition)
    return Sensor(definition, workplace.instance)


def put(folder: Path, name: str, content: str | bytes = LINE, quiet_seconds: float = QUIET) -> Path:
    """A file that was last written to so long ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    age(path, quiet_seconds)
    return path


def age(path: Path, quiet_seconds: float) -> None:
    moment = time.time() - quiet_seconds
    os.utime(path, (moment, moment))


def parquet(folder: Path) -> bytes:
    path = folder / "whole.tmp"
    pq.write_table(pa.table({"text": ["An article."]}), path)
    content = path.read_bytes()
    path.unlink()
    return content


def test_a_new_file_asks_for_one_run_and_the_next_tick_for_none(workplace, sensor):
    put(workplace.corpus, "a.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"
    assert sensor.tick() == []
    assert sensor.skipped == "no file has changed"


def test_an_empty_folder_asks_for_nothing(sensor):
    assert sensor.tick() == []


def test_many_new_files_are_one_run(workplace, sensor):
    for number in range(5):
        put(workplace.corpus, f"sub/{number}.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "5"


def test_a_file_that_was_just_written_to_waits_and_then_counts(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl", quiet_seconds=0)
    assert sensor.tick() == []
    assert sensor.skipped == "1 file(s) still being written"
    age(path, QUIET)
    assert len(sensor.tick()) == 1


def test_a_growing_file_waits_for_as_long_as_it_grows(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl", quiet_seconds=0)
    for _ in range(3):
        with path.open("a") as file:
            file.write(LINE)
        assert sensor.tick() == []
    age(path, QUIET)
    assert len(sensor.tick()) == 1


def test_a_file_that_is_written_again_keeps_its_old_entry_until_it_is_whole(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl")
    sensor.tick()
    path.write_text(LINE + '{"text": "half a li')
    age(path, QUIET)
    assert sensor.tick() == []
    path.write_text(LINE * 2)
    age(path, QUIET)
    assert len(sensor.tick()) == 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_half_written_file_waits_and_a_whole_one_beside_it_does_not(workplace, sensor, name):
    content = LINE.encode() if name.endswith("jsonl") else parquet(workplace.corpus)
    half = put(workplace.corpus, name, content[:-3])
    put(workplace.corpus, "whole.jsonl")
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"
    half.write_bytes(content)
    age(half, QUIET)
    assert len(sensor.tick()) == 1


def test_a_file_that_never_becomes_whole_is_taken_as_it_is_in_the_end(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl", LINE.rstrip("\n"))
    assert sensor.tick() == []
    age(path, UNFINISHED_SECONDS + 1)
    assert len(sensor.tick()) == 1


def test_a_changed_and_a_deleted_file_each_ask_for_a_run(workplace, sensor):
    path = put(workplace.corpus, "a.jsonl")
    put(workplace.corpus, "b.jsonl")
    sensor.tick()
    put(workplace.corpus, "a.jsonl", LINE * 2)
    assert len(sensor.tick()) == 1
    path.unlink()
    [request] = sensor.tick()
    assert request.tags["synth/changed_files"] == "1"
    assert list(json.loads(sensor.cursor or "")) == ["b.jsonl"]


def test_content_a_then_b_then_a_again_are_three_different_runs(workplace, sensor):
    keys = []
    for turn, content in enumerate([LINE, LINE * 2, LINE]):
        put(workplace.corpus, "a.jsonl", content, quiet_seconds=QUIET + 10 * (3 - turn))
        [request] = sensor.tick()
        keys.append(request.run_key)
    assert len(set(keys)) == 3


def test_a_tick_that_is_evaluated_again_asks_for_the_same_run(workplace, sensor):
    put(workplace.corpus, "a.jsonl")
    [first] = sensor.tick()
    sensor.cursor = None
    [again] = sensor.tick()
    assert first.run_key == again.run_key


def test_the_run_that_is_asked_for_is_one_that_exists(workplace, sensor):
    assert sensor.definition.job_name in {job.name for job in project_defs(workplace.project()).jobs or []}


# The parts


def test_a_file_that_vanishes_between_listing_and_looking_is_left_out(tmp_path):
    seen, waiting = settled_files({"gone.jsonl": tmp_path / "gone.jsonl"}, {}, time.time())
    assert (seen, waiting) == ({}, 0)


def test_an_unchanged_file_counts_as_settled_however_young_it_is(tmp_path):
    path = put(tmp_path, "a.jsonl", quiet_seconds=0)
    before = {"a.jsonl": (path.stat().st_size, path.stat().st_mtime_ns)}
    assert settled_files({"a.jsonl": path}, before, time.time()) == (before, 0)


@pytest.mark.parametrize(
    ("name", "content", "whole"),
    [
        ("a.jsonl", b"", True),
        ("a.jsonl", LINE.encode(), True),
        ("a.jsonl", LINE.encode()[:-1], False),
        ("a.jsonl.gz", gzip.compress(LINE.encode()), True),
        ("a.jsonl.gz", b"", False),
        ("a.parquet", b"", False),
        ("a.parquet", b"PAR1", False),
        ("a.parquet", b"PAR1 no footer yet", False),
    ],
)
def test_a_files_end_tells_whether_it_is_whole(tmp_path, name, content, whole):
    path = put(tmp_path, name, content)
    assert is_whole(path, len(content)) is whole


def test_a_parquet_file_is_whole_once_its_footer_is_written(tmp_path):
    content = parquet(tmp_path)
    assert is_whole(put(tmp_path, "a.parquet", content), len(content))
    cut = content[: len(content) // 2]
    assert not is_whole(put(tmp_path, "b.parquet", cut), len(cut))


@pytest.mark.parametrize(
    ("content", "quiet_seconds", "waits"),
    [
        (LINE, QUIET_SECONDS - 0.1, True),
        (LINE, QUIET_SECONDS, False),
        (LINE[:-1], QUIET_SECONDS, True),
        (LINE[:-1], UNFINISHED_SECONDS - 0.1, True),
        (LINE[:-1], UNFINISHED_SECONDS, False),
    ],
)
def test_waiting_ends_with_quiet_for_a_whole_file_and_with_patience_for_others(tmp_path, content, quiet_seconds, waits):
    path = put(tmp_path, "a.jsonl", content)
    assert is_being_written(path, len(content), quiet_seconds) is waits
