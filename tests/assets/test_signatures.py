"""What of a merged document is compared with the others."""

from __future__ import annotations

import pyarrow as pa

from resources.lake import Lake, Replacement
from synth_assets.assets.signatures import signature_batches
from synth_assets.core.near_duplicates import sign
from synth_assets.core.tables import MERGED_DOCUMENTS

PASSAGE = " ".join(f"passage{number}" for number in range(300))
QUESTIONS = " ".join(f"question{number}" for number in range(120))


def test_of_a_text_after_its_passage_only_the_models_part_is_compared(tmp_path):
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", f"{tmp_path}/data")
    start = len(PASSAGE) + 2
    segment = {"text_start": start, "text_end": start + len(QUESTIONS), "request_key": "k"}
    documents = [
        {"merged_id": "original", "text": PASSAGE, "segments": []},
        {"merged_id": "after", "text": f"{PASSAGE}\n\n{QUESTIONS}", "segments": [segment]},
        {"merged_id": "alone", "text": QUESTIONS, "segments": [{"text_start": 0, "text_end": len(QUESTIONS)}]},
    ]
    rows = pa.Table.from_pylist([{"curator_file": "a.jsonl", **row} for row in documents], MERGED_DOCUMENTS.schema)
    lake.replace([Replacement(MERGED_DOCUMENTS.name, rows, None)])

    made = {row["merged_id"]: row["signature_id"] for batch in signature_batches(lake, "a.jsonl")
            for row in batch.to_pylist()}  # fmt: skip

    assert made["after"] == made["alone"] == sign([QUESTIONS])[0].signature_id
    assert made["original"] == sign([PASSAGE])[0].signature_id
