"""Which signatures are alike: only what is new is compared, with everything that is there.

In: the two tables that remember it. Out: signatures themselves (`signatures`), and which document is left out for which
(`near_duplicates`). Both tables speak of signatures and not of documents, so what they hold is true in whatever order
files came, and thousands of equal texts are one signature and not millions of pairs.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project; values are parameters.

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from resources.lake import Lake, Replacement
from synth_assets.core.near_duplicates import MIN_SIMILARITY, PERMUTATIONS, matrix_of, similarities
from synth_assets.core.quality_tables import COMPARED_SIGNATURES, SIGNATURES, SIMILAR_SIGNATURES

SIGNATURES_AT_ONCE = 25_000
"""New signatures that are compared together and held meanwhile: 17 MB; each turn goes through the bands of all."""

_IDS_AT_ONCE = 20_000
_COMPARED, _SIMILAR, _ALL = COMPARED_SIGNATURES.name, SIMILAR_SIGNATURES.name, SIGNATURES.name

# Ranges of ids go upwards: of the new ones only those before an id have been compared, or are in its own range.
_CANDIDATES = f"""WITH banded AS (SELECT signature_id AS other_id, unnest(bands) AS band FROM {_ALL}),
matched AS MATERIALIZED (
    SELECT DISTINCT other_id, signature_id, place FROM banded JOIN fresh USING (band) WHERE other_id <> signature_id
),
known AS (
    SELECT signature_id FROM {_COMPARED}
    SEMI JOIN (SELECT other_id AS signature_id FROM matched) AS asked USING (signature_id)
)
SELECT other_id, place FROM matched
WHERE other_id IN (SELECT signature_id FROM known) OR (other_id >= ? AND other_id < signature_id) ORDER BY ALL"""


@dataclass(frozen=True)
class Comparison:
    """What one look came to: signatures that were new, pairs that share a band, and those that are alike."""

    new_count: int = 0
    compared_pair_count: int = 0
    similar_pair_count: int = 0

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.new_count + other.new_count,
            self.compared_pair_count + other.compared_pair_count,
            self.similar_pair_count + other.similar_pair_count,
        )


def compare_new_signatures(lake: Lake) -> Comparison:
    """Bring the two tables up to date with `metrics.signatures`, turn by turn; what a killed run has done is kept."""
    _create_tables(lake)
    _forget_gone(lake)
    found = lake.query(
        f"SELECT count(DISTINCT signature_id) AS n FROM {_ALL} ANTI JOIN {_COMPARED} USING (signature_id)"
    )
    turns = -(-found["n"][0].as_py() // SIGNATURES_AT_ONCE)
    # Ids are hashes, so each range of them has as many.
    bounds = ["", *(f"{place * 2**16 // turns:04x}" for place in range(1, turns)), "g"] if turns else []
    return sum((_compare_range(lake, *ends) for ends in pairwise(bounds)), Comparison())


def _create_tables(lake: Lake) -> None:
    empty = [
        Replacement(spec.name, spec.schema.empty_table(), None)
        for spec in (COMPARED_SIGNATURES, SIMILAR_SIGNATURES)
        if not lake.has_table(spec.name)
    ]
    if empty:
        lake.replace(empty)


def _forget_gone(lake: Lake) -> None:
    """A signature that no document has any more is compared anew if it comes back."""
    gone = lake.query(f"SELECT signature_id FROM {_COMPARED} ANTI JOIN {_ALL} USING (signature_id)")
    for start in range(0, gone.num_rows, _IDS_AT_ONCE):
        ids = gone["signature_id"].slice(start, _IDS_AT_ONCE).to_pylist()
        lake.replace(
            [
                Replacement(_SIMILAR, None, {"first_id": ids}),
                Replacement(_SIMILAR, None, {"second_id": ids}),
                Replacement(_COMPARED, None, {"signature_id": ids}),
            ]
        )


def _compare_range(lake: Lake, low: str, high: str) -> Comparison:
    """Compare the new signatures of a range of ids with each other and with all that were compared before."""
    fresh = lake.query(
        "SELECT signature_id, any_value(signature) AS signature, any_value(bands) AS bands"
        f" FROM {_ALL} ANTI JOIN {_COMPARED} USING (signature_id)"
        " WHERE signature_id >= ? AND signature_id < ? GROUP BY 1 ORDER BY 1",
        [low, high],
    )
    candidates = lake.query(_CANDIDATES, [low], {"fresh": _one_row_a_band(fresh)})
    similar = _similar(lake, fresh, candidates)
    compared = fresh.select(["signature_id"]).cast(COMPARED_SIGNATURES.schema)
    lake.replace([Replacement(_SIMILAR, similar, None), Replacement(_COMPARED, compared, None)])
    return Comparison(fresh.num_rows, candidates.num_rows, similar.num_rows)


def _one_row_a_band(fresh: pa.Table) -> pa.Table:
    """Columns signature_id, its place in `fresh`, and band."""
    bands = fresh["bands"].combine_chunks()
    places = bands.value_parent_indices()
    return pa.table(
        {
            "signature_id": fresh["signature_id"].take(places),
            "place": places.cast(pa.int64()),
            "band": bands.flatten(),
        }
    )


def _similar(lake: Lake, fresh: pa.Table, candidates: pa.Table) -> pa.Table:
    """The candidates that are alike, as rows of `metrics.similar_signatures`; others are held a part at a time."""
    found = [SIMILAR_SIGNATURES.schema.empty_table()]
    if not candidates.num_rows:
        return found[0]
    # Short texts have no bands, and so no candidates; their empty values only keep the places.
    nothing = bytes(4 * PERMUTATIONS)
    own = matrix_of([value or nothing for value in fresh["signature"].to_pylist()])
    encoded = candidates["other_id"].combine_chunks().dictionary_encode()
    codes, places = encoded.indices.to_numpy(), candidates["place"].to_numpy()
    for start in range(0, len(encoded.dictionary), _IDS_AT_ONCE):
        others = lake.query(
            f"SELECT signature_id, any_value(signature) AS signature FROM {_ALL} SEMI JOIN wanted USING (signature_id)"
            " GROUP BY 1 ORDER BY 1",
            [],
            # In the order of the candidates, which is that of the ids.
            {"wanted": pa.table({"signature_id": encoded.dictionary.slice(start, _IDS_AT_ONCE)})},
        )
        here = (codes >= start) & (codes < start + _IDS_AT_ONCE)
        pairs = np.stack([codes[here] - start, places[here]], axis=1)
        alike = similarities(matrix_of(others["signature"].to_pylist()), own, pairs)
        is_similar = alike >= MIN_SIMILARITY
        found.append(
            pa.table(
                {
                    "first_id": others["signature_id"].take(pa.array(pairs[is_similar, 0])),
                    "second_id": fresh["signature_id"].take(pa.array(pairs[is_similar, 1])),
                    "similarity": alike[is_similar],
                },
                schema=SIMILAR_SIGNATURES.schema,
            )
        )
    return pa.concat_tables(found)
