"""The judge, judged: does it agree with itself, which scores does it give, and which planted faults does it notice?

Passages of the sample corpus stand as rewrites that are faithful to the letter; in copies of them one fault is planted:
a number or a name swapped, a paragraph dropped, a fact invented, sentences shuffled, filler added. A fault is detected
where the harmed text scores lower than the unharmed one in the dimension that the fault concerns. The measures of
`metrics.text_quality` look at the same cases, and so does the reference model of `metrics.source_support`.

Asks the judge that JUDGE_BASE_URL and JUDGE_MODEL name, through the project's own purchaser and ledger: what SYNTH_HOME
has an answer to is not asked again. `--embedded` starts SmolLM2 for it, with a ledger that ends with the program where
SYNTH_HOME is not set.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from planting.corpus import articles
from planting.judging import JudgeFindings, try_judge
from planting.measuring import try_measures
from planting.supporting import try_support
from workbench.project import Figure, report

from resources.errors import SynthError
from resources.server_lifecycle import stop
from resources.server_process import start_embedded
from synth_assets.core.judge_trial import Detection
from synth_assets.core.planted_cases import passages, planted_cases
from synth_assets.project import Project, build_project
from synth_assets.settings import SAMPLE_CORPUS, Settings

SEED = 7


@contextlib.contextmanager
def embedded_project(settings: Settings) -> Iterator[Project]:
    """A project whose judge is the embedded server, on a port of its own; it ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = start_embedded(Path(folder), port, settings.models_dir, progress=click.echo)
        try:
            judge = {"JUDGE_BASE_URL": server.base_url, "JUDGE_MODEL": "", "VLLM_MODEL": ""}
            yield build_project(Settings.from_environment({"SYNTH_HOME": folder, **os.environ, **judge}))
        finally:
            stop(Path(folder))


def judge_figures(findings: JudgeFindings) -> list[Figure]:
    """What was found out about the judge."""
    name = findings.judge_model
    figures = [
        Figure(
            f"{name}: questions with a verdict",
            str(findings.verdicts),
            f"{findings.questions} questions",
            None,
            "stated",
            None,
            f"{findings.requests_sent} requests sent, the rest was in the ledger",
        )
    ]
    for temperature, rows in findings.agreements.items():
        figures += [
            Figure(
                f"{name}: same {row.dimension} for the same text again, temperature {temperature:g}",
                f"{row.exact_share:.0%}",
                f"{row.pair_count} pairs",
                None,
                "stated",
                None,
                f"mean absolute difference {row.mean_absolute_difference:.2f}",
            )
            for row in rows
        ]
    for dimension, counts in findings.distribution.items():
        given = ", ".join(f"{count} times {score}" for score, count in counts.items() if count)
        figures.append(Figure(f"{name}: {dimension} given", given or "none", "1 to 5", None, "stated", None))
    return figures


def detection_figures(who: str, detections: Sequence[Detection]) -> list[Figure]:
    """How many faults of each kind were noticed."""
    return [
        Figure(
            f"{who}: {row.kind} noticed by {row.looked_at}",
            f"{row.detected_count} ({row.rate:.0%})",
            f"{row.case_count} cases",
            None,
            "stated",
            None,
            f"{row.tie_count} alike, {row.wrong_way_count} the wrong way",
        )
        for row in detections
    ]


@click.command()
@click.option("--corpus", type=click.Path(exists=True, path_type=Path), default=SAMPLE_CORPUS, help="Curator's JSONL.")
@click.option("--per-kind", type=click.IntRange(1), default=12, help="Cases of each kind.")
@click.option("--repeated", "repeated_count", type=click.IntRange(0), default=12, help="Passages judged repeatedly.")
@click.option("--embedded", "is_embedded", is_flag=True, help="Start the embedded server as the judge.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to this file as well.")
def main(corpus: Path, per_kind: int, repeated_count: int, is_embedded: bool, json_file: Path | None) -> None:
    """Plant faults, ask the judge, and measure."""
    cases = planted_cases(list(passages(articles(corpus))), per_kind, SEED)
    settings = Settings.from_environment()
    opened = embedded_project(settings) if is_embedded else contextlib.nullcontext(build_project(settings))
    try:
        with opened as project:
            model = project.judge.generator().model
            findings = try_judge(
                cases, repeated_count, model, project.judge.tokenizer(), project.purchases.judge, project.ledger
            )
            supported = try_support(cases, project.reference.source_supports)
            reference = project.reference.model.name
    except SynthError as error:
        raise click.ClickException(str(error)) from None
    measured = try_measures(cases)
    report(
        [
            *judge_figures(findings),
            *detection_figures(findings.judge_model, findings.detections),
            *detection_figures("measures", measured),
            *detection_figures(f"source support under {reference}", supported),
        ]
    )
    if json_file is not None:
        found = {"cases": len(cases), "judge": asdict(findings), "measures": [asdict(row) for row in measured]}
        found["source_support"] = [asdict(row) for row in supported]
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
