"""`synth` as a user runs it: a process of its own over a small corpus, a fake server and a tiny language model."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.server_state import read_record
from resources.testing import FakeServer
from resources.vllm_presets import PRESETS
from synth_assets.strategies import discover

SYNTH = Path(sys.executable).with_name("synth")
API_KEY = "planted-key-that-nobody-may-see"
NAMES = [strategy.name for strategy in discover()]
OWN_SETTINGS = ("SYNTH_", "CURATOR_", "LAKE_", "VLLM_", "JUDGE_", "PERPLEXITY_", "COST_", "DAGSTER_")


@dataclass
class CommandLine:
    """Runs `synth` in one home; whatever it prints may hold neither the key nor a Python traceback."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
        environment = {**inherited, "SYNTH_HOME": str(self.home), **self.settings, **settings}
        done = subprocess.run(
            [str(SYNTH), *arguments],
            env=environment, cwd=self.home.parent, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        for output in (done.stdout, done.stderr):
            assert "Traceback (most recent call last)" not in output, output
            assert API_KEY not in output
        return done

    def json(self, *arguments: str, **settings: str) -> Any:
        """What a command with `--json` prints, which is all that may stand on standard output."""
        done = self(*arguments, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def at(self, home: Path) -> CommandLine:
        return CommandLine(home, self.settings)


@dataclass(frozen=True)
class FirstRun:
    """A home in which everything was run once, and what was seen on the way there."""

    synth: CommandLine
    server: FakeServer
    plan_before: dict[str, Any]
    written_by_plan: dict[str, str]
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path, server: FakeServer) -> dict[str, str]:
    corpus = tmp_path_factory.mktemp("corpus")
    for name, numbers in {"a.jsonl": (1, 2), "sub/b.jsonl": (3,)}.items():
        path = corpus / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(article(number)) + "\n" for number in numbers))
    with (corpus / "a.jsonl").open("a") as file:
        file.write('{"title": "A row without text"}\n')
    return {
        "CURATOR_OUTPUT_DIR": str(corpus),
        "VLLM_BASE_URL": server.base_url,
        "VLLM_API_KEY": API_KEY,
        "PERPLEXITY_MODEL": str(tiny_gpt2),
        "SYNTH_MODELS": str(tmp_path_factory.mktemp("prepared")),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str], server: FakeServer) -> FirstRun:
    synth = CommandLine(tmp_path_factory.mktemp("place") / "home", settings)
    plan = synth.json("plan")
    written = listing(synth.home)
    return FirstRun(synth, server, plan, written, synth.json("run"))


@pytest.fixture
def fresh(tmp_path: Path, settings: dict[str, str]) -> CommandLine:
    """`synth` where nothing was ever run."""
    return CommandLine(tmp_path / "home", settings)


@pytest.fixture(scope="module")
def training_documents(first_run: FirstRun) -> list[dict[str, Any]]:
    return first_run.synth.json("query", "SELECT merged_id, strategy, text FROM merged.documents ORDER BY ALL")


def article(number: int) -> dict[str, Any]:
    paragraphs = [
        " ".join(
            f"Lighthouse {number} was seen by {number * 31 + year % 17} ships in {year}, as its keepers wrote down."
            for year in range(start, start + 6)
        )
        for start in (1880, 1890)
    ]
    return {"text": "\n\n".join(paragraphs), "title": f"Lighthouse {number}", "id": str(number), "language": "en",
            "url": f"https://example.org/{number}", "categories": ["Lighthouses"]}  # fmt: skip


def listing(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its content; what SQLite keeps beside an open catalogue is none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def closed_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


# plan


def test_the_plan_of_a_fresh_home_names_files_and_what_is_missing_and_writes_nothing(first_run):
    plan = first_run.plan_before
    assert plan["files"] == {"new": ["a.jsonl", "sub/b.jsonl"], "changed": [], "deleted": [], "unchanged": []}
    missing = {(item["asset"], item["partition"]) for item in plan["stale"] if item["reason"] == "missing"}
    assert {("seed.curated_documents", "a.jsonl"), ("seed.curated_documents", "sub/b.jsonl")} <= missing
    assert first_run.written_by_plan == {}


def test_the_plan_has_the_bill_of_every_strategy_and_their_total(first_run):
    plan = first_run.plan_before
    columns = {
        "to_generate", "answered_from_ledger", "prompt_tokens", "completion_tokens", "flops", "gpu_hours", "cost_usd"
    }  # fmt: skip
    assert set(plan["strategies"]) == set(NAMES)
    for bill in (*plan["strategies"].values(), plan["total"]):
        assert columns <= set(bill)
    for column in ("to_generate", "prompt_tokens", "cost_usd"):
        assert plan["total"][column] == pytest.approx(sum(bill[column] for bill in plan["strategies"].values())) != 0


def test_a_plan_with_a_budget_says_what_it_buys_and_how_sure_the_bill_is(fresh):
    plan = fresh.json("plan", "--max-usd", "0.001", "--weights", "distill=1")
    bought = plan["budget"]["strategies"]
    assert bought["distill"]["documents"] in range(1, 3)
    assert bought["wiki_rephrase"]["documents"] == 0
    assert plan["budget"]["total"]["cost_usd"] <= 0.001
    total = plan["total"]
    for column in ("gpu_hours", "cost_usd", "wall_seconds", "completion_tokens"):
        assert total[f"low_{column}"] < total[column] < total[f"high_{column}"]
    assert total["cost_usd"] + plan["judge"]["cost_usd"] == pytest.approx(plan["total_with_judge"]["cost_usd"])
    assert (plan["throughput_source"], total["estimate_source"]) == ("roofline", "prior")
    assert listing(fresh.home) == {}


def test_after_a_run_the_plan_has_nothing_to_do_and_changes_no_file(first_run):
    before = listing(first_run.synth.home)
    plan = first_run.synth.json("plan")
    assert plan["files"] == {"new": [], "changed": [], "deleted": [], "unchanged": ["a.jsonl", "sub/b.jsonl"]}
    assert plan["stale"] == []
    assert plan["total"]["to_generate"] == 0
    assert listing(first_run.synth.home) == before


def test_the_plan_of_asking_anew_has_the_same_calls_once_more_and_changes_no_file(first_run):
    before = listing(first_run.synth.home)
    plan = first_run.synth.json("plan", "--regenerate", "--strategies", "distill", "--files", "a.jsonl")
    calls = first_run.synth.json("plan", "--regenerate")["strategies"]
    first = {name: bill["to_generate"] for name, bill in first_run.plan_before["strategies"].items()}
    assert {name: bill["to_generate"] for name, bill in calls.items()} == first
    assert {item["partition"] for item in plan["stale"] if item["asset"] == "rephrased.distill"} == {"a.jsonl"}
    assert 0 < plan["total"]["to_generate"] < first["distill"]
    assert listing(first_run.synth.home) == before


# run and status


def test_a_run_tells_what_it_did(first_run):
    summary = first_run.summary
    assert summary["failed"] == []
    assert summary["requests_sent"] > 0
    assert summary["answered_from_ledger"] == 0
    assert summary["documents"] == 3 * (1 + len(NAMES))
    assert summary["drops"] == {"missing_text": 1}
    assert summary["prompt_tokens"] > 0
    assert summary["completion_tokens"] > 0
    assert summary["wall_seconds"] > 0
    assert {"asset": "merged.documents", "partition": "sub/b.jsonl"} in summary["materialized"]


def test_the_plan_foretold_what_the_run_sent_to_the_rephraser(first_run):
    bought = first_run.synth.json(
        "query", "SELECT strategy, count(*) n FROM ledger.completions WHERE strategy NOT LIKE 'judge%' GROUP BY 1"
    )
    planned = {name: bill["to_generate"] for name, bill in first_run.plan_before["strategies"].items()}
    assert {row["strategy"]: row["n"] for row in bought} == planned


def test_a_second_run_sends_nothing_and_materializes_nothing(first_run):
    before = first_run.server.request_count
    summary = first_run.synth.json("run")
    assert (summary["requests_sent"], summary["materialized"], summary["failed"]) == (0, [], [])
    assert summary["documents"] == first_run.summary["documents"]
    assert first_run.server.request_count == before


def test_status_counts_partitions_documents_and_drops(first_run):
    status = first_run.synth.json("status")
    assert status["documents"] == first_run.summary["documents"]
    assert status["drops"] == {"missing_text": 1}
    for name in (
        "seed.curated_documents",
        "merged.documents",
        "metrics.perplexity",
        *(f"rephrased.{n}" for n in NAMES),
    ):
        row = status["assets"][name]
        assert (row["partitions"], row["materialized"], row["stale"], row["failed"]) == (2, 2, 0, 0), name


# query


def test_query_prints_its_rows_as_a_json_list(first_run):
    rows = first_run.synth.json(
        "query", "SELECT strategy, count(*) AS documents FROM merged.documents GROUP BY 1 ORDER BY 1"
    )
    assert rows == [{"strategy": name, "documents": 3} for name in sorted([*NAMES, "original"])]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO merged.documents SELECT * FROM merged.documents",
        "ATTACH 'other.db'",
        "COPY merged.documents TO 'stolen.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT 1; DROP TABLE merged.documents",
    ],
)
def test_query_refuses_everything_that_does_not_read_the_lake(first_run, sql):
    done = first_run.synth("query", sql)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert not (first_run.synth.home.parent / "stolen.csv").exists()


# preview, report, trace, export


def test_preview_shows_a_document_beside_its_versions_and_asks_for_nothing_bought_before(first_run):
    before = first_run.server.request_count
    done = first_run.synth("preview", "-n", "1")
    assert done.returncode == 0, done.stderr
    assert "Lighthouse 1: source" in done.stdout
    for name in NAMES:
        assert f"Lighthouse 1: {name}" in done.stdout
    assert "Lighthouse 2" not in done.stdout
    assert first_run.server.request_count == before


def test_report_prints_the_path_of_a_page_that_exists(first_run):
    done = first_run.synth("report")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip().splitlines()[-1])
    assert path.is_file()
    page = path.read_text()
    assert "<html" in page
    assert '<th scope="row">seed.profile</th>' in page, "the graph is the whole one, not what the command makes"


def test_trace_leads_from_a_training_document_to_source_prompt_and_call(first_run, training_documents):
    chosen = next(row for row in training_documents if row["strategy"] == "distill")
    trace = first_run.synth.json("trace", chosen["merged_id"])
    source = trace["source"]
    assert source["url"].startswith("https://example.org/")
    assert Path(source["path"]).is_file()
    assert source["row_number"] >= 1
    assert "".join(segment["text"] for segment in trace["segments"]) in chosen["text"]
    for segment in trace["segments"]:
        assert segment["source_text"] == source["text"][segment["source_start"] : segment["source_end"]]
        assert segment["source_text"] in segment["prompt"][-1]["content"]
        assert segment["call"]["request_key"] == segment["request_key"]
        assert segment["call"]["model"] == "fake-model"
        assert segment["call"]["completion_tokens"] > 0
    assert {"perplexity", "reference_model", "faithfulness"} <= set(trace["measures"])


def test_trace_of_an_unknown_id_says_where_ids_are(first_run):
    done = first_run.synth("trace", "nobody")
    assert done.returncode == 1
    assert "'nobody'" in done.stderr
    assert "merged.documents" in done.stderr


def test_export_writes_parquet_with_an_explicit_schema(first_run, training_documents, tmp_path):
    written = first_run.synth.json("export", str(tmp_path / "out"))
    table = pq.read_table(written["files"][0])
    assert table.num_rows == written["rows"] == len(training_documents)
    assert {name: table.schema.field(name).type for name in ("merged_id", "strategy", "text", "token_count")} == {
        "merged_id": pa.string(), "strategy": pa.string(), "text": pa.string(), "token_count": pa.int64()
    }  # fmt: skip
    assert sorted(table["text"].to_pylist()) == sorted(row["text"] for row in training_documents)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        Path(written[name] if name != "files" else written["files"][0]).name for name in ("files", "card", "manifest")
    }


def test_export_mixes_by_share_and_budget_and_says_what_falls_short(first_run, tmp_path):
    options = ("--real-share", "0.5", "--weights", "distill=1", "--token-budget", "1M", "--max-repeats", "2")
    written = first_run.synth.json("export", str(tmp_path / "out"), *options, "--shards", "2")
    parts = {part["part"]: part for part in written["parts"]}
    assert set(parts) == set(written["shortfalls"]) == {"original", "distill"}
    assert sum(pq.read_table(path).num_rows for path in written["files"]) == written["rows"] == 12
    assert all(part["target_tokens"] - part["tokens"] == part["shortfall_tokens"] for part in parts.values())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--token-budget", "much"), "--token-budget"),
        (("--weights", "destill=1"), "destill"),
        (("--wide", "--shards", "2"), "--wide"),
    ],
)
def test_export_of_a_mix_that_cannot_be_understood_names_the_option(first_run, tmp_path, options, named):
    done = first_run.synth("export", str(tmp_path / "out"), *options)
    assert done.returncode == 2
    assert named in done.stderr
    assert not (tmp_path / "out").exists()


def test_export_writes_the_same_rows_as_jsonl(first_run, training_documents, tmp_path):
    written = first_run.synth.json("export", str(tmp_path), "--format", "jsonl")
    lines = [json.loads(line) for line in Path(written["files"][0]).read_text().splitlines()]
    assert {(row["merged_id"], row["text"]) for row in lines} == {
        (row["merged_id"], row["text"]) for row in training_documents
    }


def test_export_wide_has_a_row_for_each_document_and_a_column_for_each_strategy(first_run, tmp_path):
    written = first_run.synth.json("export", str(tmp_path), "--wide")
    table = pq.read_table(written["files"][0])
    assert table.num_rows == 3
    assert {"document_id", "title", "text", *NAMES} <= set(table.schema.names)
    assert all(table.schema.field(name).type == pa.string() for name in NAMES)


def test_export_before_any_run_says_what_to_run(fresh, tmp_path):
    done = fresh("export", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "synth run" in done.stderr


# settings and servers


@pytest.mark.parametrize(
    ("setting", "value", "accepted"),
    [
        ("COST_HARDWARE", "4xAbacus", "H100-SXM"),
        ("VLLM_MAX_PARALLEL_REQUESTS", "many", "at least 1"),
        ("VLLM_BASE_URL", "localhost:8000", "http://host:port/v1"),
        ("PERPLEXITY_MODEL", "/nowhere/gpt2", "folder"),
    ],
)
def test_a_setting_that_cannot_be_understood_ends_with_its_name_its_value_and_what_is_accepted(
    fresh, setting, value, accepted
):
    done = fresh("run", **{setting: value})
    assert done.returncode == 2
    assert done.stdout == ""
    for part in (setting, value, accepted):
        assert part in done.stderr
    assert not (fresh.home / "lake").exists()


def test_an_option_that_does_not_exist_ends_with_code_2(fresh):
    assert fresh("run", "--everything").returncode == 2


def test_a_run_without_a_server_fails_with_the_remedy(fresh):
    done = fresh("run", VLLM_BASE_URL=closed_address(), VLLM_MODEL="fake-model")
    assert done.returncode == 1
    assert "synth serve" in done.stderr


def test_upgrade_makes_no_lake_and_says_what_there_is(fresh, first_run):
    done = fresh("upgrade")
    assert (done.returncode, done.stdout) == (0, "The lake does not exist yet.\n")
    assert listing(fresh.home) == {}
    assert "has schema version" in first_run.synth("upgrade").stdout


def test_the_plan_without_a_server_needs_none(fresh):
    plan = fresh.json("plan", VLLM_BASE_URL=closed_address())
    assert plan["total"]["to_generate"] > 0
    assert listing(fresh.home) == {}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_serve_print_shows_the_command_and_starts_nothing(fresh, preset):
    done = fresh("serve", "--preset", preset, "--print")
    assert done.returncode == 0, done.stderr
    expected = "docker run" if PRESETS[preset].image else "vllm.entrypoints.openai.api_server"
    assert expected in done.stdout
    assert read_record(fresh.home) is None
    assert listing(fresh.home) == {}


def test_serve_names_the_presets_when_it_is_given_another(fresh):
    done = fresh("serve", "--preset", "gpt-5", "--print")
    assert done.returncode == 2
    assert "gpt-5" in done.stderr
    assert "nemotron-3-nano" in done.stderr


def test_the_api_key_is_in_no_file_of_the_home(first_run):
    holding = [
        path for path in first_run.synth.home.rglob("*") if path.is_file() and API_KEY.encode() in path.read_bytes()
    ]
    assert holding == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--strategies", "distil"),
        ("plan", "--files", "nothing.jsonl"),
        ("preview", "--strategies", "distil"),
        ("run", "--max-usd", "nan"),
        ("--set", "VLLM_MODEL", "plan"),
        ("--set", "JUDGE_SHARE=2", "plan"),
    ],
)
def test_wrong_names_and_values_end_with_exit_code_2_before_anything_is_asked(fresh, arguments):
    done = fresh(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr


def test_a_setting_on_the_command_line_takes_the_place_of_the_environments(fresh):
    shown = json.loads(fresh("--set", "COST_HARDWARE=2xL40S", "plan", "--json", COST_HARDWARE="8xB200").stdout)
    assert shown["hardware"] == "2xL40S"
