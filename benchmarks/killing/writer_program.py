"""Writes to the lake and the ledger as fast as it can, until it is killed; each line it prints is a promise.

Every partition has one generation of rows in two tables, replaced in one transaction; every batch of answers has one
document identity. A line is printed when the call has returned: from then on `kill -9` must not undo it. In: the
writing. Out: the killing and the reading (`killing.writers`).
"""

from __future__ import annotations

import random
import sys
from itertools import count

import pyarrow as pa

from resources.inference import Completion, LedgerEntry, ServedModel
from resources.lake import Lake, Replacement
from resources.ledger import COMPLETIONS, Ledger

PARTITIONS = [f"{number}.jsonl" for number in range(4)]
ROWS, DROPS, ANSWERS = 300, 40, 32
BATCHES = 3
"""Record batches that a partition's rows come in, so that a kill can hit the stream."""
COMPACT_EVERY = 40


def write(lake: Lake, seed: int, generation: int) -> None:
    """Go on for ever with the generation after this one."""
    rng = random.Random(seed)
    ledger = Ledger(lake)
    for generation in count(generation + 1):  # noqa: B020
        partition = rng.choice(PARTITIONS)
        lake.replace([_replacement("test.rows", partition, generation, ROWS),
                      _replacement("test.drops", partition, generation, DROPS)])  # fmt: skip
        print(f"rows {partition} {generation}", flush=True)
        ledger.record([_answer(generation, number) for number in range(ANSWERS)])
        print(f"answers {generation}", flush=True)
        if generation % COMPACT_EVERY == 0:
            for table in (COMPLETIONS, "test.rows"):
                lake.merge_small_files(table)
            lake.clean_up(keep_days=0.0)


def _replacement(table: str, partition: str, generation: int, row_count: int) -> Replacement:
    rows = pa.table({"curator_file": [partition] * row_count, "generation": [generation] * row_count,
                     "row_number": range(row_count)})  # fmt: skip
    batches = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=row_count // BATCHES))
    return Replacement(table, batches, {"curator_file": partition})


def _answer(generation: int, number: int) -> LedgerEntry:
    answer = Completion(f"{generation}-{number}", "An answer. " * 100, "stop", 10, 10)
    return LedgerEntry(answer, "test", str(generation), number, ServedModel("test"))


if __name__ == "__main__":
    catalog, data_path, first_seed, last_generation = sys.argv[1:]
    write(Lake(catalog, data_path), int(first_seed), int(last_generation))
