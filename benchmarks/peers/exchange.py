"""What a peer's program gets and gives, in the standard library alone: it runs under each peer's own interpreter.

In: the options on standard input, the requests in a file, the result on standard output. Out: the clients themselves.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

WARM_UP_REQUESTS = 4
"""Sent by the same call before the one that is measured: most clients import half of themselves at first use."""

Request = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """One measurement. `requests_file` holds a JSON object a line: `document_id`, `system`, `user`."""

    address: str
    """Of the model server, without /v1."""
    model: str
    requests_file: str
    in_flight: int
    folder: str
    """Empty, for whatever the client writes."""
    temperature: float
    top_p: float
    max_tokens: int
    variant: str = ""
    """Which of its ways, for a program that knows more than one."""

    def requests(self) -> list[Request]:
        """All requests."""
        with Path(self.requests_file).open() as file:
            return [json.loads(line) for line in file]

    def sampling(self) -> dict[str, float | int]:
        """The sampling parameters under their OpenAI names."""
        return {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}


@dataclass(frozen=True)
class Result:
    """How long the client took for everything, and how many answers with text it gave back."""

    seconds: float
    answers: int


def messages(request: Request) -> list[dict[str, str]]:
    """The chat messages of one request."""
    return [{"role": "system", "content": request["system"]}, {"role": "user", "content": request["user"]}]


def measure(call: Callable[[Options, list[Request], Path], T], answers: Callable[[T], int]) -> None:
    """Time one `call(options, requests, folder)` and print the result as the last line of standard output.

    The options come as a JSON line on standard input. `answers` counts what the call gave back, and is not timed.
    """
    options = Options(**json.loads(sys.stdin.readline()))
    requests = options.requests()
    call(options, requests[:WARM_UP_REQUESTS], _folder(options, "warm-up"))
    folder = _folder(options, "measured")
    started = time.perf_counter()
    given = call(options, requests, folder)
    seconds = time.perf_counter() - started
    # What a library printed before stands on lines of its own.
    print(f"\n{json.dumps(asdict(Result(seconds, answers(given))))}", flush=True)


def _folder(options: Options, name: str) -> Path:
    folder = Path(options.folder, name)
    folder.mkdir()
    return folder
