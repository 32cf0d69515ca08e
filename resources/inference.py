"""The contract between the assets and whatever makes text: value objects and Protocols, and nothing else.

An asset depends on `TextGenerator` and `Tokenizer`; which server, client or fake stands behind them is decided in
`synth_assets.definitions`. Every value object is frozen and travels between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "context_overflow", "unknown"]
"""As the server says it; `context_overflow` is ours: the server refused the request for good because it is too long."""

ErrorKind = Literal[
    "context_overflow",
    "bad_request",
    "unauthorized",
    "not_served",
    "rate_limited",
    "timeout",
    "unreachable",
    "server_error",
    "malformed",
]
"""Why a request has no answer. `context_overflow` is final for that request; `unauthorized` and `not_served` (model or
address) hold for every request until a setting is corrected; every other kind may pass."""


@dataclass(frozen=True)
class ServedModel:
    """One model as a server offers it. `revision` tells two sets of weights under one name apart ("" = unknown)."""

    name: str
    revision: str = ""
    max_model_len: int | None = None
    root: str | None = None
    """Folder or hub name that the server loaded the weights from, where it says so."""


@dataclass(frozen=True)
class SamplingParams:
    """How a completion is sampled; part of the request key."""

    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True)
class ChatMessage:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class CompletionRequest:
    """One LLM call. `request_key` identifies its answer for ever; `response_schema` is JSON-schema text or None."""

    request_key: str
    messages: tuple[ChatMessage, ...]
    sampling: SamplingParams
    response_schema: str | None = None


@dataclass(frozen=True)
class Completion:
    """What came back for one request: an answer (`error_kind` is None) or the reason why there is none."""

    request_key: str
    text: str = ""
    finish_reason: FinishReason = "unknown"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    wall_seconds: float = 0.0
    error_kind: ErrorKind | None = None
    error: str = ""


@dataclass(frozen=True)
class LedgerEntry:
    """One bought answer, as `ledger.completions` keeps it. `completion.error_kind` is always None here."""

    completion: Completion
    strategy: str
    document_id: str
    segment_index: int
    model: ServedModel
    estimated_prompt_tokens: int = 0
    """What was expected before it was asked for; kept beside what it came to."""
    estimated_completion_tokens: int = 0
    generation: int = 0


@dataclass(frozen=True)
class FailedRequest:
    """One call without an answer, as `ledger.failures` keeps it. `completion.error_kind` is never None here."""

    completion: Completion
    strategy: str
    document_id: str
    segment_index: int
    model: ServedModel
    estimated_prompt_tokens: int = 0


class TextGenerator(Protocol):
    """Turns requests into completions, many in flight, in any order, pulling requests only as fast as it sends them."""

    @property
    def model(self) -> ServedModel:
        """The model that answers; raises ServerError when it cannot be determined."""
        ...

    def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
        """Yield exactly one completion for each request. Closing the iterator stops sending and cancels what flies."""
        ...

    def stop(self) -> None:
        """End what `generate` is doing on other threads: what has been answered is yielded, what flies is cut off."""
        ...


class Tokenizer(Protocol):
    """Counts tokens as the served model does."""

    @property
    def name(self) -> str:
        """What is counted with: a model name, and "approximate" in it where it is not the model's own tokenizer."""
        ...

    @property
    def fingerprint(self) -> str:
        """The same for tokenizers that count alike: a stored count holds for a tokenizer of its fingerprint."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens."""
        ...


class CompletionLedger(Protocol):
    """Bought answers by request key. Rows are only ever added."""

    def known_keys(self, request_keys: Sequence[str], since: datetime | None = None) -> set[str]:
        """Those of the keys that have an answer; with `since`, one that was committed at that time or later."""
        ...

    def fetch(self, request_keys: Sequence[str]) -> dict[str, Completion]:
        """The answers to those of the keys that have one."""
        ...

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        """Commit answers in one transaction: when this returns, they survive `kill -9`."""
        ...


class CompletionWriter(Protocol):
    """Commits answers in small batches while they arrive; on exit everything added is committed."""

    on_committed: Callable[[Sequence[str]], None]
    """Told the request keys of each batch as soon as it is committed, on whichever thread committed it."""

    def add(self, entry: LedgerEntry) -> None:
        """Take one answer; it is committed within a few seconds.

        Waits while as many answers wait as the writer may lose to `kill -9`. Raises what an earlier commit failed with;
        the answer is kept on exit all the same, also when Ctrl-C ends the wait.
        """
        ...

    def pending_keys(self) -> set[str]:
        """Request keys that were added but are not committed yet."""
        ...

    def __enter__(self) -> CompletionWriter: ...

    def __exit__(self, *exc_info: object) -> None: ...


class PurchaseMeter(Protocol):
    """Watches one purchase; on leaving, however it ends, what was measured is written down. Raises nothing."""

    def begin(self, model: ServedModel) -> None:
        """Requests are about to be sent to this model; calls after the first one change nothing."""
        ...

    def answered(self, completion: Completion) -> None:
        """One answer has come."""
        ...

    def failed(self, request: FailedRequest) -> None:
        """One request has no answer."""
        ...

    def __enter__(self) -> PurchaseMeter: ...

    def __exit__(self, *exc_info: object) -> None: ...


class RequestClaims(Protocol):
    """Who asks for what, among all who share a ledger: a key that one has claimed, nobody else can claim.

    A claim lasts until it is released, the context is left or the process ends, however it ends. Safe in threads.
    """

    def claim(self, request_keys: Collection[str]) -> set[str]:
        """Those of the keys that are ours now; never waits. Raises LakeError when claims cannot be made."""
        ...

    def release(self, request_keys: Collection[str]) -> None:
        """Give up those of the keys that are ours."""
        ...

    def __enter__(self) -> RequestClaims: ...

    def __exit__(self, *exc_info: object) -> None: ...
