"""The commands as a user types them."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
INSTALLED = any(
    point.module == "condense_nerfstudio.plugin"
    for point in importlib.metadata.entry_points(group="nerfstudio.method_configs")
)
needs_installation = pytest.mark.skipif(not INSTALLED, reason="condense_nerfstudio is not installed: make setup")

SMALL = [
    "--vis", "tensorboard", "--experiment-name", "demo", "--timestamp", "run", "--max-num-iterations", "20",
    "--pipeline.datamanager.train-num-rays-per-batch", "256", "--pipeline.model.feature-start", "5",
    "--pipeline.datamanager.max-image-side", "64",
]  # fmt: skip


def run(*command: object, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command without a network and checks its exit status."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", "XDG_CACHE_HOME": str(cwd / "cache")}
    words = [str(word) for word in command]
    words[0] = str(BIN / words[0])
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
