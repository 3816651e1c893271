"""Keeps ns-viewer to this machine for our methods.

ns-viewer listens on all interfaces, without a password, whatever the training's configuration says.
"""

from __future__ import annotations

import re
import sys
from functools import wraps
from typing import Any

from condense_nerfstudio.entrypoint_hook import change_before_start

VIEWER = "nerfstudio.scripts.viewer.run_viewer"
HOST = "127.0.0.1"

_FLAG = re.compile(r"--viewer[.]websocket[-_]host(=.*)?")


def extend_viewer() -> None:
    """Has ns-viewer listen on 127.0.0.1 for our methods, unless it is told a host."""
    change_before_start(
        VIEWER, listen_locally, "ns-viewer may listen on all interfaces; pass --viewer.websocket-host 127.0.0.1"
    )


def listen_locally(module: dict[str, Any]) -> None:
    """Wraps the function that starts the viewer.

    Args:
        module: the names of ns-viewer's module.
    """
    start = module["_start_viewer"]
    if hasattr(start, "__wrapped__"):
        return

    @wraps(start)
    def start_viewer(config: Any, pipeline: Any, step: int) -> None:
        """Starts the viewer."""
        from condense_nerfstudio.scene.pipeline import CondensePipeline

        if isinstance(pipeline, CondensePipeline) and not any(map(_FLAG.fullmatch, sys.argv)):
            config.viewer.websocket_host = HOST
        start(config, pipeline, step)

    module["_start_viewer"] = start_viewer
