"""Kills a writer of the embedded database at random moments while another process's reader looks all the time.

In: the killing, the reader, and holding both against what the writer had promised. Out: what is written
(`killing.writer_program`).
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from killing.tables import is_locked
from killing.writer_program import ANSWERS, DROPS, ROWS
from resources.lake import Lake
from resources.ledger import COMPLETIONS

LONGEST_LIFE_SECONDS = 0.6
"""Of a writer after its first promise: about ten commits."""

_STATE = """
    SELECT curator_file, 'rows' AS what, count(*) AS n, count(DISTINCT row_number) AS different,
    min(generation) AS first, max(generation) AS last FROM test.rows GROUP BY 1
    UNION ALL SELECT curator_file, 'drops', count(*), count(DISTINCT row_number), min(generation), max(generation)
    FROM test.drops GROUP BY 1
"""
_BROKEN_BATCHES = (
    f"SELECT document_id, count(*) AS n FROM {COMPLETIONS} GROUP BY 1 "
    f"HAVING count(*) <> {ANSWERS} OR count(DISTINCT request_key) <> {ANSWERS}"
)


def kill_writers(folder: Path, kills: int, seed: int) -> list[str]:
    """Prints the figures; what is wrong, in words."""
    rng = random.Random(seed)
    lake = Lake(f"sqlite:{folder}/lake/catalog.sqlite", f"{folder}/lake/data")
    reader = Reader(lake)
    promised_rows: dict[str, int] = {}
    promised_answers: set[str] = set()
    generation = 0
    _write_for(lake, 0, generation, 0.0)
    with reader.reading():
        for kill in range(kills):
            for line in _write_for(lake, seed + kill, generation, rng.uniform(0.0, LONGEST_LIFE_SECONDS)):
                kind, *names, number = line.split()
                generation = max(generation, int(number))
                if kind == "rows":
                    promised_rows[names[0]] = int(number)
                else:
                    promised_answers.add(number)
            # The killed writer may have committed one more than it could promise; generations only grow.
            generation += 1
            reader.expect(promised_rows)
            if is_locked(folder / "lake" / "catalog.sqlite.lock"):
                reader.wrong.append(f"after kill {kill + 1} the catalogue is locked")
    kept = set(lake.query(f"SELECT DISTINCT document_id FROM {COMPLETIONS}")["document_id"].to_pylist())
    lake.close()
    lost = promised_answers - kept
    click.echo(f"{kills} kills of a writer, {len(promised_answers)} promised batches of answers, "
               f"{generation - kills} generations of rows, {reader.looks} looks of the reader.")  # fmt: skip
    return [*dict.fromkeys(reader.wrong), *([f"{len(lost)} committed batches of answers are lost"] if lost else [])]


class Reader:
    """Looks at every partition over and over, in a thread of its own, while writers come and go."""

    def __init__(self, lake: Lake) -> None:
        self.looks = 0
        self.wrong: list[str] = []
        self._lake = lake
        self._seen: set[str] = set()
        self._is_ended = threading.Event()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Look until the block ends."""
        thread = threading.Thread(target=self._read)
        thread.start()
        try:
            yield
        finally:
            self._is_ended.set()
            thread.join()

    def expect(self, promised: dict[str, int]) -> None:
        """A look of the caller's own: each partition is at least as new as promised."""
        newest = self._look()
        for partition, generation in promised.items():
            if newest.get(partition, -1) < generation:
                self.wrong.append(f"{partition} is back at {newest.get(partition)} after {generation} was committed")

    def _read(self) -> None:
        while not self._is_ended.is_set():
            try:
                self._look()
            except Exception as error:
                self.wrong.append(f"the reader failed: {error}")
                return

    def _look(self) -> dict[str, int]:
        self.looks += 1
        # Two threads look: what the other one sees meanwhile may be newer than this look.
        seen_before = frozenset(self._seen)
        if not self._lake.has_table("test.drops"):
            return {}
        generations: dict[str, set[int]] = {}
        for row in self._lake.query(_STATE).to_pylist():
            size = ROWS if row["what"] == "rows" else DROPS
            if (row["n"], row["different"]) != (size, size):
                self.wrong.append(f"{row['curator_file']}: {row['n']} {row['what']} where there are {size}")
            generations.setdefault(row["curator_file"], set()).update((row["first"], row["last"]))
        self._seen |= set(generations)
        self.wrong += [f"{name} is gone" for name in seen_before - set(generations)]
        self.wrong += [f"{name} is a mix: {sorted(mixed)}" for name, mixed in generations.items() if len(mixed) > 1]
        if self._lake.has_table(COMPLETIONS):
            broken = self._lake.query(_BROKEN_BATCHES).to_pylist()
            self.wrong += [f"batch {row['document_id']} has {row['n']} answers" for row in broken]
        return {name: max(mixed) for name, mixed in generations.items()}


def _write_for(lake: Lake, seed: int, generation: int, seconds: float) -> list[str]:
    """What a writer promised that was killed so long after its first promise."""
    program = Path(__file__).parents[1]
    arguments = [lake.catalog, lake.data_path, str(seed), str(generation)]
    command = [sys.executable, "-m", "killing.writer_program", *arguments]
    with subprocess.Popen(command, cwd=program, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(seconds)
        if writer.poll() is not None:
            raise click.ClickException(f"The writer ended by itself with exit code {writer.returncode}.")
        writer.kill()
        lines = [first, *writer.stdout.read().splitlines(keepends=True)]
    # The last line may have been cut off.
    return [line for line in lines if line.endswith("\n")]
