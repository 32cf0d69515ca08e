from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resources.lake as lake_module
from resources.errors import LakeError
from resources.lake import Lake, NoLakeError, Replacement
from resources.lake_connection import bare_cursor, open_lake
from resources.lake_errors import explained
from resources.scratch import scratch_folder

ROOT = Path(lake_module.__file__).parents[1]
TABLE = "rephrased.distill"
SCHEMA = pa.schema({"curator_file": pa.string(), "text": pa.string()})


def make_lake(folder: Path) -> Lake:
    return Lake(f"sqlite:{folder}/lake/catalog.sqlite", f"{folder}/lake/data")


@pytest.fixture(scope="module")
def module_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Made once: a new catalogue takes most of a second."""
    lake = make_lake(tmp_path_factory.mktemp("shared"))
    lake.append("seed.first", pa.table({"a": [1]}))
    yield lake
    lake.close()


@pytest.fixture
def lake(module_lake: Lake) -> Iterator[Lake]:
    """A lake without tables."""
    yield module_lake
    with bare_cursor(module_lake._address, create=True) as cursor:
        cursor.execute("USE lake")
        for schema in ("rephrased", "seed", "ledger"):
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def own_lake(tmp_path: Path) -> Iterator[Lake]:
    """A lake under tmp_path that does not exist yet."""
    lake = make_lake(tmp_path)
    yield lake
    lake.close()


def rows(partition: str, *texts: str | None) -> pa.Table:
    return pa.table({"curator_file": [partition] * len(texts), "text": list(texts)}, schema=SCHEMA)


def replace(lake: Lake, partition: str, *texts: str | None) -> None:
    lake.replace([Replacement(TABLE, rows(partition, *texts), {"curator_file": partition})])


def texts(lake: Lake, **where: str | list[str] | None) -> list[str | None]:
    return sorted(lake.read(TABLE, where=where)["text"].to_pylist(), key=str)


def stream(*batches: pa.RecordBatch) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(batches[0].schema, iter(batches))


def run_together(scripts: list[str], *arguments: str) -> None:
    """Runs Python programs at the same time, in processes of their own; each has to end well."""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for script in scripts
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def test_replacing_a_partition_leaves_the_others(lake: Lake) -> None:
    replace(lake, "a.jsonl", "old a", "older a")
    replace(lake, "b.jsonl", "old b")
    replace(lake, "a.jsonl", "new a")
    assert texts(lake) == ["new a", "old b"]


def test_several_partitions_are_replaced_at_once(lake: Lake) -> None:
    for partition in ("a", "b", "c"):
        replace(lake, partition, f"old {partition}")
    both = pa.concat_tables([rows("a", "new a"), rows("b", "new b")])
    lake.replace([Replacement(TABLE, both, {"curator_file": ["a", "b"]})])
    assert texts(lake) == ["new a", "new b", "old c"]


def test_an_empty_condition_replaces_the_whole_table(lake: Lake) -> None:
    replace(lake, "a", "one")
    lake.replace([Replacement(TABLE, rows("b", "two"), {})])
    assert texts(lake) == ["two"]


def test_none_in_a_condition_means_null(lake: Lake) -> None:
    lake.append(TABLE, rows("a", None, "x", "y"))
    assert texts(lake, text=None) == [None]
    assert texts(lake, text=[None, "y"]) == [None, "y"]
    lake.delete(TABLE, {"text": None})
    assert texts(lake) == ["x", "y"]


def test_deleting_from_a_table_that_does_not_exist_does_nothing(own_lake: Lake, tmp_path: Path) -> None:
    own_lake.delete(TABLE, {"curator_file": "a"})
    assert not (tmp_path / "lake").exists()


def test_replacing_reports_the_rows_of_each_change(lake: Lake) -> None:
    changes = [Replacement(TABLE, rows("a", "x", "y"), None), Replacement("ledger.drops", rows("a", "z"), None)]
    assert lake.replace(changes) == [2, 1]


def test_a_failing_change_leaves_every_table_of_the_transaction_as_it_was(lake: Lake) -> None:
    replace(lake, "a", "old")
    lake.append("ledger.drops", pa.table({"reason": ["empty"]}))
    good = Replacement(TABLE, rows("a", "new"), {"curator_file": "a"})
    bad = Replacement("ledger.drops", pa.table({"reason": [1]}), {})
    with pytest.raises(LakeError, match=r"reason of ledger\.drops is VARCHAR"):
        lake.replace([good, bad])
    assert texts(lake) == ["old"]
    assert lake.read("ledger.drops").to_pylist() == [{"reason": "empty"}]


def test_a_stream_that_breaks_leaves_the_old_rows_and_no_file(
    lake: Lake,
) -> None:
    temporary = scratch_folder("here").parent
    replace(lake, "a", "old")
    before = set(temporary.iterdir())

    def broken() -> Iterator[pa.RecordBatch]:
        yield from rows("a", "new").to_batches()
        assert set(temporary.iterdir()) > before
        raise RuntimeError("the producer broke")

    reader = pa.RecordBatchReader.from_batches(SCHEMA, broken())
    with pytest.raises(RuntimeError, match="the producer broke"):
        lake.replace([Replacement(TABLE, reader, {"curator_file": "a"})])
    assert texts(lake) == ["old"]
    assert set(temporary.iterdir()) == before


def test_an_error_of_the_producer_is_not_called_one_of_the_lake(lake: Lake) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from rows("a", "new").to_batches()
        raise FileNotFoundError("the Curator file is gone")

    with pytest.raises(FileNotFoundError, match="the Curator file is gone"):
        lake.append(TABLE, pa.RecordBatchReader.from_batches(SCHEMA, broken()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_says_so() -> None:
    with (
        pytest.raises(LakeError, match=r"disk that holds the lake or its temporary files is full.*MB left.*Free space"),
        explained(),
    ):
        Path("/dev/full").write_text("rows")


def test_rows_outside_what_is_replaced_are_refused(lake: Lake) -> None:
    replace(lake, "a", "old")
    with pytest.raises(ValueError, match="1 rows"):
        lake.replace([Replacement(TABLE, rows("b", "new"), {"curator_file": "a"})])
    assert texts(lake) == ["old"]


def test_a_stream_may_itself_read_and_write_the_lake(lake: Lake) -> None:
    replace(lake, "a", "one", "two")

    def copied() -> Iterator[pa.RecordBatch]:
        for batch in lake.scan(TABLE):
            lake.append("ledger.drops", pa.table({"reason": ["empty"]}))
            yield batch

    reader = pa.RecordBatchReader.from_batches(SCHEMA, copied())
    lake.replace([Replacement(TABLE, reader, {"curator_file": "a"})])
    assert texts(lake) == ["one", "two"]
    assert lake.read("ledger.drops").num_rows == 1


def test_a_stream_of_many_batches_arrives_whole(lake: Lake) -> None:
    batches = [
        pa.record_batch({"curator_file": ["a"] * 300, "row_number": range(i, i + 300)}) for i in range(0, 30_000, 300)
    ]
    lake.replace([Replacement("seed.numbers", stream(*batches), {"curator_file": "a"})])
    stored = lake.read("seed.numbers", columns=["row_number"])
    assert sorted(stored["row_number"].to_pylist()) == list(range(30_000))


def test_an_empty_stream_empties_the_partition_and_keeps_the_columns(lake: Lake) -> None:
    replace(lake, "a", "old")
    nothing = pa.RecordBatchReader.from_batches(SCHEMA, iter(()))
    lake.replace([Replacement(TABLE, nothing, {"curator_file": "a"})])
    assert lake.read(TABLE) == SCHEMA.empty_table()


def test_types_come_back_as_they_were_given(lake: Lake) -> None:
    segment = pa.struct([("segment_index", pa.int64()), ("text", pa.string())])
    schema = pa.schema(
        {
            "document_id": pa.string(),
            "is_candidate": pa.bool_(),
            "token_count": pa.int64(),
            "perplexity": pa.float64(),
            "created_at": pa.timestamp("us", tz="UTC"),
            "categories": pa.list_(pa.string()),
            "segments": pa.list_(segment),
        }
    )
    given_rows = pa.Table.from_pylist(
        [
            {"document_id": "d", "categories": ["x", None], "segments": [{"segment_index": 0, "text": "t"}]},
            {"is_candidate": True, "token_count": 2**40, "perplexity": 1.5, "created_at": 10**15, "categories": []},
        ],
        schema=schema,
    )
    lake.append(TABLE, given_rows)
    assert lake.read(TABLE, schema=schema) == given_rows


def test_a_dictionary_column_is_stored_as_its_values(lake: Lake) -> None:
    lake.append(TABLE, pa.table({"strategy": pa.array(["distill", "distill"]).dictionary_encode()}))
    assert lake.read(TABLE).schema.field("strategy").type == pa.string()


def test_an_all_null_batch_does_not_change_a_columns_type(lake: Lake) -> None:
    schema = pa.schema({"curator_file": pa.string(), "structured": pa.string(), "token_count": pa.int64()})
    empty = pa.Table.from_pylist([{"curator_file": "a"}], schema=schema)
    lake.replace([Replacement(TABLE, empty, {"curator_file": "a"})])
    lake.append(TABLE, pa.table({"curator_file": ["b"], "structured": pa.nulls(1), "token_count": pa.nulls(1)}))
    lake.append(
        TABLE, pa.Table.from_pylist([{"curator_file": "c", "structured": "{}", "token_count": 3}], schema=schema)
    )
    assert lake.read(TABLE).schema == schema


def test_a_new_column_without_a_type_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"Column structured .* is new and has no type"):
        lake.append(TABLE, pa.table({"structured": pa.nulls(1)}))
    assert not lake.has_table(TABLE)


def test_a_new_column_is_added_and_older_rows_have_null_there(lake: Lake) -> None:
    replace(lake, "a", "old")
    wider = rows("b", "new").append_column("title", pa.array(["t"]))
    lake.append(TABLE, wider)
    assert lake.read(TABLE, ["text", "title"], {"curator_file": "a"}).to_pylist() == [{"text": "old", "title": None}]
    assert lake.read(TABLE, ["text", "title"], {"curator_file": "b"}).to_pylist() == [{"text": "new", "title": "t"}]


def test_a_missing_table_is_an_error_that_names_it_or_empty_under_a_schema(own_lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"no table rephrased\.distill yet"):
        own_lake.read(TABLE)
    assert own_lake.read(TABLE, schema=SCHEMA) == SCHEMA.empty_table()
    assert not own_lake.has_table(TABLE)
    assert own_lake.snapshot_id() is None
    with pytest.raises(NoLakeError, match="no lake yet"):
        own_lake.query_read_only("SELECT 1")
    assert not (tmp_path / "lake").exists(), "asking must not create anything"


def test_reading_a_partition_opens_no_file_of_another(own_lake: Lake, tmp_path: Path) -> None:
    for partition in ("a", "b", "c"):
        replace(own_lake, partition, f"text of {partition}")
    kept: list[str] = []
    for partition in ("b", "c"):
        statement = "SELECT DISTINCT filename FROM rephrased.distill WHERE curator_file = ?"
        kept += own_lake.query(statement, [partition])["filename"].to_pylist()
    for file in (tmp_path / "lake" / "data").rglob("*.parquet"):
        if file.parent.name == "distill" and not any(name.endswith(file.name) for name in kept):
            file.unlink()
    assert texts(own_lake, curator_file="b") == ["text of b"]
    assert texts(own_lake, curator_file=["b", "c"]) == ["text of b", "text of c"]
    with pytest.raises(LakeError):
        texts(own_lake)


def test_a_reader_keeps_its_snapshot_while_others_write(lake: Lake) -> None:
    lake.append(TABLE, rows("a", *(f"old {i}" for i in range(20_000))))
    reader = lake.scan(TABLE)
    seen = reader.read_next_batch().num_rows
    lake.replace([Replacement(TABLE, rows("a", "new"), {"curator_file": "a"})])
    assert seen < 20_000
    assert seen + sum(batch.num_rows for batch in reader) == 20_000
    assert texts(lake) == ["new"]


def test_a_reader_never_sees_half_a_partition(lake: Lake) -> None:
    replace(lake, "a", *["version 0"] * 500)
    is_done = threading.Event()

    def rewrite() -> None:
        for version in range(1, 9):
            replace(lake, "a", *[f"version {version}"] * 500)
        is_done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    versions = set()
    while not is_done.is_set():
        seen = lake.read(TABLE)["text"].to_pylist()
        assert len(seen) == 500
        assert len(set(seen)) == 1
        versions.add(seen[0])
    writer.join()
    assert len(versions) > 1


def test_four_processes_write_at_once_and_no_row_is_lost(own_lake: Lake, tmp_path: Path) -> None:
    script = """
import sys
import pyarrow as pa
from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake, Replacement
from resources.ledger import Ledger

me, folder = {me!r}, sys.argv[1]
lake = Lake(f"sqlite:{{folder}}/lake/catalog.sqlite", f"{{folder}}/lake/data")
for round in range(4):
    rows = pa.table({{"curator_file": [me] * 500, "text": [f"{{me}} {{round}}"] * 500}})
    lake.replace([Replacement("rephrased.distill", rows, {{"curator_file": me}})])
    Ledger(lake).record([
        LedgerEntry(Completion(f"{{me}}-{{round}}-{{i}}", "answer", "stop"), "distill", "d", 0, ServedModel("m"))
        for i in range(20)
    ])
"""
    names = [f"file{i}.jsonl" for i in range(4)]
    run_together([script.format(me=name) for name in names], str(tmp_path))
    counted = own_lake.query(
        "SELECT curator_file, text, count(*) AS n FROM rephrased.distill GROUP BY ALL ORDER BY ALL"
    )
    assert counted.to_pylist() == [{"curator_file": name, "text": f"{name} 3", "n": 500} for name in names]
    assert (
        own_lake.query("SELECT count(DISTINCT request_key) AS n FROM ledger.completions")["n"][0].as_py() == 4 * 4 * 20
    )


def test_a_commit_that_another_writer_overtook_is_repeated(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(lake, "a", "old")
    attempts = []
    apply = lake_module.apply

    def overtaken(cursor, change):
        stored = apply(cursor, change)
        if not attempts:
            with open_lake(lake._address, create=False) as other:
                other.execute("INSERT INTO rephrased.distill VALUES ('b', 'from elsewhere')")
        attempts.append(stored)
        return stored

    monkeypatch.setattr(lake_module, "apply", overtaken)
    replace(lake, "a", "new")
    assert attempts == [1, 1]
    assert texts(lake) == ["from elsewhere", "new"]


def test_threads_of_one_process_write_at_once(lake: Lake) -> None:
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for version in range(5):
                replace(lake, name, f"{name} {version}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"file{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert texts(lake) == [f"file{i} 4" for i in range(4)]


def file_sizes(lake: Lake) -> list[int]:
    files = lake.query(
        "SELECT data_file_size_bytes AS n FROM ducklake_list_files('lake', 'distill', schema => 'rephrased')"
    )
    return files["n"].to_pylist()


def test_many_small_files_are_merged_and_every_row_is_kept(lake: Lake) -> None:
    for i in range(15):
        lake.append(TABLE, rows(f"file{i}", f"text {i}"))
    assert not lake.merge_small_files(TABLE)
    assert len(file_sizes(lake)) == 15
    lake.append(TABLE, rows("file15", "text 15"))
    reader = lake.scan(TABLE)
    assert lake.merge_small_files(TABLE)
    assert len(file_sizes(lake)) == 1
    assert texts(lake) == sorted(f"text {i}" for i in range(16))
    assert reader.read_all().num_rows == 16
    assert not lake.merge_small_files("rephrased.missing")


def test_a_file_that_has_grown_by_merging_is_left_alone_until_there_are_many_like_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "_MERGE_TIERS", ((0, 1500, 16), (1500, 8000, 16)))

    def files() -> set[str]:
        return set(lake.query(f"SELECT DISTINCT filename AS name FROM {TABLE}")["name"].to_pylist())

    grown: set[str] = set()
    for round in range(15):
        for i in range(16):
            lake.append(TABLE, rows("a", random.Random(f"{round} {i}").randbytes(100).hex()))
        assert lake.merge_small_files(TABLE)
        assert grown < files(), "what was merged before is rewritten with what is new"
        grown = files()
    assert len(grown) == 15
    for i in range(16):
        lake.append(TABLE, rows("a", random.Random(i).randbytes(100).hex()))
    assert lake.merge_small_files(TABLE)
    assert len(file_sizes(lake)) == 16
    assert lake.merge_small_files(TABLE)
    assert len(file_sizes(lake)) == 1
    assert len(set(texts(lake))) == 16 * 16


def test_what_a_killed_writer_left_is_removed_after_a_day_unless_it_may_be_anothers(
    own_lake: Lake, tmp_path: Path
) -> None:
    replace(own_lake, "a", "text")
    files = tmp_path / "lake" / "data" / "rephrased" / "distill"
    (mine,) = files.iterdir()
    fresh, left, foreign = files / "ducklake-fresh.parquet", files / "ducklake-left.parquet", files / "other.parquet"
    for file in (fresh, left, foreign):
        shutil.copy(mine, file)
    for file in (left, foreign, mine):
        os.utime(file, (time.time() - 90_000,) * 2)
    own_lake.clean_up()
    assert left.exists()
    foreign.unlink()
    own_lake.clean_up()
    assert sorted(files.iterdir()) == sorted([mine, fresh])


def test_old_snapshots_expire_and_the_last_one_stays(own_lake: Lake) -> None:
    for i in range(3):
        replace(own_lake, "a", f"version {i}")
    own_lake.clean_up(keep_days=0)
    assert own_lake.query("SELECT count(*) AS n FROM lake.snapshots()")["n"][0].as_py() == 1
    assert texts(own_lake) == ["version 2"]


# No NUL, and no lone surrogates: neither is text.
odd_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["", "'; DROP TABLE x; --", '"quoted"', "line\nbreak\r\n", "tab\t\\", "👩‍👩‍👧 e\u0301 \u202e", "NULL", "\ufeffbom"]
)


@settings(max_examples=15, deadline=None)
@given(partition=odd_texts, values=st.lists(st.none() | odd_texts, min_size=1, max_size=5), is_stream=st.booleans())
def test_any_text_comes_back_as_it_was(
    module_lake: Lake, partition: str, values: list[str | None], is_stream: bool
) -> None:
    new = rows(partition, *values)
    given_rows = stream(*new.to_batches()) if is_stream else new
    module_lake.replace([Replacement(TABLE, given_rows, {"curator_file": partition})])
    assert module_lake.read(TABLE, where={"curator_file": partition})["text"].to_pylist() == values
    assert module_lake.read(TABLE, where={"curator_file": [partition]})["text"].to_pylist() == values


@pytest.mark.parametrize("table", ["distill", "a.b.c", "Rephrased.distill", 'a."b"', "a.b; DROP", ""])
def test_a_table_name_that_is_none_is_refused(lake: Lake, table: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        lake.scan(table)
    with pytest.raises(ValueError, match="is no name"):
        lake.append(table, rows("a", "x"))


def test_a_column_name_that_is_none_is_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match="is no name"):
        lake.append(TABLE, pa.table({'text" VARCHAR, "x': ["y"]}))
    with pytest.raises(ValueError, match="is no name"):
        lake.scan(TABLE, where={"1=1 --": "x"})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT text FROM rephrased.distill",
        "FROM rephrased.distill SELECT text",
        "WITH t AS (FROM rephrased.distill) SELECT text FROM t;",
        "-- a comment\nSELECT text FROM rephrased.distill ORDER BY text LIMIT 5",
    ],
)
def test_a_users_query_reads_the_lake(lake: Lake, sql: str) -> None:
    replace(lake, "a", "hello")
    assert lake.query_read_only(sql).to_pylist() == [{"text": "hello"}]


@pytest.mark.parametrize("sql", ["DESCRIBE rephrased.distill", "SHOW ALL TABLES", "SUMMARIZE rephrased.distill"])
def test_a_user_can_look_around(lake: Lake, sql: str) -> None:
    replace(lake, "a", "hello")
    assert lake.query_read_only(sql).num_rows > 0


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM rephrased.distill",
        "INSERT INTO rephrased.distill VALUES ('b', 'x')",
        "DROP TABLE rephrased.distill",
        "CREATE TABLE rephrased.other AS SELECT 1 AS a",
        "COPY rephrased.distill TO '{folder}/stolen.csv'",
        "ATTACH '{folder}/other.db'",
        "SET enable_external_access = true",
        "SELECT 1; DELETE FROM rephrased.distill",
        "EXPLAIN ANALYZE DELETE FROM rephrased.distill",
        "CALL ducklake_expire_snapshots('lake', older_than => now())",
        "SELECT * FROM ducklake_cleanup_old_files('lake', cleanup_all => true)",
        "SELECT * FROM query('DELETE FROM rephrased.distill')",
        "SELECT * FROM sqlite_scan('{catalog}', 'ducklake_table')",
        "SELECT * FROM read_text('{folder}/secret.txt')",
        "WITH t AS (SELECT * FROM read_csv('{folder}/secret.txt')) FROM t",
        "SELECT (SELECT count(*) FROM glob('{folder}/*'))",
        "FROM '{folder}/secret.txt'",
        "",
    ],
)
def test_a_users_query_neither_writes_nor_leaves_the_lake(lake: Lake, tmp_path: Path, sql: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    replace(lake, "a", "hello")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LakeError):
        lake.query_read_only(sql.format(folder=tmp_path, catalog=lake.catalog.removeprefix("sqlite:")))
    assert sorted(tmp_path.iterdir()) == before
    assert texts(lake) == ["hello"]
    assert lake.query("SELECT count(*) AS n FROM lake.snapshots()")["n"][0].as_py() > 2


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT txt FROM rephrased.distill", '"txt" not found'),
        ("FROM rephrased.distil", "Did you mean"),
        ("SELECT text::INTEGER FROM rephrased.distill", "Could not convert string 'hello'"),
    ],
)
def test_a_mistake_in_a_users_query_is_duckdbs_message(lake: Lake, sql: str, message: str) -> None:
    replace(lake, "a", "hello")
    with pytest.raises(LakeError, match=message):
        lake.query_read_only(sql)


def test_reading_files_of_a_folder_keeps_none_of_them_in_memory(lake: Lake) -> None:
    for number in range(3):
        lake.append(
            "seed.answers", pa.table({"number": range(10_000), "text": [f"{number} {n}" for n in range(10_000)]})
        )
        assert lake.read("seed.answers").num_rows == 10_000 * (number + 1)
    kept = lake.query("SELECT memory_usage_bytes AS kept FROM duckdb_memory() WHERE tag = 'EXTERNAL_FILE_CACHE'")
    assert kept["kept"].to_pylist() == [0]


def test_a_users_query_sees_what_was_committed_last(lake: Lake) -> None:
    for text in ("one", "two"):
        replace(lake, "a", text)
        assert lake.query_read_only("SELECT text FROM rephrased.distill").to_pylist() == [{"text": text}]


def test_a_lake_that_is_pickled_or_given_relative_paths_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Lake("sqlite:lake/catalog.sqlite", "lake/data")
    replace(lake, "a", "hello")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert texts(pickle.loads(pickle.dumps(lake))) == ["hello"]
    lake.close()
    assert texts(lake) == ["hello"]
    lake.close()


def test_a_forked_child_connects_anew(tmp_path: Path) -> None:
    script = """
import os, sys
import pyarrow as pa
from resources.lake import Lake
lake = Lake(f"sqlite:{sys.argv[1]}/lake/catalog.sqlite", f"{sys.argv[1]}/lake/data")
lake.append("rephrased.distill", pa.table({"text": ["parent"]}))
child = os.fork()
if child == 0:
    lake.append("rephrased.distill", pa.table({"text": ["child"]}))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert lake.read("rephrased.distill").num_rows == 2
"""
    run_together([script], str(tmp_path))


def test_a_lake_whose_folder_was_moved_still_works(own_lake: Lake, tmp_path: Path) -> None:
    replace(own_lake, "a", "hello")
    own_lake.close()
    shutil.move(tmp_path / "lake", tmp_path / "home" / "lake")
    moved = make_lake(tmp_path / "home")
    assert texts(moved) == ["hello"]
    replace(moved, "a", "again")
    assert moved.query_read_only("SELECT text FROM rephrased.distill").to_pylist() == [{"text": "again"}]
    moved.close()
    assert texts(moved) == ["again"]
    moved.close()


def test_a_data_folder_of_another_catalogue_is_refused(own_lake: Lake, tmp_path: Path) -> None:
    replace(own_lake, "a", "hello")
    own_lake.close()
    with pytest.raises(LakeError, match=r"(?s)another data folder.*LAKE_DATA_PATH"):
        replace(Lake(own_lake.catalog, str(tmp_path / "other")), "a", "x")


def test_a_catalogue_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("this is not a database, " * 100)
    with pytest.raises(LakeError, match="not a SQLite database"):
        replace(Lake(f"sqlite:{tmp_path}/notes.txt", f"{tmp_path}/data"), "a", "x")


def test_a_path_that_cannot_be_a_lake_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for catalog, data in [("file/catalog.sqlite", "data"), ("folder", "data"), ("c.sqlite", "file")]:
        with pytest.raises(LakeError, match="LAKE_DATA_PATH"):
            replace(Lake(f"sqlite:{tmp_path}/{catalog}", f"{tmp_path}/{data}"), "a", "x")


def test_an_unknown_kind_of_catalogue_is_refused_without_showing_it() -> None:
    with pytest.raises(LakeError, match="LAKE_CATALOG") as caught:
        Lake("mysql:password=secret", "data")
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LakeError, match="cannot be written"):
        replace(make_lake(tmp_path), "a", "x")


def test_each_process_loads_its_extensions_while_others_do(tmp_path: Path) -> None:
    script = """
import sys
import pyarrow as pa
from resources.lake import Lake
Lake(f"sqlite:{sys.argv[1]}/lake/catalog.sqlite", f"{sys.argv[1]}/lake/data").append("a.b", pa.table({"c": [1]}))
"""
    run_together([script] * 4, str(tmp_path))
    lake = make_lake(tmp_path)
    assert lake.read("a.b").num_rows == 4
    assert lake.query("SELECT count(*) AS n FROM meta.schema_version")["n"][0].as_py() == 1
    lake.close()
