"""Settings: defaults, what is understood, and what is refused by name, value and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import SettingError
from synth_assets.project import build_project
from synth_assets.settings import SAMPLE_CORPUS, Settings


def read(**environment: str) -> Settings:
    return Settings.from_environment({"UNRELATED": "1", **environment})


def test_without_any_setting_everything_has_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = read()
    home = tmp_path / ".synth"
    assert settings.home == home
    assert settings.curator_output_dir == SAMPLE_CORPUS
    assert settings.lake_catalog == f"sqlite:{home}/lake/catalog.sqlite"
    assert settings.lake_data_path == f"{home}/lake/data"
    assert settings.vllm_base_url == settings.judge_base_url == "http://127.0.0.1:8000/v1"
    assert settings.vllm_model is settings.judge_model is settings.perplexity_model is None
    assert settings.max_parallel_requests == 64
    assert settings.judge_share == 1.0
    assert settings.hardware.name == "4xH100-SXM"
    assert settings.models_dir == Path("~/.cache/synth_assets/models").expanduser()


def test_the_sample_corpus_is_a_folder_of_the_package():
    assert sorted(path.suffix for path in SAMPLE_CORPUS.glob("*.jsonl*"))


def test_folders_of_the_home_follow_it(tmp_path):
    settings = read(SYNTH_HOME=str(tmp_path))
    for folder in (settings.reports_dir, settings.exports_dir, settings.dagster_home):
        assert folder.parent == tmp_path


def test_paths_are_made_absolute_and_know_the_users_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    settings = read(SYNTH_HOME="work", CURATOR_OUTPUT_DIR="~/corpus", SYNTH_MODELS="../models")
    assert settings.home == tmp_path / "work"
    assert settings.curator_output_dir == tmp_path / "user" / "corpus"
    assert settings.models_dir == tmp_path.parent / "models"


def test_an_empty_setting_counts_as_none():
    assert read(VLLM_MODEL="  ", VLLM_BASE_URL="", COST_GPU_HOUR_USD="") == read()


def test_the_judge_is_the_rephraser_unless_it_is_named():
    shared = read(VLLM_BASE_URL="http://one:1/v1", VLLM_MODEL="small")
    assert (shared.judge_base_url, shared.judge_model) == ("http://one:1/v1", "small")
    own = read(VLLM_MODEL="small", JUDGE_BASE_URL="https://two/v1", JUDGE_MODEL="large")
    assert (own.judge_base_url, own.judge_model) == ("https://two/v1", "large")


def test_several_servers_are_separated_by_commas():
    settings = read(VLLM_BASE_URL=" http://one:1/v1/ , http://two:2/v1")
    assert settings.vllm_base_url == "http://one:1/v1,http://two:2/v1"


def test_requests_in_flight_are_those_of_all_servers():
    settings = read(
        VLLM_BASE_URL="http://a/v1,http://b/v1", JUDGE_BASE_URL="http://c/v1", VLLM_MAX_PARALLEL_REQUESTS="8"
    )
    assert (settings.requests_in_flight, settings.judge_requests_in_flight) == (16, 8)


def test_the_price_of_a_gpu_hour_replaces_the_catalogues():
    assert read(COST_GPU_HOUR_USD="1.25").hardware.usd_per_gpu_hour == 1.25
    assert read(COST_GPU_HOUR_USD="0").hardware.usd_per_gpu_hour == 0
    assert read(COST_HARDWARE="2xL40S").hardware.name == "2xL40S"


def test_a_budget_is_none_or_an_amount_from_0_on():
    assert (read().max_usd, read().max_gpu_hours) == (None, None)
    assert (read(MAX_USD="2.5").max_usd, read(MAX_GPU_HOURS="0").max_gpu_hours) == (2.5, 0.0)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("VLLM_BASE_URL", "127.0.0.1:8000", "http://host:port/v1"),
        ("VLLM_BASE_URL", "http://one/v1,two", "http://host:port/v1"),
        ("VLLM_BASE_URL", "ftp://one/v1", "http://host:port/v1"),
        ("JUDGE_BASE_URL", "http://", "http://host:port/v1"),
        ("VLLM_MAX_PARALLEL_REQUESTS", "0", "at least 1"),
        ("VLLM_MAX_PARALLEL_REQUESTS", "-3", "at least 1"),
        ("VLLM_MAX_PARALLEL_REQUESTS", "6.5", "at least 1"),
        ("KEEP_MARKDOWN", "maybe", "1 for yes or 0 for no"),
        ("JUDGE_SHARE", "1.1", "0 to 1"),
        ("JUDGE_SHARE", "nan", "0 to 1"),
        ("JUDGE_SHARE", "half", "0 to 1"),
        ("COST_GPU_HOUR_USD", "cheap", "dollars"),
        ("COST_GPU_HOUR_USD", "-1", "dollars"),
        ("COST_GPU_HOUR_USD", "nan", "dollars"),
        ("COST_GPU_HOUR_USD", "inf", "dollars"),
        ("MAX_USD", "-1", "dollars"),
        ("MAX_GPU_HOURS", "inf", "GPU-hours"),
        ("COST_HARDWARE", "4xAbacus", "H100-SXM"),
        ("COST_HARDWARE", "0xH100-SXM", "H100-SXM"),
        ("LAKE_CATALOG", "mysql:lake", "postgres:"),
        ("LAKE_CATALOG", "/lake/catalog.sqlite", "sqlite:"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_name_value_and_what_is_accepted(name, value, accepted):
    with pytest.raises(SettingError) as caught:
        read(**{name: value})
    for part in (name, value, accepted):
        assert part in str(caught.value)


@given(value=st.text(max_size=20).filter(lambda text: text.strip()))
def test_any_text_for_a_number_is_either_understood_or_refused_by_name(value):
    for name in ("VLLM_MAX_PARALLEL_REQUESTS", "JUDGE_SHARE", "COST_GPU_HOUR_USD"):
        try:
            settings = read(**{name: value})
        except SettingError as error:
            assert name in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert settings.max_parallel_requests >= 1
            assert 0 <= settings.judge_share <= 1
            assert 0 <= settings.hardware.usd_per_gpu_hour < float("inf")


@pytest.mark.parametrize(
    "address", ["s3://bucket/prefix", "gs://bucket", "abfs://files@account.dfs.core.windows.net/a"]
)
def test_an_object_store_is_kept_as_its_address(address):
    assert read(CURATOR_OUTPUT_DIR=f"{address}/").curator_output_dir == address


@pytest.mark.parametrize("address", ["ftp://host/corpus", "file:///corpus", "s3:///corpus", "s3://[corpus"])
def test_an_address_that_is_no_object_store_is_refused_with_those_that_are(address):
    with pytest.raises(SettingError, match=r"CURATOR_OUTPUT_DIR .*s3://"):
        read(CURATOR_OUTPUT_DIR=address)


@pytest.mark.parametrize(
    "address", ["s3://id:hidden@bucket/a", "s3://bucket/a?secret_key=hidden", "s3://hidden@bucket"]
)
def test_credentials_in_an_address_are_refused_and_not_repeated(address):
    with pytest.raises(SettingError, match="AWS_ACCESS_KEY_ID") as caught:
        read(CURATOR_OUTPUT_DIR=address)
    assert "hidden" not in str(caught.value)


def test_curators_asset_is_none_or_a_key():
    assert read().curator_asset is None
    assert read(CURATOR_ASSET="curator/deduplicated").curator_asset == "curator/deduplicated"
    for value in ("curator//deduplicated", "a b", "/a"):
        with pytest.raises(SettingError, match="CURATOR_ASSET"):
            read(CURATOR_ASSET=value)


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("OFF", False), ("", False)])
def test_a_switch_is_on_or_off(value, expected):
    assert Settings.from_environment({"KEEP_MARKDOWN": value, "HOME": "/"}).keeps_markdown is expected


def test_a_secret_is_no_part_of_the_settings():
    assert "secret" not in repr(read(VLLM_API_KEY="secret", JUDGE_API_KEY="secret"))


def test_another_judge_server_is_never_given_the_rephrasers_key(monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_API_KEY", "the-rephrasers-key")
    environment = {"SYNTH_HOME": str(tmp_path)}
    same = build_project(Settings.from_environment(environment))
    assert same.resources["judge_vllm"].api_key() == "the-rephrasers-key"
    other = build_project(Settings.from_environment({**environment, "JUDGE_BASE_URL": "http://127.0.0.1:9/v1"}))
    assert other.resources["vllm"].api_key() == "the-rephrasers-key"
    assert other.resources["judge_vllm"].api_key() is None


def test_evaluation_sets_are_a_folder_and_its_run_length_is_8_to_13(tmp_path):
    assert (read().evaluation_sets, read().decontamination_ngram) == (None, 13)
    assert read(EVALUATION_SETS=str(tmp_path), DECONTAMINATION_NGRAM="8").decontamination_ngram == 8
    (tmp_path / "file").touch()
    for wrong, what in ((tmp_path / "none", "does not exist"), (tmp_path / "file", "is a file, not a folder")):
        with pytest.raises(SettingError, match=f"EVALUATION_SETS is .*, which {what}"):
            read(EVALUATION_SETS=str(wrong))
    for value in ("7", "14", "many"):
        with pytest.raises(SettingError, match=r"DECONTAMINATION_NGRAM is .* from 8 to 13"):
            read(DECONTAMINATION_NGRAM=value)
