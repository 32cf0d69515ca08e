"""What one core measures and screens: `metrics.text_quality` in documents/s, each of its parts, and a strategy's gates.

Sources are the sample corpus' articles and made ones, cut to 2 KB; texts are what the fake model makes of them. A
source is read once for five texts made of it, as in a run. The best of several turns counts, since whatever else runs
only takes time away.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from client_work import documents_per_second
from workbench.project import Figure, document, report

from resources.fake_answers import answer
from synth_assets.core.gates import Gate
from synth_assets.core.measures.copying import copying
from synth_assets.core.measures.facts import facts_of, kept_facts
from synth_assets.core.measures.language import language_of
from synth_assets.core.measures.repetition import compression_ratio, repetition
from synth_assets.core.measures.text_quality import measure
from synth_assets.core.measures.words import Words
from synth_assets.core.screening import first_rejection
from synth_assets.settings import SAMPLE_CORPUS
from synth_assets.strategies import discover

TEXT_CHARS = 2048
TEXTS_OF_A_SOURCE = 5
MEASURED_PER_SECOND = 500
"""What generation gives on the largest node this was planned for, with a margin."""
GATES_SECONDS = 0.0003


@dataclass(frozen=True)
class Case:
    """One text with its source, both of about 2 KB."""

    source: str
    text: str


def sources(count: int) -> list[str]:
    """Half sample articles, half made documents."""
    articles = [article for path in sorted(SAMPLE_CORPUS.glob("*.jsonl*")) for article in _texts(path)]
    long_enough = [text[:TEXT_CHARS] for text in articles if len(text) >= TEXT_CHARS][: count // 2]
    return [*long_enough, *(document(number, TEXT_CHARS)["text"] for number in range(count - len(long_enough)))]


def _texts(path: Path) -> Iterator[str]:
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt") as lines:
        yield from (json.loads(line)["text"] for line in lines)


def rephrased(source: str, number: int) -> str:
    """What the fake model says of it, made as long as the source."""
    messages = [{"role": "system", "content": f"Voice {number}"}, {"role": "user", "content": source}]
    said = answer(messages, None, 2000).text
    return (said + " " + answer([*messages, messages[0]], None, 2000).text)[: len(source)]


def worst_gates() -> tuple[Gate, ...]:
    """Those of the strategy that has most."""
    return max((strategy.gates for strategy in discover()), key=len)


def parts(cases: Sequence[Case]) -> dict[str, Callable[[], object]]:
    """Each measure by itself; where words or facts are read before, that is a part of its own."""
    words = [(Words.of(case.source), Words.of(case.text)) for case in cases]
    word_sets = [frozenset(text.words) for _, text in words]
    facts = [
        (facts_of(case.source, frozenset(source.words)), facts_of(case.text, frozenset(text.words)))
        for case, (source, text) in zip(cases, words, strict=True)
    ]
    return {
        "splitting into words": lambda: [Words.of(case.text) for case in cases],
        "Gopher's repetition": lambda: [
            repetition(case.text, text) for case, (_, text) in zip(cases, words, strict=True)
        ],
        "compression": lambda: [compression_ratio(case.text) for case in cases],
        "copying": lambda: [copying(source, text) for source, text in words],
        "finding numbers, dates and names": lambda: [
            facts_of(case.text, known) for case, known in zip(cases, word_sets, strict=True)
        ],
        "comparing them": lambda: [kept_facts(source, text) for source, text in facts],
        "language": lambda: [language_of(case.text) for case in cases],
    }


@click.command()
@click.option("--documents", default=500, help="Texts in each turn.")
@click.option("--turns", default=5, help="How often each part is measured.")
def main(documents: int, turns: int) -> None:
    """Measure all measures together, each by itself, and the gates."""
    given = sources(documents // TEXTS_OF_A_SOURCE)
    cases = [Case(source, rephrased(source, number)) for source in given for number in range(TEXTS_OF_A_SOURCE)]
    mean_chars = sum(len(case.text) for case in cases) / len(cases)
    note = f"{turns} turns of {len(cases)} texts of {mean_chars:,.0f} characters on average, one core, CPU time"

    def speed(work: Callable[[], object]) -> float:
        work()
        return documents_per_second(work, len(cases), turns)

    together = speed(lambda: [measure(case.source, case.text) for case in cases])
    ratio = together / MEASURED_PER_SECOND
    target = f"{MEASURED_PER_SECOND} documents/s on 2 cores"
    figures = [
        Figure("all measures", f"{together:,.0f} documents/s", target, ratio, "at least 1", ratio >= 1, note),
        *(
            Figure(f"measures: {what}", f"{1e6 / speed(work):,.0f} µs a document", "all of them", None, "", None, note)
            for what, work in parts(cases).items()
        ),
    ]
    gates = worst_gates()
    names = ", ".join(gate.name for gate in gates)
    seconds = 1 / speed(lambda: [first_rejection(gates, case.source, case.text) for case in cases])
    rejected = sum(first_rejection(gates, case.source, case.text) is not None for case in cases)
    ratio = GATES_SECONDS / seconds
    allowed = f"{GATES_SECONDS * 1e6:,.0f} µs"
    gate_note = f"{names}; {rejected} of {len(cases)} rejected; {note}"
    figures.append(
        Figure("all gates", f"{seconds * 1e6:,.0f} µs a document", allowed, ratio, "at least 1", ratio >= 1, gate_note)
    )
    report(figures)


if __name__ == "__main__":
    main()
