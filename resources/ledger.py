"""The ledger: every answer of a model is bought once and kept for ever; scores of texts are kept beside them.

In: the tables `ledger.completions` and `ledger.perplexities`, looked up by many keys at once. Out: when a
batch is committed (`resources.ledger_writer`), what a request key is made of, `ledger.drops` (which assets
replace).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

import pyarrow as pa

from resources.inference import Completion, LedgerEntry
from resources.lake import Lake

COMPLETIONS = "ledger.completions"
PERPLEXITIES = "ledger.perplexities"

_TIMESTAMP = pa.timestamp("us", tz="UTC")

COMPLETIONS_SCHEMA = pa.schema(
    {
        "request_key": pa.string(),
        "strategy": pa.string(),
        "document_id": pa.string(),
        "segment_index": pa.int64(),
        "model": pa.string(),
        "model_revision": pa.string(),
        "generation": pa.int64(),
        "prompt_tokens": pa.int64(),
        "cached_prompt_tokens": pa.int64(),
        "completion_tokens": pa.int64(),
        "estimated_prompt_tokens": pa.int64(),
        "estimated_completion_tokens": pa.int64(),
        "wall_seconds": pa.float64(),
        "finish_reason": pa.string(),
        "completion": pa.string(),
        "created_at": _TIMESTAMP,
    }
)
"""One answered call. `completion` is the raw answer, before any clean-up."""

PERPLEXITIES_SCHEMA = pa.schema(
    {
        "text_hash": pa.string(),
        "reference_model": pa.string(),
        "negative_log_likelihood": pa.float64(),
        "token_count": pa.int64(),
        "byte_count": pa.int64(),
        "created_at": _TIMESTAMP,
    }
)
"""One text scored by one reference model; the negative log-likelihood is the text's sum, in nats."""

USAGE_SCHEMA = pa.schema(
    {
        "strategy": pa.string(),
        "model": pa.string(),
        "requests": pa.int64(),
        "prompt_tokens": pa.int64(),
        "cached_prompt_tokens": pa.int64(),
        "completion_tokens": pa.int64(),
        "estimated_prompt_tokens": pa.int64(),
        "estimated_completion_tokens": pa.int64(),
        "wall_seconds": pa.float64(),
    }
)
"""Of `Ledger.usage_by_strategy`."""

# In the order of Completion's fields: a hundred thousand of them are made by position in half the time.
_COMPLETION_COLUMNS = (
    "request_key",
    "completion",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "cached_prompt_tokens",
    "wall_seconds",
)

# Answers of one partition were bought together, and again together where documents changed: a few stretches of time.
# A row group holds 8,192 answers, half a minute of the fastest server; shorter gaps would leave none out.
_MOST_TIME_RANGES = 16
_WORTHWHILE_GAP = timedelta(seconds=30)


class PerplexityScore(NamedTuple):
    """What a reference model says of one text: its summed negative log-likelihood in nats, and its size."""

    negative_log_likelihood: float
    token_count: int
    byte_count: int


@dataclass(frozen=True)
class Ledger:
    """Bought answers in a lake; implements `resources.inference.CompletionLedger`. Rows are only ever added.

    Two writers may buy the same answer; of several rows with one key the earliest counts, then the smallest
    text, so that every reader gets the same answer. Raises LakeError as the lake does.
    """

    lake: Lake

    def known_keys(self, request_keys: Sequence[str], since: datetime | None = None) -> set[str]:
        """Those of the keys that have an answer. One pass over the ledger's keys for any number of them.

        With `since` only over answers with that `created_at` or a later one: files of older ones are not read.
        """
        conditions = {"created_at >= ?": [since]} if since is not None else {}
        rows = self._first_rows(COMPLETIONS, "request_key", request_keys, ("request_key",), conditions)
        return set() if rows is None else set(rows["request_key"].to_pylist())

    def fetch(self, request_keys: Sequence[str]) -> dict[str, Completion]:
        """The answers to those of the keys that have one; memory grows with the answers.

        One pass over the ledger's keys, and then over the answers that were bought at about the same times: what else
        the ledger holds is not read. Ask for thousands at a time.
        """
        keys = set(request_keys)
        rows = self._first_rows(COMPLETIONS, "request_key", keys, _COMPLETION_COLUMNS, self._bought_when(keys))
        if rows is None:
            return {}
        answers = zip(*(column.to_pylist() for column in rows.columns), strict=True)
        return {answer[0]: Completion(*answer) for answer in answers}

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        """Commit answers in one transaction: when this returns, they survive `kill -9`.

        ValueError for a failed request: it is no answer.
        """
        if not entries:
            return
        created_at = datetime.now(UTC)
        rows = [_completion_row(entry, created_at) for entry in entries]
        self.lake.append(COMPLETIONS, pa.Table.from_pylist(rows, schema=COMPLETIONS_SCHEMA))

    def known_perplexities(self, reference_model: str, text_hashes: Sequence[str]) -> dict[str, PerplexityScore]:
        """The scores that this reference model has given to those of the texts that it has seen."""
        columns = ("text_hash", *PerplexityScore._fields)
        rows = self._first_rows(
            PERPLEXITIES, "text_hash", text_hashes, columns, {"reference_model = ?": [reference_model]}
        )
        if rows is None:
            return {}
        return {row.pop("text_hash"): PerplexityScore(**row) for row in rows.to_pylist()}

    def record_perplexities(self, reference_model: str, scores: Mapping[str, PerplexityScore]) -> None:
        """Keep scores by text hash, in one transaction."""
        if not scores:
            return
        created_at = datetime.now(UTC)
        rows = [
            {
                "text_hash": text,
                "reference_model": reference_model,
                "created_at": created_at,
                **score._asdict(),
            }
            for text, score in scores.items()
        ]
        self.lake.append(PERPLEXITIES, pa.Table.from_pylist(rows, schema=PERPLEXITIES_SCHEMA))

    def usage_by_strategy(self) -> pa.Table:
        """What has been bought, one row for each strategy and model, as USAGE_SCHEMA.

        Every bought answer counts, also a second one to the same key: it was paid for.
        """
        if not self.lake.has_table(COMPLETIONS):
            return pa.Table.from_batches([], USAGE_SCHEMA)  # `empty_table` imports pandas: half a second
        statement = f"""
            SELECT strategy, model, count(*) AS requests, sum(prompt_tokens) AS prompt_tokens,
            sum(cached_prompt_tokens) AS cached_prompt_tokens, sum(completion_tokens) AS completion_tokens,
            sum(estimated_prompt_tokens) AS estimated_prompt_tokens,
            sum(estimated_completion_tokens) AS estimated_completion_tokens,
            sum(wall_seconds) AS wall_seconds FROM {COMPLETIONS} GROUP BY ALL ORDER BY strategy, model
        """  # noqa: S608
        return self.lake.query(statement).cast(USAGE_SCHEMA)

    def compact_if_needed(self) -> bool:
        """Merges the ledger's files where many are small (a check of milliseconds); True if it did.

        One merge rewrites some dozens of megabytes, so that commits of other threads and processes soon go on.
        """
        has_merged = [self.lake.merge_small_files(table) for table in (COMPLETIONS, PERPLEXITIES)]
        return any(has_merged)

    def clean_up(self) -> None:
        """Removes the files that merging has replaced, a day later; lists every file of the lake."""
        self.lake.clean_up()

    def _bought_when(self, request_keys: Collection[str]) -> dict[str, Sequence[datetime]]:
        """A condition for `_first_rows` that these keys' rows meet and few others; none where no key has a row.

        Files and row groups tell the least and greatest `created_at` in them, so the others are not even opened.
        """
        if not request_keys or not self.lake.has_table(COMPLETIONS):
            return {}
        wanted = pa.table({"request_key": pa.array(request_keys, pa.string())})
        statement = f"SELECT DISTINCT created_at FROM {COMPLETIONS} SEMI JOIN wanted USING (request_key) ORDER BY 1"  # noqa: S608
        found = self.lake.query(statement, [], {"wanted": wanted})
        ranges = _time_ranges(found["created_at"].to_pylist())
        any_of = " OR ".join(["created_at BETWEEN ? AND ?"] * len(ranges)) or "false"
        return {f"({any_of})": [moment for bounds in ranges for moment in bounds]}

    def _first_rows(
        self,
        table: str,
        key: str,
        keys: Iterable[str],
        columns: Sequence[str],
        conditions: Mapping[str, Sequence[object]] | None = None,
    ) -> pa.Table | None:
        """The earliest row of each key that is there; None where there is nothing to look up or no table.

        `conditions` are SQL conditions with the values of each; all of them must hold.
        """
        wanted = pa.Table.from_arrays([_strings(set(keys))], [key])
        if not wanted.num_rows or not self.lake.has_table(table):
            return None
        # Looking for keys alone needs no order; it is a quarter of the time.
        order = f"ORDER BY {key}, created_at, {', '.join(columns)}" if len(columns) > 1 else ""
        condition = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        values = list(chain.from_iterable((conditions or {}).values()))
        statement = f"""
            SELECT DISTINCT ON ({key}) {", ".join(columns)}
            FROM {table} SEMI JOIN wanted USING ({key}) {condition} {order}
        """  # noqa: S608
        return self.lake.query(statement, values, {"wanted": wanted})


def _strings(values: Iterable[str]) -> pa.Array:
    """As `pa.array` makes it, which imports pandas first: half a second."""
    encoded = [value.encode() for value in values]
    ends = array("i", accumulate(map(len, encoded), initial=0))
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def _time_ranges(moments: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """A few ranges that cover sorted moments, with the longest gaps between them left out."""
    gaps = [(later - earlier, place) for place, (earlier, later) in enumerate(pairwise(moments))]
    longest = nlargest(_MOST_TIME_RANGES - 1, (gap for gap in gaps if gap[0] > _WORTHWHILE_GAP))
    ends = [*sorted(place for _, place in longest), len(moments) - 1] if moments else []
    starts = [0, *(end + 1 for end in ends)]
    return [(moments[start], moments[end]) for start, end in zip(starts, ends, strict=False)]


def _completion_row(entry: LedgerEntry, created_at: datetime) -> dict[str, object]:
    answer = entry.completion
    if answer.error_kind is not None:
        raise ValueError(f"A failed request is no answer to keep: {answer.request_key} ({answer.error_kind}).")
    return {
        "request_key": answer.request_key,
        "strategy": entry.strategy,
        "document_id": entry.document_id,
        "segment_index": entry.segment_index,
        "model": entry.model.name,
        "model_revision": entry.model.revision,
        "generation": entry.generation,
        "prompt_tokens": answer.prompt_tokens,
        "cached_prompt_tokens": answer.cached_prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "estimated_prompt_tokens": entry.estimated_prompt_tokens,
        "estimated_completion_tokens": entry.estimated_completion_tokens,
        "wall_seconds": answer.wall_seconds,
        "finish_reason": answer.finish_reason,
        "completion": answer.text,
        "created_at": created_at,
    }
