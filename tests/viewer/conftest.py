"""A trained scene in nerfstudio's viewer, in this process and without a browser."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.render_state_machine import RenderStateMachine, RenderStates
from nerfstudio.viewer.viewer import Viewer
from nerfstudio.viewer_legacy.server.viewer_utils import IOChangeException
from torch import Tensor

from condense_nerfstudio.scene.load import load_scene
from condense_nerfstudio.viewer.panel import Panel
from condense_nerfstudio.viewer.pipeline import ViewedPipeline

from ..commands import free_port


class Eye(RenderStateMachine):
    """Renders one view as a browser's thread would."""

    def __init__(self, viewer: Viewer, camera: Cameras) -> None:
        super().__init__(viewer, 10.0, None)  # pyright: ignore[reportArgumentType]
        self.camera = camera
        self.outputs: dict[str, Tensor] = {}

    def run(self) -> None:
        """Renders; nothing where it is interrupted."""
        with torch.no_grad(), contextlib.suppress(IOChangeException):
            self.outputs = self.viewer.get_model().get_outputs_for_camera(self.camera)


class Stage:
    """A scene, its panel and its viewer."""

    def __init__(self, pipeline: ViewedPipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self.panel: Panel = pipeline.panel
        config = ViewerConfig(websocket_host="127.0.0.1", websocket_port=free_port())
        self.lock = threading.Lock()
        data = pipeline.datamanager.get_datapath()
        self.viewer = Viewer(config, folder / "training/log.txt", data, pipeline, train_lock=self.lock)

    @property
    def camera(self) -> Cameras:
        """A held-out view's."""
        return self.pipeline.datamanager.eval_dataset.cameras[:1]

    def seen(self, state: RenderStates = "low_static") -> dict[str, Tensor]:
        """What a browser is shown of that view while it is in the given state; nothing where that waits."""
        eye = Eye(self.viewer, self.camera)
        eye.state = state
        eye.start()
        eye.join()
        return eye.outputs

    def idle(self) -> None:
        """Waits until all work is done."""
        time.sleep(0.1)  # viser runs callbacks in threads of its own
        assert self.panel.session.work.wait(60.0)

    def ray_through(self, row: int, column: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """The ray through a pixel of that view, in viser's frame."""
        rays = self.camera.generate_rays(0)[row, column]
        origin, direction = (10.0 * rays.origins).tolist(), (3.0 * rays.directions).tolist()
        return (origin[0], origin[1], origin[2]), (direction[0], direction[1], direction[2])


@pytest.fixture(scope="session")
def staged(longer: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Stage]]:
    """Makes stages, and takes them down at the end."""
    stages: list[Stage] = []

    def make() -> Stage:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(work)
            patch.setenv("XDG_CACHE_HOME", str(work / "cache"))
            pipeline = load_scene(longer)
        assert isinstance(pipeline, ViewedPipeline)
        folder = tmp_path_factory.mktemp("stage")
        (folder / "training").mkdir()
        stages.append(Stage(pipeline, folder))
        return stages[-1]

    yield make
    for stage in stages:
        stage.viewer.viser_server.stop()


@pytest.fixture(autouse=True)
def where_it_was_trained(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training's paths are relative."""
    monkeypatch.chdir(work)


@pytest.fixture(scope="module")
def stage(staged: Callable[[], Stage]) -> Stage:
    """One for all tests of a module."""
    return staged()
