"""What of a stream of planned requests has to be asked here: not answered, not under way, not claimed by another run.

In: look-ups, claims, and what is put aside because somebody else asks for it. Out: sending, and keeping what comes back
(`synth_assets.core.purchasing`).

An answer is committed before its claim is released, so whoever holds a claim and then finds no answer is the only one
who asks. Where answers are mostly missing, keys are claimed and then looked up; where they are mostly there, keys are
looked up, and those without an answer are claimed and looked up again among the latest answers: a claim costs more
than a key in a look-up, a look-up more than all of its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from resources.inference import CompletionLedger, CompletionRequest, CompletionWriter, RequestClaims
from synth_assets.core.request_planning import PlannedRequest

FIRST_LOOKUP, LATER_LOOKUPS = 64, 4096
"""Keys per ledger look-up: the first is small so that the pipe fills at once, later ones, each twice as large as the
one before, amortise the query. Where answers have to be asked for, no more than are claimed together: while 4,096
documents are planned, which takes 2 s, the pipe would run empty."""

CLAIMED_TOGETHER = 512
"""Keys claimed ahead of the generator, for one look-up more, which takes about 30 ms whatever their number. Claims in a
file are searched one by one: each takes 4 µs at 256 held, 9 to 44 at 1,024 and 30 to 300 at 4,096 (idle and busy
machine). A PostgreSQL server has room for 6,400 by default, for all its users."""

MOST_PUT_ASIDE = 4096
"""With this many awaited from other runs the stream is not pulled any further: memory stays bounded."""

CLOCK_MARGIN = timedelta(minutes=10)
"""How far the clocks of two machines may differ, together with what a commit takes from its time stamp to its end."""


@dataclass(frozen=True)
class _PutAside:
    planned: PlannedRequest
    looked_up_at: datetime


class MissingRequests:
    """Goes through a stream once, in rounds; what another run has claimed is tried again in each round.

    Counts: `answered_count` (found in the ledger, or a repetition within the stream) and `put_aside_count`.
    `on_settled` is told the keys that were found answered, or that failed; those that are kept, the writer tells.
    """

    def __init__(
        self,
        wanted: Iterable[PlannedRequest],
        ledger: CompletionLedger,
        claims: RequestClaims,
        writer: CompletionWriter,
        has_failed: Callable[[str], bool],
        on_looked_up: Callable[[], None],
        on_settled: Callable[[Collection[str]], None],
    ) -> None:
        self.answered_count = 0
        self._stream = iter(wanted)
        self._ledger = ledger
        self._claims = claims
        self._writer = writer
        self._has_failed = has_failed
        self._on_looked_up = on_looked_up
        self._on_settled = on_settled
        self._asked: dict[str, PlannedRequest] = {}
        self._put_aside: dict[str, _PutAside] = {}
        self._lookup_size = FIRST_LOOKUP
        self._has_more = True
        self._is_claimed_first = False

    @property
    def put_aside_count(self) -> int:
        """How many answers are awaited from other runs."""
        return len(self._put_aside)

    @property
    def is_finished(self) -> bool:
        """True when the stream is drained and nothing is awaited."""
        return not self._has_more and not self._put_aside

    def asked(self, request_key: str) -> PlannedRequest:
        """The planned request behind a key that a round has yielded and that is not settled."""
        return self._asked[request_key]

    def settle(self, request_key: str, *, is_kept: bool) -> None:
        """A key that was asked has its outcome: an answer given to the writer (`is_kept`), or a failure."""
        del self._asked[request_key]
        if not is_kept:
            self._claims.release([request_key])
            self._on_settled([request_key])

    def round(self) -> Iterator[CompletionRequest]:
        """What is free of that put aside before, then what the stream brings; never waits.

        Ends when the stream is drained, or when too many answers are awaited from other runs.
        """
        yield from self._retried()
        while self._has_more and len(self._put_aside) < MOST_PUT_ASIDE:
            chunk = list(islice(self._stream, self._lookup_size))
            self._has_more = bool(chunk)
            claimed_first = self._claims.claim(self._new_keys(chunk)) if self._is_claimed_first else set()
            unknown = self._unknown(chunk, claimed_first)
            self._lookup_size = min(2 * self._lookup_size, CLAIMED_TOGETHER if unknown else LATER_LOOKUPS)
            if self._is_claimed_first:
                yield from self._taken(unknown, claimed_first)
            else:
                yield from self._claimed(unknown)
            self._is_claimed_first = bool(unknown)
            yield from self._retried()

    def _new_keys(self, chunk: list[PlannedRequest]) -> set[str]:
        """Those of the chunk that are not under way here and have not failed."""
        keys = {planned.request.request_key for planned in chunk}
        return {key for key in keys - self._under_way() if not self._has_failed(key)}

    def _under_way(self) -> set[str]:
        return self._asked.keys() | self._put_aside.keys() | self._writer.pending_keys()

    def _unknown(self, chunk: list[PlannedRequest], claimed_first: set[str]) -> dict[str, _PutAside]:
        """Those of the chunk that have no answer and are not under way, by key; the claims of the others end."""
        looked_up_at = datetime.now(UTC)
        by_key = {planned.request.request_key: planned for planned in chunk}
        # In flight and uncommitted first, the ledger second: a key that is committed in between is found by one.
        under_way = self._under_way()
        known = self._ledger.known_keys(list(by_key))
        self._claims.release(claimed_first & known)
        unknown = {}
        settled = set(known)
        for key, planned in by_key.items():
            if key in known or key in under_way:
                self.answered_count += 1
            elif self._has_failed(key):
                settled.add(key)
            else:
                unknown[key] = _PutAside(planned, looked_up_at)
        self._on_settled(settled)
        self._on_looked_up()
        return unknown

    def _retried(self) -> Iterator[CompletionRequest]:
        yield from self._claimed(dict(self._put_aside))

    def _claimed(self, wanted: dict[str, _PutAside]) -> Iterator[CompletionRequest]:
        """Those that are ours now and have no answer; what somebody else has is put aside."""
        items = iter(wanted.items())
        while part := dict(islice(items, CLAIMED_TOGETHER)):
            ours = self._claims.claim(part)
            answered = self._answered_since(part, ours)
            self.answered_count += len(answered)
            self._claims.release(answered)
            self._on_settled(answered)
            for key in answered:
                self._put_aside.pop(key, None)
            yield from self._taken({key: item for key, item in part.items() if key not in answered}, ours)

    def _taken(self, unanswered: dict[str, _PutAside], ours: set[str]) -> Iterator[CompletionRequest]:
        """Those that are ours, to be asked; the others are put aside."""
        for key, item in unanswered.items():
            if key in ours:
                self._put_aside.pop(key, None)
            else:
                self._put_aside[key] = item
        self._on_looked_up()
        for key, item in unanswered.items():
            if key in ours:
                self._asked[key] = item.planned
                yield item.planned.request

    def _answered_since(self, part: dict[str, _PutAside], ours: set[str]) -> set[str]:
        """Those of our keys that another run has answered between their look-up and now."""
        if not ours:
            return set()
        since = min(part[key].looked_up_at for key in ours) - CLOCK_MARGIN
        return self._ledger.known_keys(list(ours), since)
