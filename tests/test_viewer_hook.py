"""ns-viewer listens on this machine only, unless it is told otherwise."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.viewer_hook import VIEWER, extend_viewer


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[str]]:
    """A stand-in for ns-viewer's module, and the hosts with which its viewer was started."""
    module, hosts = ModuleType(VIEWER), []
    module.__dict__["_start_viewer"] = lambda config, pipeline, step: hosts.append(config.viewer.websocket_host)
    module.__dict__["entrypoint"] = lambda: None
    monkeypatch.setitem(sys.modules, VIEWER, module)
    extend_viewer()
    return module, hosts


def config() -> Any:
    """What ns-viewer makes of its options: stock listens everywhere."""
    return SimpleNamespace(viewer=SimpleNamespace(websocket_host="0.0.0.0"))


OURS = CondensePipeline.__new__(CondensePipeline)


@pytest.mark.parametrize(
    ("arguments", "pipeline", "host"),
    [
        ([], OURS, "127.0.0.1"),
        (["--viewer.websocket-port", "7007"], OURS, "127.0.0.1"),
        (["--viewer.websocket-host", "0.0.0.0"], OURS, "0.0.0.0"),
        (["--viewer.websocket_host=0.0.0.0"], OURS, "0.0.0.0"),
        ([], object(), "0.0.0.0"),
    ],
)
def test_our_methods_are_kept_to_this_machine_unless_a_host_is_given(
    started: tuple[ModuleType, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    pipeline: object,
    host: str,
) -> None:
    module, hosts = started
    monkeypatch.setattr(sys, "argv", ["ns-viewer", *arguments])
    for _ in range(2):
        assert module.entrypoint is vars(module)["entrypoint"]
        vars(module)["_start_viewer"](config(), pipeline, 0)
    assert hosts == [host, host]


def test_another_shape_of_ns_viewer_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType(VIEWER)
    module.__dict__["entrypoint"] = lambda: None
    monkeypatch.setitem(sys.modules, VIEWER, module)
    extend_viewer()
    assert module.entrypoint is vars(module)["entrypoint"]
    assert "pass --viewer.websocket-host 127.0.0.1" in " ".join(capsys.readouterr().out.split())
