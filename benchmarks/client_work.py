"""What one core does for documents besides sending: segments and keys before, clean-up of Markdown answers after.

Documents and answers of 2 KB, as `throughput.py` uses them; the tokenizer is the embedded model's. Planning is measured
with texts that have not been counted yet (as in a first strategy) and with texts that have (as in every later one, and
when answers are made into rows). The best of several turns counts, since whatever else runs only takes time away.
"""

from __future__ import annotations

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core; read when the library first encodes a batch

import time
from collections.abc import Callable, Sequence

import click
from workbench.model_server import ANSWER
from workbench.project import Figure, document, report

from resources.embedded_vllm import prepared_smollm2
from resources.inference import Completion, ServedModel
from resources.tokenizer import TOKENIZER_FILE, LocalTokenizer
from synth_assets.core.postprocessing import finish_segment
from synth_assets.core.request_planning import RequestPlanner, SeedDocument, planned_requests
from synth_assets.core.strategy import AnswerContext, Strategy
from synth_assets.strategies import discover

STRATEGY = "distill"
DOCUMENT_CHARS = 2048
NODE_REQUESTS_PER_SECOND = 300
"""What an 8-GPU node answers: one core has to do the work for at least as many."""


def documents_per_second(work: Callable[[], object], count: int, turns: int) -> float:
    """The best of the turns, by the CPU time of this process."""
    seconds = []
    for _ in range(turns):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return count / min(seconds)


def finish(documents: Sequence[SeedDocument], strategy: Strategy) -> None:
    """Clean one answer for each document."""
    for one in documents:
        context = AnswerContext(one.title, one.text, one.document_id)
        finished = finish_segment(Completion(one.document_id, ANSWER, "stop"), strategy, context)
        assert finished.reason is None


def compared(what: str, found: float, note: str) -> Figure:
    """One figure against what a node answers."""
    ratio = found / NODE_REQUESTS_PER_SECOND
    against = f"{NODE_REQUESTS_PER_SECOND} requests/s (an 8-GPU node)"
    return Figure(what, f"{found:,.0f} documents/s", against, ratio, "at least 1", ratio >= 1, note)


@click.command()
@click.option("--documents", default=500, help="Documents in each turn.")
@click.option("--turns", default=5, help="How often each part is measured.")
def main(documents: int, turns: int) -> None:
    """Measure planning, clean-up and both."""
    strategy = next(strategy for strategy in discover() if strategy.name == STRATEGY)
    file, model = prepared_smollm2() / TOKENIZER_FILE, ServedModel("bench-model", max_model_len=8192)
    made = [document(number, DOCUMENT_CHARS) for number in range(documents)]
    seeds = [SeedDocument(one["id"], "bench.jsonl", one["title"], one["text"]) for one in made]

    def plan(cache_size: int) -> Callable[[], object]:
        planner = RequestPlanner(strategy, LocalTokenizer(file, model.name, cache_size=cache_size), model)
        return lambda: list(planned_requests(seeds, planner))

    plan_first, plan_again = plan(0), plan(4 * documents)
    plan_again()
    note = f"{turns} turns of {documents} documents of 2 KB, CPU time"
    parts = {
        "segments and keys, texts not counted yet": plan_first,
        "segments and keys, texts counted before": plan_again,
        "clean-up of Markdown answers of 2 KB": lambda: finish(seeds, strategy),
        "segments, keys and clean-up together": lambda: (plan_first(), finish(seeds, strategy)),
    }
    report(
        [
            compared(f"{what}, one core", documents_per_second(work, documents, turns), note)
            for what, work in parts.items()
        ]
    )


if __name__ == "__main__":
    main()
