"""What the parts of the viewer's panel share: the scene, the questions on show, and work beside the viewer."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.utils import get_camera
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO
from nerfstudio.viewer.viewer_elements import ViewerControl
from nerfstudio.viewer_legacy.server.viewer_utils import IOChangeException
from viser import ClientHandle

from condense_nerfstudio.scene.lens import Lens
from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.scene.world_frame import to_nerf, to_world
from condense_nerfstudio.viewer.lens import ViewerLens
from condense_nerfstudio.viewer.work import Progress, Work

if TYPE_CHECKING:
    from nerfstudio.viewer.viewer import Viewer

    from condense_nerfstudio.scene.pipeline import CondensePipeline

EXPORT_FOLDER = "viewer_exports"
"""Beside the training's config.yml: the only folder that the viewer writes to."""

PATIENCE, TRAINING_PATIENCE = 0.02, 0.25
"""Seconds that a look at the scene waits before it interrupts the picture under way; a training step takes 0.15."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$&])")


class _Control(ViewerControl):
    """Where nerfstudio hands over its viewer."""

    def __init__(self, on_viewer: Callable[[Viewer], None]) -> None:
        self._on_viewer = on_viewer

    def _setup(self, viewer: Viewer) -> None:
        super()._setup(viewer)
        self._on_viewer(viewer)


class Turn(contextlib.AbstractContextManager[None]):
    """The lock of training and pictures, for looks at the scene that a person waits for.

    Args:
        lock: held while a training step is taken or a picture is rendered.
        patience: seconds to wait for it; a training step should be shorter.
        give_way: called where the lock is not free in a moment: on a CPU a sharp picture holds it for seconds.
    """

    def __init__(self, lock: threading.Lock, patience: float, give_way: Callable[[], None]) -> None:
        self._lock = lock
        self._patience = patience
        self._give_way = give_way

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._patience):
            self._give_way()
            self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Session:
    """One scene in one viewer.

    Args:
        pipeline: the scene.
        report: told of the progress of work.
    """

    def __init__(self, pipeline: CondensePipeline, report: Progress) -> None:
        self.pipeline = pipeline
        self.viewer: Viewer | None = None
        """nerfstudio's viewer; None until it is there."""
        self.control = _Control(self._attach)
        self.work = Work(report)
        self.on_show: list[Callable[[], None]] = []
        """Called after the questions have changed."""
        self.lens = ViewerLens()
        self._change = threading.Lock()
        self._postponed = False

    @property
    def model(self) -> CondenseModel:
        """The scene's model."""
        return self.pipeline.model

    @cached_property
    def world_to_nerf(self) -> Float[np.ndarray, "4 4"]:
        """From the data set's frame to the NeRF's; read from the capture once, not at every click."""
        return self.pipeline.datamanager.world_to_nerf()

    @property
    def answers_text(self) -> bool:
        """Whether the scene was trained with a language teacher."""
        return self.model.text is not None and self.model.text.teacher_name in self.model.heads

    def _attach(self, viewer: Viewer) -> None:
        """From now on looks at the scene wait for training steps and views, and views answer the viewer's questions."""
        self.viewer = viewer
        if viewer.train_lock is not None:
            patience = PATIENCE if viewer.trainer is None else TRAINING_PATIENCE
            self.model.lock = Turn(viewer.train_lock, patience, lambda: self.rerender(sharp_only=True))
        self.model.choose_lens = self.choose_lens

    def choose_lens(self) -> Lens | None:
        """The viewer's questions for the viewer's pictures; what a training evaluates stays without them.

        Raises:
            IOChangeException: the picture is a sharp one, and somebody waits for an answer: it comes after that.
        """
        eye = threading.current_thread()
        if not isinstance(eye, RenderStateMachine):
            return None
        if eye.state == "high" and self.work.busy:
            self._postponed = True
            raise IOChangeException
        return self.lens

    def sharpen(self) -> None:
        """Has the sharp pictures rendered that waited for an answer."""
        if self._postponed:
            self._postponed = False
            self.rerender()

    def show(self, **changes: Any) -> None:
        """Changes questions of the lens and has all browsers' pictures rendered anew."""
        with self._change:
            self.lens = replace(self.lens, **changes)
        self.rerender()
        for listener in self.on_show:
            listener()

    def rerender(self, sharp_only: bool = False) -> None:
        """Interrupts what is being rendered and starts again.

        nerfstudio does so after a control's callback, but waits for the picture under way before: on a CPU, seconds.

        Args:
            sharp_only: whether to leave previews, which take moments, as they are.
        """
        viewer = self.viewer
        if viewer is None or not viewer.ready:
            return
        for number, client in viewer.viser_server.get_clients().items():
            machine = viewer.render_statemachines.get(number)
            # A browser may leave at any moment.
            with contextlib.suppress(KeyError, AssertionError):
                if machine is not None and (machine.state == "high" or not sharp_only):
                    machine.action(RenderAction("move", viewer.get_camera_state(client)))

    def camera_of(self, client: ClientHandle, rays: int) -> Cameras:
        """A browser's view, of about so many pixels, on the scene's device."""
        assert self.viewer is not None
        state = self.viewer.get_camera_state(client)
        height = max(1, round((rays / state.aspect) ** 0.5))
        return get_camera(state, height, max(1, round(height * state.aspect))).to(self.model.device)

    def ray(self, origin: tuple[float, float, float], direction: tuple[float, float, float]) -> RayBundle:
        """A single ray of the scene, of shape (1,).

        Args:
            origin: in viser's frame.
            direction: of any length.
        """
        start = torch.tensor([origin], dtype=torch.float32) / VISER_NERFSTUDIO_SCALE_RATIO
        along = torch.nn.functional.normalize(torch.tensor([direction], dtype=torch.float32), dim=-1)
        bundle = RayBundle(start, along, torch.full((1, 1), 1e-6), torch.zeros((1, 1), dtype=torch.long))
        return bundle.to(self.model.device)

    def to_world(self, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """From the NeRF's frame to the data set's."""
        return to_world(self.world_to_nerf, positions)

    def to_viser(self, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """From the data set's frame to that of the viewer's 3D scene."""
        return VISER_NERFSTUDIO_SCALE_RATIO * to_nerf(self.world_to_nerf, positions)

    def export_folder(self) -> Path:
        """Where files are saved."""
        assert self.viewer is not None
        return self.viewer.log_filename.parent / EXPORT_FOLDER


def escaped(text: str) -> str:
    """Text as it is, for viser's Markdown, which would take braces and angle brackets for a program."""
    return _SPECIAL.sub(r"\\\1", text)


def numbers(values: Float[np.ndarray, " n"]) -> str:
    """Coordinates for people."""
    return ", ".join(f"{value:.3g}" for value in values)
