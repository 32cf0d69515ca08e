"""The tables that say how good the texts are, and which are left out of the training data.

In: names, Arrow schemas, version columns. Out: the tables of texts, scores, costs and drops (`tables`).
"""

from __future__ import annotations

import pyarrow as pa

from synth_assets.core.tables import TableSpec

_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SIGNATURES = TableSpec(
    "metrics.signatures",
    pa.schema(
        {
            "merged_id": _S,
            "document_id": _S,
            "curator_file": _S,
            "strategy": _S,
            "signature_id": _S,
            "shingle_count": _I,
            "signature": pa.binary(),
            "bands": pa.list_(pa.int64()),
        }
    ),
    ("merged_id", "signature_id"),
    "One merged document as near-duplicates are looked for: its MinHash and the keys of its bands.",
)

COMPARED_SIGNATURES = TableSpec(
    "metrics.compared_signatures",
    pa.schema({"signature_id": _S}),
    ("signature_id",),
    "One signature that has been compared with all others of this table.",
)

SIMILAR_SIGNATURES = TableSpec(
    "metrics.similar_signatures",
    pa.schema({"first_id": _S, "second_id": _S, "similarity": _F}),
    ("first_id", "second_id", "similarity"),
    "Two different signatures whose texts are near-duplicates.",
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

_MEASURES = {
    "word_count": _I,
    "length_ratio": _F,
    "compression_ratio": _F,
    "duplicate_line_share": _F,
    "duplicate_paragraph_share": _F,
    **{f"top_{n}gram_share": _F for n in range(2, 5)},
    **{f"duplicate_{n}gram_share": _F for n in range(5, 11)},
    "language": _S,
    "novel_4gram_share": _F,
    "copied_share": _F,
    "longest_copied_run_words": _I,
    "kept_number_share": _F,
    "invented_number_count": _I,
    "kept_date_share": _F,
    "kept_quantity_share": _F,
    "kept_name_share": _F,
    "invented_name_count": _I,
    "is_language_kept": _B,
}
TEXT_QUALITY = TableSpec(
    "metrics.text_quality",
    pa.schema(
        {
            "merged_id": _S,
            "document_id": _S,
            "curator_file": _S,
            "strategy": _S,
            **_MEASURES,
            "opening": _S,
            "opening_share": _F,
        }
    ),
    ("merged_id", *_MEASURES, "opening", "opening_share"),
    "One merged document measured by itself and, where a strategy made it, against its source.",
)

SOURCE_SUPPORT = TableSpec(
    "metrics.source_support",
    pa.schema(
        {
            "merged_id": _S,
            "document_id": _S,
            "curator_file": _S,
            "strategy": _S,
            "reference_model": _S,
            "bits_per_byte": _F,
            "bits_per_byte_given_source": _F,
            "explained_share": _F,
            "least_explained_share": _F,
            "least_supported_sentence": _S,
            "segment_count": _I,
            "scored_segment_count": _I,
            "support_key": _S,
        }
    ),
    ("merged_id", "reference_model", "support_key"),
    "How much of one rephrased text its source explains under the reference model, and the sentence it explains least.",
)

PROXY_PRETRAINING = TableSpec(
    "experiments.proxy_pretraining",
    pa.schema(
        {
            "arm": _S,
            "seed": _I,
            "bits_per_byte": _F,
            "train_bytes": _I,
            "unique_train_bytes": _I,
            "epochs": _F,
            "steps": _I,
            "parameter_count": _I,
            "device": _S,
            "wall_seconds": _F,
            "held_out_bytes": _I,
        }
    ),
    ("arm", "seed", "bits_per_byte", "train_bytes", "unique_train_bytes", "steps", "parameter_count", "held_out_bytes"),
    "A small model trained on one source of text, or on the mix, from one seed, measured on originals it has not seen.",
)
