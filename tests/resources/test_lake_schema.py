from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import resources.lake as lake_module
from resources.errors import LakeError
from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake
from resources.lake_connection import bare_cursor, lake_cursor, open_lake
from resources.lake_errors import explained
from resources.lake_schema import OLDEST_VERSION, SCHEMA_VERSION, UPGRADE_STEPS, UpgradeStep
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA, Ledger

ROOT = Path(lake_module.__file__).parents[1]
ESTIMATES = ["estimated_prompt_tokens", "estimated_completion_tokens"]
ROW_GROUP_OPTION = "SELECT value FROM ducklake_options('lake') WHERE option_name = 'parquet_row_group_size'"
NEXT = SCHEMA_VERSION + 1


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A lake under tmp_path that does not exist yet."""
    lake = Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")
    yield lake
    lake.close()


def entry(key: str) -> LedgerEntry:
    return LedgerEntry(Completion(key, "text", "stop", 3, 4), "distill", "d1", 0, ServedModel("m"), 30, 40)


def change(lake: Lake, *statements: str) -> None:
    with bare_cursor(lake._address, create=True) as cursor:
        cursor.execute("USE lake")
        for statement in statements:
            cursor.execute(statement)
    lake.close()


def make_oldest(lake: Lake) -> None:
    """As the first commit that could store anything made it: one answer, no estimates, DuckDB's row groups."""
    row = dict.fromkeys(COMPLETIONS_SCHEMA.names) | {"request_key": "k1", "strategy": "distill", "model": "m"}
    row |= {"prompt_tokens": 3, "completion_tokens": 4, "completion": "text", "created_at": datetime.now(UTC)}
    rows = pa.Table.from_pylist([row], schema=COMPLETIONS_SCHEMA)
    lake.append(COMPLETIONS, rows.drop_columns(ESTIMATES))
    change(lake, f"UPDATE meta.schema_version SET version = {OLDEST_VERSION}")
    with sqlite3.connect(lake.catalog.removeprefix("sqlite:")) as catalogue:
        catalogue.execute("DELETE FROM ducklake_metadata WHERE key = 'parquet_row_group_size'")


def version(lake: Lake) -> list[int]:
    with lake_cursor(lake._address) as cursor:
        return [row[0] for row in cursor.execute("SELECT version FROM meta.schema_version").fetchall()]


def upgrade(lake: Lake, *further: UpgradeStep) -> None:
    """As an installation with further steps would."""
    with explained():
        open_lake(lake._address, create=False, is_writer=True, steps=(*UPGRADE_STEPS, *further)).close()


def marks(lake: Lake) -> tuple[int, list[str]]:
    """Version, and the marks that the steps of a test leave, read as an installation that knows them would."""
    connection = open_lake(lake._address, create=False, steps=(*UPGRADE_STEPS, *[UpgradeStep(())] * 2))
    found = connection.execute("SELECT version, mark FROM meta.schema_version, seed.marks ORDER BY mark").fetchall()
    connection.close()
    return found[0][0], [mark for _, mark in found]


@pytest.fixture
def marked_lake(lake: Lake) -> Lake:
    lake.append("seed.marks", pa.table({"mark": ["a"]}))
    lake.close()
    return lake


def test_a_new_lake_has_todays_version_and_row_groups(lake: Lake) -> None:
    lake.append("seed.first", pa.table({"a": [1]}))
    assert version(lake) == [SCHEMA_VERSION]
    assert lake.query(ROW_GROUP_OPTION)["value"].to_pylist() == ["8192"]


def test_a_reader_of_a_lake_that_lacks_columns_is_told_the_command(lake: Lake) -> None:
    make_oldest(lake)
    for read in (lambda: lake.has_table(COMPLETIONS), lambda: lake.query_read_only("FROM ledger.completions")):
        with pytest.raises(LakeError, match=r"schema version 1 .* Run `synth upgrade`: it keeps every row"):
            read()


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_an_oldest_lake_is_upgraded_when_asked_for_or_written_to_and_keeps_every_row(lake, is_asked_for) -> None:
    make_oldest(lake)
    if is_asked_for:
        lake.upgrade()
    else:
        Ledger(lake).record([entry("k2")])
    usage = Ledger(lake).usage_by_strategy().to_pylist()[0]
    assert (usage["requests"], usage["prompt_tokens"]) == ((1, 3) if is_asked_for else (2, 6))
    assert usage["estimated_prompt_tokens"] == (None if is_asked_for else 30)
    assert Ledger(lake).fetch(["k1"])["k1"].text == "text"
    assert version(lake) == [SCHEMA_VERSION]
    assert lake.query(ROW_GROUP_OPTION)["value"].to_pylist() == ["8192"]


def test_a_seed_that_does_not_say_what_counted_its_tokens_keeps_its_rows_and_is_to_be_counted_again(lake: Lake) -> None:
    lake.append("seed.curated_documents", pa.table({"document_id": ["d1"], "token_count": [7]}))
    change(lake, "UPDATE meta.schema_version SET version = 2")
    with pytest.raises(LakeError, match=r"schema version 2 .* Run `synth upgrade`"):
        lake.has_table("seed.curated_documents")
    lake.upgrade()
    row = {"document_id": "d1", "token_count": 7, "tokenizer_fingerprint": None}
    assert lake.read("seed.curated_documents").to_pylist() == [row]


def test_an_older_lake_that_lacks_nothing_is_read_without_being_changed(lake: Lake) -> None:
    Ledger(lake).record([entry("k1")])
    change(lake, f"UPDATE meta.schema_version SET version = {OLDEST_VERSION}")
    snapshot = lake.snapshot_id()
    assert Ledger(lake).usage_by_strategy()["requests"].to_pylist() == [1]
    assert lake.query_read_only("SELECT request_key FROM ledger.completions").num_rows == 1
    assert (version(lake), lake.snapshot_id()) == ([OLDEST_VERSION], snapshot)
    Ledger(lake).record([entry("k2")])
    assert version(lake) == [SCHEMA_VERSION]


def test_a_lake_without_a_version_counts_as_the_oldest(lake: Lake) -> None:
    make_oldest(lake)
    change(lake, "DROP SCHEMA meta CASCADE", f"ALTER TABLE ledger.completions DROP COLUMN {ESTIMATES[0]}")
    with pytest.raises(LakeError, match="schema version 1 "):
        Ledger(lake).known_keys(["k1"])
    lake.upgrade()
    assert Ledger(lake).known_keys(["k1"]) == {"k1"}
    assert version(lake) == [SCHEMA_VERSION]


def test_a_lake_that_was_attached_and_never_written_is_read_and_written(lake: Lake) -> None:
    change(lake, "DROP SCHEMA meta CASCADE")
    assert not lake.has_table(COMPLETIONS)
    lake.close()
    Ledger(lake).record([entry("k1")])
    assert version(lake) == [SCHEMA_VERSION]


def test_upgrading_makes_no_lake_where_there_is_none(lake: Lake, tmp_path: Path) -> None:
    lake.upgrade()
    assert list(tmp_path.iterdir()) == []


def test_a_newer_lake_is_refused_for_readers_and_writers_and_left_alone(lake: Lake) -> None:
    Ledger(lake).record([entry("k1")])
    change(lake, f"UPDATE meta.schema_version SET version = {NEXT}")
    before = last_snapshot(lake)
    uses: list[Callable[[], object]] = [
        lambda: lake.has_table(COMPLETIONS),
        lambda: lake.query_read_only("FROM ledger.completions"),
        lambda: Ledger(lake).record([entry("k2")]),
        lake.upgrade,
    ]
    for use in uses:
        with pytest.raises(LakeError, match=f"version {NEXT}; this installation knows up to {SCHEMA_VERSION}. Update"):
            use()
    assert last_snapshot(lake) == before


def last_snapshot(lake: Lake) -> int:
    """Number of the last commit, asked of the catalogue itself."""
    with sqlite3.connect(lake.catalog.removeprefix("sqlite:")) as catalogue:
        return catalogue.execute("SELECT max(snapshot_id) FROM ducklake_snapshot").fetchone()[0]


def test_a_failing_step_changes_nothing_and_says_what_to_do(marked_lake: Lake) -> None:
    first = UpgradeStep(("INSERT INTO seed.marks VALUES ('b')",))
    second = UpgradeStep(("INSERT INTO seed.marks VALUES ('c')", "DELETE FROM seed.no_such_table"))
    with pytest.raises(LakeError) as caught:
        upgrade(marked_lake, first, second)
    assert f"schema version {NEXT} to {NEXT + 1} failed, and nothing was changed" in caught.value.fact
    assert "no_such_table" in caught.value.fact
    assert "Use the release of this project that wrote the lake" in caught.value.remedy
    assert marks(marked_lake) == (SCHEMA_VERSION, ["a"])


def test_each_step_is_taken_once(marked_lake: Lake) -> None:
    first, second = (UpgradeStep((f"INSERT INTO seed.marks VALUES ('{mark}')",)) for mark in "bc")
    upgrade(marked_lake, first)
    assert marks(marked_lake) == (NEXT, ["a", "b"])
    upgrade(marked_lake, first, second)
    upgrade(marked_lake, first, second)
    assert marks(marked_lake) == (NEXT + 1, ["a", "b", "c"])


def test_a_step_that_readers_need_refuses_them_and_any_other_does_not(marked_lake: Lake) -> None:
    open_lake(marked_lake._address, create=False, steps=(*UPGRADE_STEPS, UpgradeStep(()))).close()
    needed = UpgradeStep((), blocks_readers_if="SELECT count(*) = 1 FROM seed.marks")
    with pytest.raises(LakeError, match=r"has to be upgraded before it is read\. Run `synth upgrade`"):
        open_lake(marked_lake._address, create=False, steps=(*UPGRADE_STEPS, needed))


UPGRADE_SCRIPT = """
import os, signal, sys
from resources.lake import Lake
from resources.lake_connection import open_lake
from resources.lake_schema import UPGRADE_STEPS, UpgradeStep, upgrade

lake = Lake(f"sqlite:{sys.argv[1]}/lake/catalog.sqlite", f"{sys.argv[1]}/lake/data")
connection = open_lake(lake._address, create=False)
connection.create_function("die", lambda: os.kill(os.getpid(), signal.SIGKILL), [], "INTEGER")
print("open", flush=True)
sys.stdin.readline()
step = UpgradeStep(("INSERT INTO seed.marks VALUES ('b')", *sys.argv[2:]))
upgrade(connection, lake._address, (*UPGRADE_STEPS, step))
"""


def start_upgrade(folder: Path, *statements: str) -> subprocess.Popen[str]:
    """A process that has opened the lake and upgrades it as soon as its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", UPGRADE_SCRIPT, str(folder), *statements],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_of_several_processes_one_upgrades_and_the_others_find_it_done(marked_lake: Lake, tmp_path: Path) -> None:
    processes = [start_upgrade(tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert marks(marked_lake) == (NEXT, ["a", "b"])


def test_kill_9_within_an_upgrade_leaves_the_old_lake_and_the_next_one_finishes(marked_lake, tmp_path) -> None:
    process = start_upgrade(tmp_path, "SELECT die()")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert marks(marked_lake) == (SCHEMA_VERSION, ["a"])
    process = start_upgrade(tmp_path)
    process.communicate()
    assert process.returncode == 0
    assert marks(marked_lake) == (NEXT, ["a", "b"])


@pytest.fixture
def older_format(lake: Lake) -> Lake:
    """A catalogue of DuckLake 0.3, dumped from DuckDB 1.4.4: an empty table `ledger.completions`, no version."""
    Path(lake.data_path).mkdir(parents=True)
    dump = (Path(__file__).parent / "ducklake_0_3.sql").read_text()
    with sqlite3.connect(lake.catalog.removeprefix("sqlite:")) as catalogue:
        catalogue.executescript(dump.replace("DATA_PATH", lake.data_path))
    return lake


def test_a_reader_of_an_older_ducklake_format_is_told_the_command(older_format: Lake) -> None:
    for read in (lambda: older_format.has_table(COMPLETIONS), lambda: older_format.query_read_only("SELECT 1")):
        with pytest.raises(LakeError, match=r"DuckLake format 0\.3; this .* reads 1\.0\. Run `synth upgrade`"):
            read()


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_an_older_ducklake_format_is_migrated_when_asked_for_or_written_to(older_format, is_asked_for) -> None:
    if is_asked_for:
        older_format.upgrade()
    Ledger(older_format).record([entry("k1")])
    assert Ledger(older_format).fetch(["k1"])["k1"].completion_tokens == 4
    assert version(older_format) == [SCHEMA_VERSION]


def set_format(lake: Lake, name: str) -> None:
    lake.append("seed.first", pa.table({"a": [1]}))
    lake.close()
    with sqlite3.connect(lake.catalog.removeprefix("sqlite:")) as catalogue:
        catalogue.execute("UPDATE ducklake_metadata SET value = ? WHERE key = 'version'", [name])


@pytest.mark.parametrize("name", ["1.1", "9.9", "unheard-of"])
def test_a_newer_or_unknown_ducklake_format_is_refused_for_readers_and_writers(lake: Lake, name: str) -> None:
    set_format(lake, name)
    uses: list[Callable[[], object]] = [
        lambda: lake.has_table("seed.first"),
        lambda: lake.append("seed.first", pa.table({"a": [2]})),
        lake.upgrade,
    ]
    for use in uses:
        with pytest.raises(LakeError, match=rf"DuckLake format {name}; this installation reads .* or a newer one"):
            use()


def test_a_format_that_cannot_be_migrated_is_an_error_with_a_remedy(lake: Lake) -> None:
    set_format(lake, "0.3")
    with pytest.raises(LakeError, match=r"could not be brought to today's DuckLake format.*backup"):
        lake.upgrade()
