"""The requests of a purchase's rounds, as far as the budget has room for them.

In: one stream over all rounds, and the one request that has to wait. Out: which requests are missing
(`missing_requests`), and what they cost (`budget`).
"""

from __future__ import annotations

from collections.abc import Iterator

from resources.inference import CompletionRequest
from synth_assets.core.budget import Account
from synth_assets.core.missing_requests import MissingRequests


class AffordableRequests:
    """Hands out rounds of `missing` that end where the budget has no room; the next round goes on at that request.

    Answers are mostly shorter than the most that was set aside for them, so that once they have come there is room for
    more. A round that was ended early is gone on with, not begun anew: its requests are claimed.
    """

    def __init__(self, missing: MissingRequests, account: Account) -> None:
        self._missing = missing
        self._account = account
        self._round: Iterator[CompletionRequest] | None = None
        self._held: CompletionRequest | None = None

    @property
    def is_finished(self) -> bool:
        """True when everything was handed out, or the budget is reached: what it has no room for stays unasked."""
        return self._account.budget.is_reached or (self._held is None and self._missing.is_finished)

    def round(self) -> Iterator[CompletionRequest]:
        """What there is room for; never waits."""
        if self._round is None:
            self._round = self._missing.round()
        while (request := self._held or next(self._round, None)) is not None:
            self._held = request
            if not self._account.has_room(self._missing.asked(request.request_key)):
                return
            self._held = None
            yield request
        self._round = None
