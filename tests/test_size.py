import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from resources.errors import SettingError, SynthError
from resources.inference import Completion, LedgerEntry, ServedModel
from synth_assets.cli import main
from synth_assets.commands.size import SizeOptions, make_sizes

PAIR = SizeOptions(models=("Nemotron-3-Nano-30B-A3B", "Llama-3.1-8B"), hardware=("4xH100", "B200"))


def test_models_and_gpus_are_compared_row_by_row(workplace) -> None:
    report = make_sizes(workplace.project(), PAIR)
    assert [(row["model"], row["hardware"]) for row in report["rows"]] == [
        ("Nemotron-3-Nano-30B-A3B", "4xH100-SXM"),
        ("Nemotron-3-Nano-30B-A3B", "1xB200"),
        ("Llama-3.1-8B", "4xH100-SXM"),
        ("Llama-3.1-8B", "1xB200"),
    ]
    assert all(row["fits"] and row["limit"] for row in report["rows"])
    cheapest = min(report["rows"], key=lambda row: row["usd_per_million_output_tokens"])
    assert report["conclusion"].startswith(f"{cheapest['model']} on {cheapest['hardware']}")


def test_dollars_and_hours_are_those_of_the_requests(workplace) -> None:
    thousand, million = (
        make_sizes(workplace.project(), replace(PAIR, requests=requests, completion_tokens=250))["rows"][0]
        for requests in (1_000, 1_000_000)
    )
    assert million["cost_usd"] == pytest.approx(1000 * thousand["cost_usd"])
    assert million["gpu_hours"] == pytest.approx(1e6 * 250 / million["tokens_per_second"] / 3600 * 4)
    assert million["cost_usd"] == pytest.approx(250 * million["usd_per_million_output_tokens"])


def test_a_model_that_does_not_fit_stays_in_the_table_with_what_would_hold_it(workplace) -> None:
    row = make_sizes(workplace.project(), replace(PAIR, hardware=("L40S",)))["rows"][0]
    assert row["fits"] is False
    assert "2xL40S" in row["limit"]


def test_without_options_it_is_the_served_model_on_the_configured_hardware(workplace) -> None:
    workplace.server.models = (ServedModel("Qwen/Qwen3-8B", root="Qwen/Qwen3-8B", max_model_len=8192),)
    workplace.environment = {"COST_HARDWARE": "2xH200", "COST_GPU_HOUR_USD": "3"}
    report = make_sizes(workplace.project(), SizeOptions())
    assert [(row["model"], row["hardware"], row["usd_per_gpu_hour"]) for row in report["rows"]] == [
        ("Qwen3-8B", "2xH200-SXM", 3.0)
    ]
    assert (report["requests"], report["concurrency"]) == (1000, 8)


def test_without_a_server_dense_and_mixture_stand_side_by_side(workplace) -> None:
    workplace.environment = {"VLLM_BASE_URL": "http://127.0.0.1:1/v1"}
    report = make_sizes(workplace.project(), SizeOptions())
    assert [row["model"] for row in report["rows"]] == ["Nemotron-3-Nano-30B-A3B", "Llama-3.1-8B"]


def test_the_price_that_is_set_holds_for_the_gpu_that_it_was_set_for(workplace) -> None:
    workplace.environment = {"COST_HARDWARE": "4xH100", "COST_GPU_HOUR_USD": "1.25"}
    rows = make_sizes(workplace.project(), replace(PAIR, hardware=("2xH100", "B200")))["rows"]
    assert [row["usd_per_gpu_hour"] for row in rows[:2]] == [1.25, 5.98]


def test_requests_are_those_that_the_ledger_has_bought(workplace) -> None:
    project = workplace.project()
    project.ledger.record(
        [
            LedgerEntry(
                Completion(str(number), "text", "stop", prompt_tokens=100 + number, completion_tokens=50),
                "distill",
                "document",
                number,
                ServedModel("fake-model"),
            )
            for number in range(3)
        ]
    )
    report = make_sizes(project, PAIR)
    assert (report["requests"], report["prompt_tokens"], report["completion_tokens"]) == (3, 101, 50)


def test_another_precision_changes_weights_and_rate(workplace) -> None:
    wide, narrow = (
        make_sizes(workplace.project(), replace(PAIR, precision=precision))["rows"][2] for precision in ("bf16", "int4")
    )
    assert narrow["weight_bytes"] < 0.4 * wide["weight_bytes"]
    assert narrow["tokens_per_second"] > wide["tokens_per_second"]


def test_what_is_not_known_is_said_with_what_is(workplace) -> None:
    with pytest.raises(SynthError, match="Llama-3"):
        make_sizes(workplace.project(), SizeOptions(models=("unheard-of",)))
    with pytest.raises(SettingError, match=r"--hardware='TPU'.*B200"):
        make_sizes(workplace.project(), SizeOptions(hardware=("TPU",)))


def test_the_command_prints_a_table_or_one_json_object(workplace, monkeypatch) -> None:
    monkeypatch.setenv("SYNTH_HOME", str(workplace.home))
    monkeypatch.setenv("CURATOR_OUTPUT_DIR", str(workplace.corpus))
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:1/v1")
    arguments = ["size", "--model", "Llama-3.1-8B", "--hardware", "H100", "--requests", "500"]
    shown = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "Llama-3.1-8B" in shown.output
    assert "500 requests" in shown.output
    printed = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(printed.stdout)["rows"][0]["model"] == "Llama-3.1-8B"
