"""Reading evaluation sets: formats, names, every string of a row, what changes the version, and what is unreadable."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.errors import SynthError
from synth_assets.evaluation_sets import NO_SETS, EvaluationSets

ITEM = "A train leaves the station at noon and travels east at sixty miles per hour until three in the afternoon."


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "sets" / "school").mkdir(parents=True)
    return tmp_path / "sets"


def detail(folder: Path, text: str = ITEM, ngram: int = 13) -> str | None:
    [screen] = EvaluationSets(folder, ngram).screens()
    rejection = screen("", text)
    return None if rejection is None else rejection.detail.partition(":")[0]


def test_json_lines_gzipped_or_not_and_parquet_are_read_also_in_subfolders(folder):
    line = json.dumps({"question": ITEM}).encode() + b"\n"
    for name, write in {
        "exam.jsonl": lambda path: path.write_bytes(b"\xef\xbb\xbf" + line + b"\n"),
        "school/exam.v2.jsonl.gz": lambda path: path.write_bytes(gzip.compress(line)),
        "school/test.parquet": lambda path: pq.write_table(pa.table({"question": [ITEM]}), path),
    }.items():
        write(folder / name)
        assert detail(folder) == name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".parquet")
        (folder / name).unlink()


@pytest.mark.parametrize(
    "row",
    [{"a": [{"b": ITEM}]}, {"choices": ["x", ITEM]}, {"a": {"b": {"c": ITEM}}, "n": 1, "none": None}, [ITEM], ITEM],
)
def test_every_string_of_a_row_counts_however_deep_it_lies(folder, row):
    (folder / "exam.jsonl").write_text(json.dumps(row))
    assert detail(folder) == "exam"


def test_nested_columns_of_parquet_count(folder):
    pq.write_table(pa.table({"id": [1], "choices": [{"text": ["x", ITEM]}]}), folder / "exam.parquet")
    assert detail(folder) == "exam"


def test_hidden_and_unfinished_files_are_left_out(folder):
    (folder / "exam.jsonl").write_text('{"a": "nothing"}')
    (folder / ".cache").mkdir()
    for name in (".cache/exam.jsonl", ".exam.jsonl", "exam.tmp.jsonl", "notes.txt"):
        (folder / name).write_text(json.dumps({"a": ITEM}))
    assert detail(folder) is None


def test_the_version_changes_with_names_bytes_and_run_length_and_with_nothing_else(folder):
    exam = folder / "exam.jsonl"
    exam.write_text(json.dumps({"a": ITEM}))
    sets = EvaluationSets(folder, 13)
    first = sets.version()
    os.utime(exam, (1, 1))
    assert sets.version() == first == EvaluationSets(folder, 13).version()
    assert EvaluationSets(folder, 8).version() != first
    exam.rename(folder / "other.jsonl")
    renamed = sets.version()
    assert renamed != first
    (folder / "other.jsonl").write_text(json.dumps({"a": "b"}))
    assert sets.version() not in (first, renamed)


def test_a_changed_set_is_read_again_by_the_same_process(folder):
    (folder / "exam.jsonl").write_text('{"a": "nothing"}')
    sets = EvaluationSets(folder, 13)
    assert sets.screens()[0]("", ITEM) is None
    assert sets.screens() == sets.screens()
    (folder / "exam.jsonl").write_text(json.dumps({"a": ITEM}))
    assert sets.screens()[0]("", ITEM) is not None


def test_without_a_folder_there_is_nothing_to_look_for():
    sets = EvaluationSets(None, 13)
    assert (sets.version(), sets.screens()) == (NO_SETS, ())


def test_a_folder_without_sets_is_no_setting(folder):
    with pytest.raises(SynthError, match=r"EVALUATION_SETS is .*, which has no \*\.jsonl.*leave the setting empty"):
        EvaluationSets(folder, 13).version()


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("exam.jsonl", b'{"a": "b"}\n\n{"a": \n', 3),
        ("exam.jsonl", b'{"a": "b"}\n{"a": "\xff"}\n', 2),
        ("exam.jsonl", b'"' + b"[" * 10_000, 1),
        ("exam.jsonl.gz", gzip.compress(b'{"a": "b"}\n' * 1000, mtime=0)[:-20], None),
        ("exam.jsonl.gz", b'{"a": "b"}\n', 1),
        ("exam.parquet", b"PAR1 and no more", 1),
    ],
)
def test_an_unreadable_set_is_named_with_the_line(folder, name, content, line):
    (folder / "school" / name).write_bytes(content)
    with pytest.raises(SynthError, match=rf"school/{name}, line {line or '[0-9]+'}, in EVALUATION_SETS cannot be read"):
        EvaluationSets(folder, 13).screens()
