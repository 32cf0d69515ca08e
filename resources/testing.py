"""For tests, ours and yours: a fake model server over real HTTP, and a fake generator without it.

In: the public names, the fakes without HTTP, and the server as a process of its own (`python -m resources.testing`),
so that a test can kill it. Out: how the server works (`resources.fake_server`), what it says
(`resources.fake_answers`), how it goes wrong (`resources.fake_behaviour`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator

import click

from resources.fake_answers import FakeAnswer, FakeTokenizer, answer, prompt_token_count
from resources.fake_behaviour import REFUSAL, Behaviour, Fault, FaultKind
from resources.fake_server import FAKE_MODEL, FakeServer
from resources.inference import Completion, CompletionRequest, ServedModel

__all__ = [
    "FAKE_MODEL",
    "REFUSAL",
    "Behaviour",
    "FakeEndpoint",
    "FakeGenerator",
    "FakeServer",
    "FakeTokenizer",
    "Fault",
    "FaultKind",
    "fake_completion",
]


class FakeGenerator:
    """A `TextGenerator` without a server: answers one request after the other with a function.

    `FakeGenerator()` answers as `FakeServer` would, `FakeGenerator(lambda request: Completion(...))` as you like; a
    function that returns a string answers with that text. `requests` holds all that was asked, in order.
    """

    def __init__(
        self,
        answer: Callable[[CompletionRequest], Completion | str] | None = None,
        *,
        model: ServedModel = FAKE_MODEL,
    ) -> None:
        self._answer = answer or fake_completion
        self._model = model
        self.requests: list[CompletionRequest] = []

    @property
    def model(self) -> ServedModel:
        """The model it was given."""
        return self._model

    @property
    def request_count(self) -> int:
        """How many requests were made."""
        return len(self.requests)

    def generate(self, requests: Iterable[CompletionRequest]) -> Iterator[Completion]:
        """Yield one completion for each request, in order; a request is pulled when its answer is wanted."""
        for request in requests:
            self.requests.append(request)
            completion = self._answer(request)
            yield fake_completion(request, completion) if isinstance(completion, str) else completion

    def stop(self) -> None:
        """Nothing: between two answers nothing is under way."""


class FakeEndpoint:
    """A `ModelEndpoint` without a server; counts tokens as `FakeServer` does."""

    def __init__(self, generator: FakeGenerator | None = None) -> None:
        self.fake_generator = generator or FakeGenerator()

    def known_model(self) -> ServedModel | None:
        """The generator's model."""
        return self.fake_generator.model

    def tokenizer(self) -> FakeTokenizer:
        """The fake server's token rule."""
        return FakeTokenizer()

    def generator(self) -> FakeGenerator:
        """The same generator each time, so that its `requests` add up."""
        return self.fake_generator

    def remember(self) -> None:
        """Nothing: there is no server that could be down."""

    def forget(self) -> None:
        """Nothing: the model is the generator's and is never looked up."""


def fake_completion(request: CompletionRequest, text: str | None = None) -> Completion:
    """What the fake server would answer to a request; with `text`, a whole answer of that text instead."""
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    if text is None:
        schema = None if request.response_schema is None else json.loads(request.response_schema)
        reply = answer(messages, schema, request.sampling.max_tokens)
    else:
        reply = FakeAnswer(text, "stop", FakeTokenizer().count_tokens([text])[0])
    return Completion(
        request_key=request.request_key,
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=prompt_token_count(messages),
        completion_tokens=reply.token_count,
    )


@click.command()
@click.option("--port", type=int, default=0, help="Port on 127.0.0.1; 0 chooses a free one.")
@click.option("--model", default=FAKE_MODEL.name, help="Name of the served model.")
@click.option("--max-model-len", type=int, default=FAKE_MODEL.max_model_len)
@click.option("--latency-seconds", type=float, default=0.0)
@click.option("--latency-sigma", type=float, default=0.0, help="Over 0: log-normal about --latency-seconds.")
@click.option("--fault", "faults", multiple=True, help='A Fault as JSON: {"kind": "status", "status": 429}.')
def main(
    port: int,
    model: str,
    max_model_len: int,
    latency_seconds: float,
    latency_sigma: float,
    faults: tuple[str, ...],
) -> None:
    """Serve until killed; the first line of standard output is the base URL."""
    behaviour = Behaviour(latency_seconds, latency_sigma, tuple(Fault(**json.loads(fault)) for fault in faults))
    served = ServedModel(model, root=model, max_model_len=max_model_len)
    with FakeServer(models=[served], behaviour=behaviour, port=port) as server:
        click.echo(server.base_url)
        threading.Event().wait()


if __name__ == "__main__":
    main()
