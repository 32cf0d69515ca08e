"""The clients, and one measurement of one of them: a process with the client's own interpreter.

In: starting, waiting, ending, and checking that all requests came and all answers are there. Out: the programs
themselves, beside this file, and what the figures mean (`peers.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.project import stats

from peers.exchange import WARM_UP_REQUESTS, Options, Result

PROGRAMS = Path(__file__).parent
BENCHMARKS = PROGRAMS.parent
ENVIRONMENTS = BENCHMARKS.parent / ".venv-peers"
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Client:
    """One client: its program in this folder, and the environment it runs in."""

    name: str
    program: str
    variant: str = ""
    environment: str = ""
    """Name of a folder in `.venv-peers`; without one it runs in the project's own environment."""
    is_library: bool = True
    """False where the client is held beside a library, and is none itself: it keeps nothing."""
    extra_requests: int = 0
    """Requests that it sends on its own in each call, before those that it was given."""

    @property
    def interpreter(self) -> Path:
        """The Python it runs under."""
        return ENVIRONMENTS / self.environment / "bin" / "python" if self.environment else Path(sys.executable)


BARE = Client("AsyncOpenAI over aiohttp (the bare client)", "async_openai.py", is_library=False)
CLIENTS = (
    BARE,
    Client("AsyncOpenAI, its default transport", "async_openai.py", "default transport", is_library=False),
    Client("Data Designer 0.9.6, custom async column", "data_designer_columns.py", "custom"),
    Client("Data Designer 0.9.6, LLM text column", "data_designer_columns.py", "text"),
    Client("datatrove 0.10.1", "datatrove_runner.py", environment="datatrove"),
    # It asks the server for its rate limits with a request that holds no message.
    Client("Bespoke Curator 0.1.31", "curator_llm.py", environment="bespoke-curator", extra_requests=1),
    Client("distilabel 1.5.3", "distilabel_pipeline.py", environment="distilabel"),
)


class PeerFailureError(Exception):
    """A client gave no figure; the message says why."""


def measure(client: Client, options: Options) -> float:
    """Seconds of the client's whole call. Raises PeerFailureError."""
    if not client.interpreter.exists():
        raise PeerFailureError(f"{client.interpreter} is missing: run `make bench-peers`")
    stats(options.address)
    result = _run(client, options)
    wanted = len(options.requests())
    # Two calls: a warm-up, and the one that is measured.
    seen = stats(options.address)["requests"] - WARM_UP_REQUESTS - 2 * client.extra_requests
    if seen != wanted:
        raise PeerFailureError(f"the server saw {seen:.0f} requests, {wanted} were asked for")
    if result.answers != wanted:
        raise PeerFailureError(f"it gave {result.answers} answers to {wanted} requests")
    return result.seconds


def _run(client: Client, options: Options) -> Result:
    """Run the program to its end, or for LONGEST_SECONDS, and end what it started."""
    process = subprocess.Popen(
        [client.interpreter, PROGRAMS / client.program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(options.folder),
        cwd=options.folder,
        # A process group of its own: distilabel starts processes, which must not outlive it.
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(json.dumps(asdict(options)) + "\n", LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise PeerFailureError(f"it did not end within {LONGEST_SECONDS:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        last = errors.strip().splitlines() or ["nothing on standard error"]
        raise PeerFailureError(f"it ended with status {process.returncode}: {last[-1].strip()}")
    return Result(**json.loads(output.strip().splitlines()[-1]))


def _environment(folder: str) -> dict[str, str]:
    """No telemetry, nothing from the internet, nothing written outside `folder`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(BENCHMARKS),
        "HOME": folder,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "NEMO_TELEMETRY_ENABLED": "false",
        "TELEMETRY_ENABLED": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "CURATOR_DISABLE_CACHE": "1",
        # Its live display draws for nobody.
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "NO_PROXY": "127.0.0.1",
    }
