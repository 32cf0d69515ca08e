"""`synth run` as a process to be killed, over a home of its own.

In: its environment and its reference model. Out: when it is killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunCommand:
    """How to start `synth run`; its output goes to `home/../run.log`."""

    home: Path
    corpus: Path
    base_url: str
    in_flight: int
    reference: Path
    judge_share: float = 0.1

    @property
    def log_file(self) -> Path:
        """What all attempts have printed."""
        return self.home.parent / "run.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Start one attempt."""
        environment = {
            **os.environ,
            "SYNTH_HOME": str(self.home),
            "CURATOR_OUTPUT_DIR": str(self.corpus),
            "VLLM_BASE_URL": self.base_url,
            "VLLM_MAX_PARALLEL_REQUESTS": str(self.in_flight),
            "PERPLEXITY_MODEL": str(self.reference),
            "JUDGE_SHARE": str(self.judge_share),
            "HF_HUB_OFFLINE": "1",
        }
        synth = Path(sys.executable).with_name("synth")
        with self.log_file.open("ab") as log:
            return subprocess.Popen([str(synth), "run"], env=environment, stdout=log, stderr=log)
