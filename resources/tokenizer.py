"""The served model's own tokenizer, wherever it is to be found: a folder, the hub's cache, the hub, or the server.

In: finding it and counting with it. Out: which model is served (`resources.vllm_resource`), and what the counts are
used for. Counts leave special tokens out, since the chat template adds its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import tenacity

from resources.errors import ServerError, ServerUnreachableError, SynthError
from resources.inference import ServedModel, Tokenizer
from resources.model_call import DEFAULT_RETRY
from resources.token_counts import CountMemory

if TYPE_CHECKING:
    import tokenizers

TOKENIZER_FILE = "tokenizer.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_TIMEOUT_SECONDS = 3.0
_BATCH_CHARS = 4_000_000
"""Texts are encoded in batches of about this many characters: an encoding takes some 20 times its text's memory."""


class LocalTokenizer:
    """A tokenizer file, read by the Rust library at the first count; remembers the last `cache_size` counts.

    The first count raises SynthError when the file cannot be read.
    """

    def __init__(self, file: Path, name: str, *, cache_size: int = 32_768) -> None:
        self._file = file
        self._name = name
        # 2 KB of English take the library 0.3 ms, a look into the memory 0.004.
        self._memory = CountMemory(cache_size)

    @cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        # Reading takes 0.15 s, and where nothing is stale only the name is asked for.
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self._file))
        except Exception as error:  # the library raises bare Exception
            raise SynthError(
                f"{self._file} is not a tokenizer file that can be read: {error}.",
                "Prepare the model's folder again, or remove the file: the server then counts the tokens.",
            ) from error
        # A file may carry the settings of its last use, which would cap or fill up every count.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the file: a name can come to stand for another model."""
        return self._file_hash

    @cached_property
    def _file_hash(self) -> str:
        try:
            return blake2b(self._file.read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            raise SynthError(f"{self._file} cannot be read: {error}.", "Prepare the model's folder again.") from error

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens; a text that is remembered is not counted again."""
        return self._memory.counted(texts, self._count_in_batches)

    def _count_in_batches(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        batch: list[str] = []
        chars = 0
        for text in texts:
            batch.append(text)
            chars += len(text)
            if chars >= _BATCH_CHARS:
                counts += self._count(batch)
                batch, chars = [], 0
        return counts + self._count(batch)

    def _count(self, batch: list[str]) -> list[int]:
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)]


class ServerTokenizer:
    """Asks vLLM's `/tokenize`, a few texts at a time, and remembers the last `cache_size` counts.

    A server that has counted before and is gone is waited for, `give_up_after_seconds` long.
    Raises ServerUnreachableError when the server cannot be reached, ServerError when it does not count.
    """

    def __init__(
        self,
        base_url: str,
        model: ServedModel,
        *,
        api_key: str | None = None,
        parallel: int = 8,
        cache_size: int = 100_000,
        give_up_after_seconds: float = DEFAULT_RETRY.give_up_after_seconds,
    ) -> None:
        self._url = base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
        self._model = model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(60.0, connect=5.0))
        self._parallel = parallel
        self._give_up_after_seconds = give_up_after_seconds
        self._has_counted = False
        self._memory = CountMemory(cache_size)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def fingerprint(self) -> str:
        """Name, origin and revision of the model that counts."""
        return f"{self._model.name} {self._model.root or ''} {self._model.revision}"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens; a text is asked for once."""
        return self._memory.counted(texts, self._ask_for_all)

    def _ask_for_all(self, texts: Sequence[str]) -> list[int]:
        with ThreadPoolExecutor(min(self._parallel, len(texts))) as pool:
            return list(pool.map(self._ask, texts))

    def _ask(self, text: str) -> int:
        body = {"model": self._model.name, "prompt": text, "add_special_tokens": False}
        try:
            response = self._post(body)
        except httpx.TransportError as error:
            raise ServerUnreachableError(
                f"The server at {self._url} cannot be reached to count tokens: {type(error).__name__}: {error}.",
                "Start it, or put the model's tokenizer.json where it is looked for: see the model's `root`.",
            ) from error
        count = response.json().get("count") if response.is_success else None
        if not isinstance(count, int):
            raise ServerError(
                f"{self._url} does not count tokens: status {response.status_code}, {response.text[:200]!r}.",
                "Use a vLLM server, or a model whose tokenizer.json is at hand.",
            )
        return count

    def _post(self, body: dict[str, object]) -> httpx.Response:
        # A server that has counted before is being started again; one that never has may not be there at all.
        long, short = tenacity.stop_after_delay(self._give_up_after_seconds), tenacity.stop_after_attempt(3)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(httpx.TransportError),
            stop=long if self._has_counted else short,
            wait=tenacity.wait_random_exponential(0.2, 2.0),
            reraise=True,
        )
        response = attempts(self._client.post, self._url, json=body)
        self._has_counted = True
        return response


class ApproximateTokenizer:
    """A quarter of the UTF-8 bytes, rounded up: 0.83 to 1.37 times SmolLM2's count in 61 Wikipedia articles."""

    @property
    def name(self) -> str:
        """Says that it is no model's own."""
        return "approximate (UTF-8 bytes / 4)"

    @property
    def fingerprint(self) -> str:
        """That of no other tokenizer."""
        return self.name

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Approximate number of tokens of each text."""
        return [-(-len(text.encode("utf-8", "surrogatepass")) // 4) for text in texts]


def resolve_tokenizer(
    model: ServedModel,
    base_url: str | None,
    models_dir: Path,
    *,
    api_key: str | None = None,
    give_up_after_seconds: float = DEFAULT_RETRY.give_up_after_seconds,
) -> Tokenizer:
    """The best tokenizer at hand for a served model, without ever waiting long for an absent network.

    In this order: a folder with tokenizer.json (the model's `root`, its name, or that name under `models_dir`); the
    local hub cache; the hub, unless HF_HUB_OFFLINE is set or it does not answer within seconds; the server's
    `/tokenize`; an approximation that says so in its name.
    """
    names = [name for name in (model.root, model.name) if name]
    for name in names:
        for folder in (Path(name).expanduser(), models_dir / Path(name).name):
            if (folder / TOKENIZER_FILE).is_file():
                return LocalTokenizer(folder / TOKENIZER_FILE, model.name)
    for name in names:
        if _HUB_NAME.fullmatch(name) and (file := _hub_file(name, model.revision)):
            return LocalTokenizer(file, model.name)
    if base_url:
        server = ServerTokenizer(base_url, model, api_key=api_key, give_up_after_seconds=give_up_after_seconds)
        try:
            server.count_tokens(["one"])
        except ServerError:
            return ApproximateTokenizer()
        return server
    return ApproximateTokenizer()


def _hub_file(name: str, revision: str) -> Path | None:
    import huggingface_hub
    from huggingface_hub import constants, errors

    commit = revision if re.fullmatch(r"[0-9a-f]{40}", revision) else None
    cached = huggingface_hub.try_to_load_from_cache(name, TOKENIZER_FILE, revision=commit)
    if isinstance(cached, str):
        return Path(cached)
    if constants.HF_HUB_OFFLINE:
        return None
    # Without a network the hub's client tries six times, which takes 23 s: one quick look comes first.
    url = huggingface_hub.hf_hub_url(name, TOKENIZER_FILE, revision=commit)
    try:
        headers = huggingface_hub.utils.build_hf_headers()
        if httpx.head(url, headers=headers, timeout=_HUB_TIMEOUT_SECONDS).is_error:
            return None
        return Path(huggingface_hub.hf_hub_download(name, TOKENIZER_FILE, revision=commit))
    except (httpx.HTTPError, OSError, errors.HfHubHTTPError):
        return None
