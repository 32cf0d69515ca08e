"""The estimate's error before there is any ledger, and as it grows: with real planning, buying and looking up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from resources.inference import Completion, CompletionRequest
from resources.lake import Lake
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter
from resources.testing import FakeEndpoint, FakeGenerator
from synth_assets.assets.rephrased import request_planner
from synth_assets.core.purchasing import Purchaser
from synth_assets.core.request_planning import SeedDocument, planned_documents, planned_requests
from synth_assets.strategies import discover

DISTILL = next(strategy for strategy in discover() if strategy.name == "distill")
SENTENCE = "The keeper of the lighthouse wrote down every ship that passed in the night. "


class NoGenerations:
    """Roots of a project in which nothing was asked for anew."""

    def of(self, key) -> dict[str | None, str] | None:
        return {}


def documents(start: int, count: int) -> Iterator[SeedDocument]:
    """Short and long ones in turn."""
    for number in range(start, start + count):
        yield SeedDocument(f"d{number}", "a.jsonl", "", f"Ship {number}. " + SENTENCE * (4 + 7 * (number % 9)))


def answers_of(fixed: float, share: float) -> FakeGenerator:
    """A model whose answers have a fixed part and a share of the prompt, each half as long or half as long again."""

    def answer(request: CompletionRequest) -> Completion:
        prompt_tokens = sum(len(message.content.split()) for message in request.messages)
        rng = random.Random(request.request_key)
        length = round((fixed + share * prompt_tokens) * rng.uniform(0.5, 1.5))
        return Completion(request.request_key, "An answer.", "stop", prompt_tokens, length)

    return FakeGenerator(answer)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))


@pytest.mark.parametrize(("fixed", "share"), [(0.0, 0.7), (300.0, 0.0), (60.0, 0.4)])
def test_the_error_shrinks_as_the_ledger_grows_and_lies_in_the_range(ledger, fixed, share):
    endpoint = FakeEndpoint(answers_of(fixed, share))
    coming = list(documents(10_000, 200))
    actual = sum(
        endpoint.fake_generator._answer(planned.request).completion_tokens
        for planned in planned_requests(coming, request_planner(DISTILL, endpoint, ledger, NoGenerations()))
    )
    errors, sources = [], []
    for known in (0, 20, 200):
        planner = request_planner(DISTILL, endpoint, ledger, NoGenerations())
        buyer = Purchaser(endpoint.generator, ledger, lambda: LedgerWriter(ledger))
        buyer.buy(planned_requests(documents(0, known), planner))
        planner = request_planner(DISTILL, endpoint, ledger, NoGenerations())
        planned = [request for document in planned_documents(coming, planner) for request in document.requests]
        expected = sum(request.estimated_completion_tokens for request in planned)
        found = planner.output_length.sum_range(expected, len(planned), len(coming))
        assert found.low <= actual <= found.high
        errors.append(abs(expected - actual) / actual)
        sources.append(planner.output_length.source)
    assert sources == ["prior", "ledger", "ledger"]
    assert errors[0] > 0.2
    assert errors[1] < 0.15
    assert errors[2] < 0.05
