"""The tables that say how good the texts are, and which are left out of the training data.

In: names, Arrow schemas, version columns. Out: the tables of texts, scores, costs and drops (`tables`).
"""

from __future__ import annotations

import pyarrow as pa

from synth_assets.core.tables import TableSpec

_S, _I, _F = pa.string(), pa.int64(), pa.float64()

SIGNATURES = TableSpec(
    "metrics.signatures",
    pa.schema(
        {
            "merged_id": _S,
            "document_id": _S,
            "curator_file": _S,
            "strategy": _S,
            "shingle_count": _I,
            "signature": pa.binary(),
            "bands": pa.list_(pa.int64()),
        }
    ),
    ("merged_id", "signature"),
    "One merged document as near-duplicates are looked for: its MinHash and the keys of its bands.",
)

NEAR_DUPLICATES = TableSpec(
    "merged.near_duplicates",
    pa.schema(
        {
            "merged_id": _S,
            "document_id": _S,
            "curator_file": _S,
            "strategy": _S,
            "kept_merged_id": _S,
            "kept_strategy": _S,
            "similarity": _F,
        }
    ),
    ("merged_id", "kept_merged_id"),
    "One merged document that says the same, in the same words, as another one, which is kept.",
)
