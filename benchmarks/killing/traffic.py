"""Which requests a model server got, and which of them it had got before: what a kill has cost.

In: recognising a request, and whose kill a repeat is put down to. Out: who is killed, and when.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.testing import Behaviour


class Traffic:
    """Counts requests by attempt. A repeat is put down to the attempt that had sent the request last: that one had
    paid for an answer and did not keep it."""

    def __init__(self) -> None:
        self.attempt = 0
        self.sent = 0
        self.sent_in_attempt = 0
        self.first_request_at: float | None = None
        """Of this attempt, on the monotonic clock."""
        self.repeats: Counter[int] = Counter()
        """Requests that an attempt sent and that had to be sent again, by attempt."""
        self._last_sender: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin_attempt(self) -> None:
        """What is sent from now on belongs to the next attempt."""
        with self._lock:
            self.attempt += 1
            self.sent_in_attempt = 0
            self.first_request_at = None

    def saw(self, request_hash: str) -> None:
        """A request has come in."""
        with self._lock:
            self.sent += 1
            self.sent_in_attempt += 1
            self.first_request_at = self.first_request_at or time.monotonic()
            if request_hash in self._last_sender:
                self.repeats[self._last_sender[request_hash]] += 1
            self._last_sender[request_hash] = self.attempt

    @property
    def distinct(self) -> int:
        """Requests that were needed."""
        return len(self._last_sender)


def request_hash(body: Mapping[str, Any]) -> str:
    """Identity of a chat completion request: everything in it."""
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class CountedBehaviour(Behaviour):
    """A latency, and every request told to `traffic` as it comes in."""

    traffic: Traffic | None = None

    def latency_of(self, body: Mapping[str, Any]) -> float:
        """Seconds until the answer."""
        if self.traffic is not None:
            self.traffic.saw(request_hash(body))
        return super().latency_of(body)


@dataclass(frozen=True)
class LoggedBehaviour(Behaviour):
    """A latency, and every request's hash a line of a file, which outlives the killed server."""

    log_file: Path = Path("requests.log")

    def latency_of(self, body: Mapping[str, Any]) -> float:
        """Seconds until the answer."""
        with self.log_file.open("a") as log:
            log.write(request_hash(body) + "\n")
        return super().latency_of(body)
