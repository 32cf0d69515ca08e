"""`synth advise` and the report give the same advice, from the measured rates and the requests that were made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from resources.lake import Lake
from synth_assets.cli import main
from synth_assets.core.hardware import Hardware
from synth_assets.core.serving_advice import ServerSettings
from synth_assets.reporting.page import write_report
from synth_assets.reporting.serving_data import serving_advice

HARDWARE = "4xH100-SXM"
MODEL = "SmolLM2-135M-Instruct"


@pytest.fixture
def home(make_lake: Callable[..., Lake], tmp_path: Path) -> Path:
    """A home whose server was measured: 34 tokens/s alone, and still growing at 64 in flight."""
    (tmp_path / "lake").mkdir()
    make_lake(tmp_path / "lake", documents=3, rewriter=MODEL).close()
    return tmp_path


def synth(home: Path, *arguments: str) -> Result:
    settings = {"SYNTH_HOME": str(home), "CURATOR_OUTPUT_DIR": str(home), "COST_HARDWARE": HARDWARE}
    return CliRunner().invoke(main, list(arguments), env=settings)


def test_advice_is_one_object_of_figures_and_sentences(home: Path) -> None:
    done = synth(home, "advise", "--json")
    assert done.exit_code == 0, done.output
    advice = json.loads(done.stdout)
    assert (advice["concurrency"], advice["has_leveled_off"]) == (64, False)
    assert advice["layout"]["replicas"] * advice["layout"]["tensor_parallel"] == 4
    assert len(advice["sentences"]) == 3


def test_the_report_has_the_sentences_that_the_command_prints(home: Path) -> None:
    printed = synth(home, "advise").stdout
    lake = Lake(f"sqlite:{home}/lake/catalog.sqlite", f"{home}/lake/data")
    page = write_report(lake, home, HARDWARE, {}).read_text()
    advice = serving_advice(lake, Hardware.parse(HARDWARE), ServerSettings(64))
    assert advice is not None
    for sentence in advice.sentences:
        assert f"- {sentence}\n" in printed
        assert sentence.replace("`", "") in " ".join(re.sub(r"</?code>", "", page).replace("&#39;", "'").split())


def test_advice_for_a_model_whose_own_figures_are_not_known_says_whose_they_are(
    make_lake: Callable[..., Lake], tmp_path: Path
) -> None:
    lake = make_lake(tmp_path, documents=3, rewriter="mystery-7b")
    advice = serving_advice(lake, Hardware.parse(HARDWARE), ServerSettings(64))
    assert advice is not None
    assert "mystery-7b" in advice.sentences[0]
    assert f"costs are those of {advice.model}" in advice.sentences[0]


def test_a_server_that_was_never_measured_is_to_be_measured_first(tmp_path: Path) -> None:
    done = synth(tmp_path, "advise")
    assert done.exit_code == 1
    assert "has not been measured yet. Run `synth baseline` first." in " ".join(done.output.split())
