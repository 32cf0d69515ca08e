"""Which documents stand in the long export and how often: near-duplicates left out, cut passes cut where they end.

In: sizes of parts, and for each pass over a part the last document that it takes. Out: the arithmetic
(`core.mixture`), reading the rows (`long_rows`).

Documents are taken in the order of a hash of (seed, merged_id), so a cut is the same for any order of files or rows.
Another hash orders the rows of the export: with the same one, a part that is cut would come first.
"""

# ruff: noqa: S608 - what is put into SQL is constants of this project and whole numbers; values are parameters.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth_assets.core.mixture import MixOptions, PartPlan, PartSize, crossing, plan_mix
from synth_assets.core.quality_tables import NEAR_DUPLICATES
from synth_assets.core.tables import MERGED_DOCUMENTS
from synth_assets.exporting.lake_view import LakeView

_SLOT_BITS = 16
"""A cut is found among 65,536 sums first, and then among the documents of one slot: no list of all is held."""


@dataclass(frozen=True)
class Pass:
    """One pass over a part: all documents, or those whose choice key is `last_key` at most."""

    part: str
    repetition: int
    last_key: int | None


@dataclass(frozen=True)
class PartRows:
    """One part as it stands in the export."""

    plan: PartPlan
    documents: int
    rows: int
    tokens: int
    chars: int

    @property
    def most_repeats(self) -> int:
        """How often the document that occurs most often stands in the export."""
        return self.plan.whole_passes + bool(self.plan.rest_tokens)


@dataclass(frozen=True)
class Selection:
    """What the export holds."""

    parts: tuple[PartRows, ...]
    passes: tuple[Pass, ...]
    near_duplicates_left_out: int
    source: str
    """The documents that take part, as they stand after FROM."""
    seed: int

    @property
    def rows(self) -> int:
        """Rows of the export."""
        return sum(part.rows for part in self.parts)

    @property
    def chars(self) -> int:
        """Characters of its texts."""
        return sum(part.chars for part in self.parts)

    @property
    def shortfalls(self) -> dict[str, int]:
        """Tokens that each part is short of, where it is."""
        return {part.plan.part: part.plan.shortfall_tokens for part in self.parts if part.plan.shortfall_tokens}

    def passes_sql(self) -> tuple[str, list[Any]]:
        """A relation `pass(strategy, repetition, last_key)` and its parameters."""
        values = ", ".join(["(?::VARCHAR, ?::INTEGER, ?::UBIGINT)"] * len(self.passes))
        parameters = [value for each in self.passes for value in (each.part, each.repetition, each.last_key)]
        return f"(VALUES {values}) AS pass(strategy, repetition, last_key)", parameters

    def is_taken_sql(self) -> str:
        """The condition on a document `doc` and its `pass`."""
        return f"(pass.last_key IS NULL OR {choice_key(self.seed)} <= pass.last_key)"


def choice_key(seed: int) -> str:
    """SQL: the place of document `doc` in the order in which documents are taken."""
    return f"md5_number_upper(concat('{seed:d}|choice|', doc.merged_id))"


def order_key(seed: int) -> str:
    """SQL: the place of one repetition of document `doc` in the shuffled export."""
    return f"md5_number_upper(concat('{seed:d}|order|', doc.merged_id, '|', pass.repetition))"


def select(view: LakeView, options: MixOptions, seed: int, keeps_near_duplicates: bool) -> Selection:
    """Plan the mix over what is in the lake; raises what `plan_mix` raises."""
    has_near = view.has(NEAR_DUPLICATES.name) and not keeps_near_duplicates
    merged = view.at(MERGED_DOCUMENTS.name)
    near = view.at(NEAR_DUPLICATES.name)
    source = f"(SELECT * FROM {merged} ANTI JOIN {near} USING (merged_id, curator_file))" if has_near else merged
    left_out = 0
    if has_near:
        counted = view.rows(f"SELECT count(*) AS n FROM {merged} SEMI JOIN {near} USING (merged_id, curator_file)")
        left_out = counted[0]["n"]
    plans = plan_mix(_sizes(view, source), options)
    passes = tuple(each for plan in plans for each in _passes(view, source, plan, seed))
    selection = Selection((), passes, left_out, source, seed)
    return Selection(_part_rows(view, selection, plans), passes, left_out, source, seed)


def _sizes(view: LakeView, source: str) -> dict[str, PartSize]:
    rows = view.rows(
        f"SELECT strategy, count(*) AS documents, sum(coalesce(token_count, 0))::BIGINT AS tokens FROM {source}"
        " GROUP BY 1"
    )
    return {row["strategy"]: PartSize(row["documents"], row["tokens"]) for row in rows}


def _passes(view: LakeView, source: str, plan: PartPlan, seed: int) -> list[Pass]:
    whole = [Pass(plan.part, repetition, None) for repetition in range(plan.whole_passes)]
    if not plan.rest_tokens:
        return whole
    return [*whole, Pass(plan.part, plan.whole_passes, _last_key(view, source, plan, seed))]


def _last_key(view: LakeView, source: str, plan: PartPlan, seed: int) -> int:
    key = choice_key(seed)
    slot_of_key = f"{key} >> {64 - _SLOT_BITS}"
    tokens = "coalesce(token_count, 0)"
    sums = view.rows(
        f"SELECT {slot_of_key} AS slot, sum({tokens})::BIGINT AS tokens FROM {source} AS doc"
        " WHERE strategy = ? GROUP BY 1 ORDER BY 1",
        [plan.part],
    )
    slot, before = crossing(((row["slot"], row["tokens"]) for row in sums), plan.rest_tokens)
    documents = view.rows(
        f"SELECT {key} AS key, {tokens} AS tokens FROM {source} AS doc"
        f" WHERE strategy = ? AND {slot_of_key} = ? ORDER BY key",
        [plan.part, slot],
    )
    return crossing(((row["key"], row["tokens"]) for row in documents), plan.rest_tokens - before)[0]


def _part_rows(view: LakeView, selection: Selection, plans: Sequence[PartPlan]) -> tuple[PartRows, ...]:
    found: dict[str, dict[str, Any]] = {}
    if selection.passes:
        passes, parameters = selection.passes_sql()
        rows = view.rows(
            "SELECT strategy, count(*) AS n, count(*) FILTER (repetition = 0) AS documents,"
            " sum(coalesce(token_count, 0))::BIGINT AS tokens, sum(coalesce(char_count, 0))::BIGINT AS chars"
            f" FROM {selection.source} AS doc JOIN {passes} USING (strategy)"
            f" WHERE {selection.is_taken_sql()} GROUP BY 1",
            parameters,
        )
        found = {row["strategy"]: row for row in rows}
    nothing = {"n": 0, "documents": 0, "tokens": 0, "chars": 0}
    counts = [(plan, found.get(plan.part, nothing)) for plan in plans]
    return tuple(
        PartRows(plan, count["documents"], count["n"], count["tokens"], count["chars"]) for plan, count in counts
    )
