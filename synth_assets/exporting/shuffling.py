"""Puts rows in the order of their keys in flat memory: spread over buckets on the disk, then sorted bucket by bucket.

In: rows with a uniform 64-bit `order_key`. Out: where the keys come from (`selection`). A sort of whole rows in DuckDB
takes up to 80% of the machine's memory before it goes to the disk; this one holds a bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

BUCKET_CHARS = 32_000_000
MOST_BUCKET_BITS = 8
"""256 open files; beyond 8 GB of text, buckets grow instead."""

ROWS_PER_BATCH = 8192

_ORDER = [("order_key", "ascending"), ("merged_id", "ascending"), ("curator_file", "ascending"),
          ("repetition", "ascending")]  # fmt: skip


def shuffled(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path, chars: int
) -> Iterator[pa.RecordBatch]:
    """The rows by order_key, merged_id, curator_file and repetition; `chars` is the size of all texts together.

    The same rows give the same batches, in whatever order they come. Needs disk of the texts' size in `folder`, which
    is made, and freed bucket by bucket.
    """
    bits = min(MOST_BUCKET_BITS, max(0, (chars // BUCKET_CHARS).bit_length()))
    folder.mkdir()
    paths = [folder / f"{place:03d}.arrow" for place in range(2**bits)]
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(path), schema)) for path in paths]
        for batch in batches:
            for place, part in _spread(batch, bits):
                writers[place].write_batch(part)
    for path in paths:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_stream(file).read_all()
        path.unlink()
        yield from table.sort_by(_ORDER).combine_chunks().to_batches(max_chunksize=ROWS_PER_BATCH)
    folder.rmdir()


def _spread(batch: pa.RecordBatch, bits: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    if not bits:
        yield 0, batch
        return
    keys = batch.column("order_key").to_numpy(zero_copy_only=False)
    places = (keys >> np.uint64(64 - bits)).astype(np.int64)
    for place in np.unique(places):
        yield int(place), batch.take(pa.array(np.flatnonzero(places == place)))
