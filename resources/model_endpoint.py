"""One model behind one or more servers, as the assets see it: who it is, how it counts tokens, how it is asked.

In: identity (asked from the server, remembered for the time when the server is down), the tokenizer and the generator.
Out: HTTP and server life cycle (`vllm_resource`), sending requests (`data_designer_generator`).
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from resources.errors import ModelNotServedError, ServerUnreachableError
from resources.inference import ServedModel, TextGenerator, Tokenizer
from resources.tokenizer import resolve_tokenizer
from resources.vllm_resource import VLLMResource

_MEMORIES = TypeAdapter(dict[str, ServedModel])


class ModelEndpoint(Protocol):
    """A model that can be asked; the fake in `resources.testing` is one too."""

    def known_model(self) -> ServedModel | None:
        """The model, live or as last seen; None where no server was ever seen and no model is configured."""
        ...

    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, or an approximation that says so in its name."""
        ...

    def generator(self) -> TextGenerator:
        """A connection to the live server; raises ServerError with the remedy where there is none."""
        ...

    def remember(self) -> None:
        """Keep who the model is for the time when the server is down; called by whatever is allowed to write."""
        ...

    def forget(self) -> None:
        """Look again the next time; called by a process that outlives what the server serves."""
        ...


class VLLMEndpoint:
    """`ModelEndpoint` over a VLLMResource; remembers the served model in a small JSON file under the project's home."""

    def __init__(self, vllm: VLLMResource, home: Path, models_dir: Path) -> None:
        self._vllm = vllm
        self._memory = home / "served_models.json"
        self._models_dir = models_dir
        self._model: ServedModel | None = None
        self._tokenizer: Tokenizer | None = None
        self._was_alive = False

    def known_model(self) -> ServedModel | None:
        """The served model; as last seen while the server is down, and as configured where it was never seen."""
        if self._model is None:
            self._model = self._look()
        return self._model

    def tokenizer(self) -> Tokenizer:
        """The served model's tokenizer, loaded once."""
        if self._tokenizer is None:
            model = self.known_model() or ServedModel("unknown")
            base_url = self._vllm.base_url.split(",")[0]
            self._tokenizer = resolve_tokenizer(
                model,
                base_url,
                self._models_dir,
                api_key=self._vllm.api_key(),
                give_up_after_seconds=self._vllm.give_up_after_seconds,
            )
        return self._tokenizer

    def forget(self) -> None:
        """Ask the server again the next time, without waiting for one that is down."""
        self._model = None
        self._tokenizer = None
        self._was_alive = False

    def generator(self) -> TextGenerator:
        """A generator for the live server, which must serve the model that this process has planned with."""
        live = self._live_model()
        if self._model is not None and (live.name, live.revision) != (self._model.name, self._model.revision):
            raise ModelNotServedError(
                f"The server at {self._vllm.base_url} now serves {live.name} (revision {live.revision or 'unknown'}), "
                f"but this run was planned for {self._model.name} (revision {self._model.revision or 'unknown'}).",
                "Start the run again: it plans for what is served now.",
            )
        return self._vllm.generator()

    def _live_model(self) -> ServedModel:
        """What is served now. A server that this process has seen alive is waited for, as the generator would wait."""
        attempts = Retrying(
            retry=retry_if_exception_type(ServerUnreachableError),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            stop=stop_after_delay(self._vllm.give_up_after_seconds if self._was_alive else 0.0),
            reraise=True,
        )
        model = attempts(self._vllm.served_model)
        self._was_alive = True
        return model

    def _look(self) -> ServedModel | None:
        try:
            return self._live_model()
        except ServerUnreachableError:
            return self._remembered()

    def _memory_key(self) -> str:
        return f"{self._vllm.base_url}|{self._vllm.model or ''}"

    def _remembered(self) -> ServedModel | None:
        known = self._memories().get(self._memory_key())
        if known is not None:
            return known
        return ServedModel(self._vllm.model) if self._vllm.model else None

    def _memories(self) -> dict[str, ServedModel]:
        """What the memory file holds; nothing where it is cut off or of another shape: it only saves asking."""
        try:
            return _MEMORIES.validate_json(self._memory.read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}

    def remember(self) -> None:
        """Write the model to the memory file, if it is news."""
        model = self.known_model()
        known = self._memories()
        if model is None or known.get(self._memory_key()) == model:
            return
        known[self._memory_key()] = model
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._memory.parent)
        with os.fdopen(handle, "w") as file:
            json.dump({key: asdict(value) for key, value in known.items()}, file, indent=1)
        os.replace(temporary, self._memory)
