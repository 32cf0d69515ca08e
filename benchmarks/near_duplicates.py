"""What it takes to find near-duplicates and evaluation items: signatures, one file more beside many, the index.

Documents are of about 2 KB. The lake is a real one, of one file with 100,000 documents and one with 10,000 more, of
which every tenth is a copy with some words changed. Evaluation items are made up, each of about 60 words. CPU time of
this process counts where one core does the work, wall time for the lake.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import psutil
import pyarrow as pa
from workbench.project import Figure, report

from resources.lake import Lake, Replacement
from synth_assets.assets.near_duplicates import find_near_duplicates
from synth_assets.assets.signature_pairs import compare_new_signatures
from synth_assets.core.decontamination import EvaluationIndex
from synth_assets.core.near_duplicates import sign
from synth_assets.core.quality_tables import SIGNATURES

VOCABULARY = [
    f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in ("n", "rd", "st")
]
WORDS_PER_DOCUMENT = 400
DOCUMENTS_PER_SECOND = 500
"""The measures' target: they must keep ahead of generation."""
CHECK_MILLISECONDS = 0.15
"""What the check may cost a text of 2 KB: the client spends about 3 ms on it altogether."""
BATCH = 1024


def text(number: int, words: int = WORDS_PER_DOCUMENT) -> str:
    """Words drawn anew for each number: about 4.5 characters each with their blank."""
    return " ".join(random.Random(number).choices(VOCABULARY, k=words))


def changed(original: str, number: int) -> str:
    """The same with three of its words replaced."""
    words = original.split()
    for place in random.Random(number).sample(range(len(words)), 3):
        words[place] = "changed"
    return " ".join(words)


def store(lake: Lake, file: str, texts: Sequence[str]) -> None:
    """Sign the texts and store them as one file's rows."""

    def batches():
        for start in range(0, len(texts), BATCH):
            part = texts[start : start + BATCH]
            signed = sign(part)
            yield pa.RecordBatch.from_pydict(
                {
                    "merged_id": [f"{file}-{start + place:07}" for place in range(len(part))],
                    "document_id": [f"{start + place:07}" for place in range(len(part))],
                    "curator_file": [file] * len(part),
                    "strategy": ["original"] * len(part),
                    "signature_id": [one.signature_id for one in signed],
                    "shingle_count": [one.shingle_count for one in signed],
                    "signature": [one.values for one in signed],
                    "bands": [one.bands for one in signed],
                },
                schema=SIGNATURES.schema,
            )

    rows = pa.RecordBatchReader.from_batches(SIGNATURES.schema, batches())
    lake.replace([Replacement(SIGNATURES.name, rows, {"curator_file": file})])


def signatures(count: int, turns: int) -> Figure:
    """Signatures of documents, one core."""
    texts = [text(number) for number in range(count)]
    seconds = []
    for _ in range(turns):
        started = time.process_time()
        sign(texts)
        seconds.append(time.process_time() - started)
    found = count / min(seconds)
    ratio = found / DOCUMENTS_PER_SECOND
    size = sum(map(len, texts)) / count
    return Figure(
        "signatures, one core", f"{found:,.0f} documents/s", f"{DOCUMENTS_PER_SECOND} documents/s", ratio,
        "at least 1", ratio >= 1, f"best of {turns} turns of {count} documents of {size:,.0f} characters, CPU time",
    )  # fmt: skip


def one_file_more(there: int, more: int) -> list[Figure]:
    """Comparing one file's signatures with all that are there, and deciding which copies stay."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"sqlite:{folder}/catalog.sqlite", str(Path(folder) / "data"))
        lake.upgrade()
        old = [text(number) for number in range(there)]
        store(lake, "a.jsonl", old)
        started = time.perf_counter()
        first = compare_new_signatures(lake)
        first_seconds = time.perf_counter() - started
        new = [changed(old[place], place) if place % 10 == 0 else text(there + place) for place in range(more)]
        del old
        store(lake, "b.jsonl", new)
        before = psutil.Process().memory_info().rss
        started = time.perf_counter()
        second = compare_new_signatures(lake)
        compared = time.perf_counter()
        left_out = sum(1 for _ in find_near_duplicates(lake))
        ended = time.perf_counter()
        grown = (psutil.Process().memory_info().rss - before) / 2**20
        lake.close()
    planted = len(range(0, more, 10))
    return [
        Figure(
            f"comparing the first {there:,} documents", f"{first_seconds:.1f} s", "", None, "", None,
            f"{first.compared_pair_count:,} pairs compared",
        ),
        Figure(
            f"adding a file of {more:,} documents to {there:,}", f"{ended - started:.1f} s", "", None, "", None,
            f"{compared - started:.1f} s to compare {second.compared_pair_count:,} pairs, {ended - compared:.1f} s to "
            f"decide which copy stays; resident memory grew by {grown:.0f} MiB",
        ),
        Figure(
            "copies with three of 400 words changed that are left out", f"{left_out:,}", f"{planted:,} planted",
            left_out / planted, "at least 0.99", left_out >= 0.99 * planted,
        ),
    ]  # fmt: skip


def decontamination(items: int, count: int, turns: int) -> list[Figure]:
    """The index over so many items, and looking texts of 2 KB up in it."""
    started = time.perf_counter()
    index = EvaluationIndex((("exam", text(10**9 + number, 60)) for number in range(items)), 13)
    built = time.perf_counter() - started
    texts = [text(number) for number in range(count)]
    seconds = []
    for _ in range(turns):
        before = time.process_time()
        assert not any(index.find(one) for one in texts)
        seconds.append(time.process_time() - before)
    milliseconds = min(seconds) / count * 1000
    ratio = CHECK_MILLISECONDS / milliseconds
    return [
        Figure(
            f"index of {items:,} evaluation items of 60 words", f"{index.byte_count / 2**20:,.0f} MiB", "", None, "",
            None, f"{index.run_count:,} runs, built in {built:.1f} s",
        ),
        Figure(
            "looking for evaluation items in a text of 2 KB", f"{milliseconds:.3f} ms", f"{CHECK_MILLISECONDS} ms",
            ratio, "at least 1", ratio >= 1, f"{1000 / milliseconds:,.0f} documents/s, one core; best of {turns} turns",
        ),
    ]  # fmt: skip


@click.command()
@click.option("--documents", default=2000, help="Documents in each turn of one core's work.")
@click.option("--there", default=100_000, help="Documents that have been compared before.")
@click.option("--more", default=10_000, help="Documents of the file that is added.")
@click.option("--items", default=100_000, help="Evaluation items in the index.")
@click.option("--turns", default=5, help="How often one core's work is measured.")
def main(documents: int, there: int, more: int, items: int, turns: int) -> None:
    """Measure signatures, comparing, and decontamination."""
    report([signatures(documents, turns), *one_file_more(there, more), *decontamination(items, documents, turns)])


if __name__ == "__main__":
    main()
