from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from resources.errors import ServerError, SettingError
from resources.vllm_presets import (
    PRESETS,
    container_arguments,
    ensure_plugin,
    preset_named,
    process_argv,
    shell_command,
)

HOME = Path("/home/someone")
PYTHON, WEIGHTS = Path("/venv/bin/python"), Path("/models/SmolLM2-135M-Instruct")
CONTAINERS = [name for name, preset in PRESETS.items() if preset.image]
NEMOTRON = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"


def words(name: str, port: int = 8000) -> list[str]:
    """The last command of the rendered text, split as a shell splits it."""
    text = shell_command(PRESETS[name], port, PYTHON, WEIGHTS, HOME)
    command = text[text.rindex("docker run") :] if PRESETS[name].image else text
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_nemotron_is_served_by_the_notebooks_command() -> None:
    text = shell_command(PRESETS["nemotron-3-nano"], 8000, PYTHON, WEIGHTS, HOME)
    assert text == (
        "# The first start downloads the weights (about 63 GB).\n"
        "mkdir -p ~/vllm-plugins\n"
        "curl -fL -o ~/vllm-plugins/nano_v3_reasoning_parser.py "
        f"https://huggingface.co/{NEMOTRON}/resolve/main/nano_v3_reasoning_parser.py\n"
        "docker run --rm \\\n"
        "    --name synth-model-server \\\n"
        "    --label synth-assets.model-server=nemotron-3-nano \\\n"
        "    --gpus all \\\n"
        "    --ipc=host \\\n"
        "    -e HF_TOKEN \\\n"
        "    -e VLLM_API_KEY \\\n"
        "    -v /home/someone/.cache/huggingface:/root/.cache/huggingface \\\n"
        "    -v /home/someone/vllm-plugins:/plugins \\\n"
        "    -p 127.0.0.1:8000:8000 \\\n"
        "    vllm/vllm-openai:v0.14.0 \\\n"
        f"    --model {NEMOTRON} \\\n"
        "    --trust-remote-code \\\n"
        "    --tensor-parallel-size 4 \\\n"
        "    --dtype bfloat16 \\\n"
        "    --port 8000 \\\n"
        "    --reasoning-parser nano_v3 \\\n"
        "    --reasoning-parser-plugin /plugins/nano_v3_reasoning_parser.py \\\n"
        "    --enable-auto-tool-choice \\\n"
        "    --tool-call-parser qwen3_coder"
    )


def test_the_sdk_gets_what_the_shell_command_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    arguments = container_arguments(PRESETS["nemotron-3-nano"], 8055, HOME)
    assert arguments["image"] == "vllm/vllm-openai:v0.14.0"
    assert arguments["command"] == list(PRESETS["nemotron-3-nano"].arguments)
    assert arguments["ports"] == {"8000/tcp": ("127.0.0.1", 8055)}
    assert arguments["volumes"] == {
        "/home/someone/.cache/huggingface": {"bind": "/root/.cache/huggingface", "mode": "rw"},
        "/home/someone/vllm-plugins": {"bind": "/plugins", "mode": "rw"},
    }
    assert arguments["device_requests"][0]["Count"] == -1
    assert arguments["device_requests"][0]["Capabilities"] == [["gpu"]]
    assert arguments["ipc_mode"] == "host"
    assert arguments["environment"] == {"HF_TOKEN": "hf_secret"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_shell_and_sdk_agree(name: str) -> None:
    arguments = container_arguments(PRESETS[name], 8000, HOME)
    command = words(name)
    at = command.index(arguments["image"])
    assert command[at + 1 :] == arguments["command"]
    assert [word for word in command[:at] if word.startswith("/home")] == [
        f"{folder}:{bound['bind']}" for folder, bound in arguments["volumes"].items()
    ]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_published_on_this_machine_only_and_listens_where_that_reaches_it(name: str) -> None:
    command = words(name, 8055)
    assert command[command.index("-p") + 1] == "127.0.0.1:8055:8000"
    # vLLM's image listens everywhere by default, the other two on the container's own loopback.
    assert name == "nemotron-3-nano" or command[command.index("--host") + 1] == "0.0.0.0"


@pytest.mark.parametrize("name", list(PRESETS))
def test_secrets_are_never_printed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_hidden")
    monkeypatch.setenv("VLLM_API_KEY", "key_hidden")
    text = shell_command(PRESETS[name], 8000, PYTHON, WEIGHTS, HOME)
    assert "_hidden" not in text + repr(PRESETS[name])


def test_the_embedded_server_is_bound_to_this_machine_and_runs_what_is_printed() -> None:
    preset = PRESETS["smollm2-cpu"]
    argv = process_argv(preset, PYTHON, WEIGHTS, 8055)
    assert argv[:3] == ["/venv/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert argv[argv.index("--model") + 1] == str(WEIGHTS)
    assert argv[argv.index("--host") + 1] == "127.0.0.1"
    assert argv[argv.index("--port") + 1] == "8055"
    printed = words("smollm2-cpu", 8055)
    assert printed[-len(argv) :] == argv
    assert set(printed[: -len(argv)]) == {f"{name}={value}" for name, value in (preset.environment or {}).items()}


def test_a_missing_plugin_names_its_place_and_the_download(tmp_path: Path) -> None:
    preset = PRESETS["nemotron-3-nano"]
    with pytest.raises(ServerError) as caught:
        ensure_plugin(preset, tmp_path)
    assert str(tmp_path / "vllm-plugins" / "nano_v3_reasoning_parser.py") in caught.value.fact
    assert "curl -fL -o ~/vllm-plugins/nano_v3_reasoning_parser.py https://huggingface.co/" in caught.value.remedy


def test_a_plugin_that_lies_there_is_used_and_an_empty_one_is_not(tmp_path: Path) -> None:
    preset = PRESETS["nemotron-3-nano"]
    path = tmp_path / "vllm-plugins" / "nano_v3_reasoning_parser.py"
    path.parent.mkdir()
    path.touch()
    with pytest.raises(ServerError):
        ensure_plugin(preset, tmp_path)
    path.write_text("class Parser: ...")
    assert ensure_plugin(preset, tmp_path) == path
    assert ensure_plugin(PRESETS["nemotron-3-nano-sglang"], tmp_path) is None


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"'gpt-9'.*smollm2-cpu, nemotron-3-nano, "):
        preset_named("gpt-9")
