"""Starts processes that work on a repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def worker(*arguments: object) -> subprocess.Popen[str]:
    """A process of its own; see worker.py."""
    command = [sys.executable, str(HERE / "worker.py"), *map(str, arguments)]
    path = os.pathsep.join((str(HERE.parent / "keypoints"), str(HERE.parents[1])))  # of this checkout
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **piped)
