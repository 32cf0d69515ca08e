"""What is written down of one purchase, with servers that count their work, that do not, and that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.errors import LakeError
from resources.failed_calls import FAILURES
from resources.fake_server import FakeServer
from resources.inference import Completion, FailedRequest, ServedModel
from resources.lake import Lake
from resources.vllm_resource import VLLMResource
from synth_assets.assets.usage_meter import UsageMeter
from synth_assets.core.bill_tables import USAGE
from synth_assets.core.hardware import Hardware

HARDWARE = Hardware.parse("2xH100-SXM")
SMALL = ServedModel("SmolLM2-135M-Instruct")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    yield lake
    lake.close()


def answer(key: str, **figures: Any) -> Completion:
    return Completion(key, "Text.", "stop", 100, 40, 20, 2.0, **figures)


def failure(key: str) -> FailedRequest:
    completion = Completion(key, error_kind="timeout", error="No answer in time")
    return FailedRequest(completion, "distill", "d1", 3, SMALL, 120)


def measured(lake: Lake, server: FakeServer | str, *outcomes: Completion | FailedRequest) -> dict[str, Any] | None:
    url = server if isinstance(server, str) else server.base_url
    vllm = VLLMResource(base_url=url)
    with UsageMeter(vllm, lake, HARDWARE) as meter:
        if outcomes:
            meter.begin(SMALL)
        for outcome in outcomes:
            if isinstance(outcome, FailedRequest):
                meter.failed(outcome)
            else:
                if isinstance(server, FakeServer):
                    vllm.test_request()
                meter.answered(outcome)
    rows = lake.read(USAGE.name, schema=USAGE.schema).to_pylist()
    return rows[-1] if rows else None


def test_tokens_and_requests_are_those_of_our_own_answers(lake: Lake, fake_server: FakeServer) -> None:
    row = measured(lake, fake_server, answer("a"), answer("b"), failure("c"))
    assert row is not None
    assert (row["requests"], row["model"], row["hardware"]) == (3, SMALL.name, "2xH100-SXM")
    assert (row["prompt_tokens"], row["cached_prompt_tokens"], row["completion_tokens"]) == (200, 40, 80)
    assert row["base_urls"] == fake_server.base_url
    assert row["tokens_per_second"] == pytest.approx(80 / row["wall_seconds"])
    assert row["mean_in_flight"] == pytest.approx(4.0 / row["wall_seconds"])


def test_a_server_that_counts_its_work_is_believed(lake: Lake) -> None:
    with FakeServer(models=[SMALL], flops_per_token=10**9) as server:
        row = measured(lake, server, answer("a"))
    assert row is not None
    assert row["utilization_source"] == "server"
    # The fake moves a byte for each FLOP, so their shares are to each other as the peaks are.
    assert row["mbu"] / row["mfu"] == pytest.approx(989e12 / 3.35e12)
    assert row["mfu"] > 0


def test_a_server_that_does_not_is_measured_by_our_tokens(lake: Lake) -> None:
    with FakeServer(models=[SMALL]) as server:
        row = measured(lake, server, answer("a"))
    assert row is not None
    assert row["utilization_source"] == "computed"
    assert row["mfu"] > 0 < row["mbu"]


def test_a_server_that_is_gone_leaves_the_measurement_of_the_answers(lake: Lake) -> None:
    row = measured(lake, "http://127.0.0.1:9/v1", answer("a"))
    assert row is not None
    assert (row["requests"], row["utilization_source"]) == (1, "computed")


def test_failures_are_kept_for_the_bill_with_what_was_planned(lake: Lake, fake_server: FakeServer) -> None:
    measured(lake, fake_server, failure("a"), failure("b"))
    kept = lake.read(FAILURES).sort_by("request_key").to_pylist()
    assert [row["request_key"] for row in kept] == ["a", "b"]
    assert (kept[0]["strategy"], kept[0]["document_id"], kept[0]["segment_index"]) == ("distill", "d1", 3)
    assert (kept[0]["error_kind"], kept[0]["detail"]) == ("timeout", "No answer in time")
    assert (kept[0]["model"], kept[0]["estimated_prompt_tokens"]) == (SMALL.name, 120)


def test_a_purchase_that_breaks_off_is_written_down_as_well(lake: Lake, fake_server: FakeServer) -> None:
    meter = UsageMeter(VLLMResource(base_url=fake_server.base_url), lake, HARDWARE)

    def break_off() -> None:
        with meter:
            meter.begin(SMALL)
            meter.answered(answer("a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert lake.read(USAGE.name).num_rows == 1


def test_a_purchase_that_sent_nothing_leaves_no_trace(lake: Lake, fake_server: FakeServer) -> None:
    assert measured(lake, fake_server) is None
    assert lake.snapshot_id() is None


def test_a_lake_that_takes_no_rows_does_not_end_the_run(fake_server: FakeServer, monkeypatch, lake: Lake) -> None:
    def refuse(*_: object) -> None:
        raise LakeError("The disk is full.", "Make room.")

    monkeypatch.setattr(Lake, "append", refuse)
    assert measured(lake, fake_server, answer("a"), failure("b")) is None
