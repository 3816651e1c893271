"""How features are coloured, and what is shown over colour."""

from __future__ import annotations

from typing import Any

import torch
import viser
from nerfstudio.cameras.cameras import Cameras

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.ray_answers import look_along
from condense_nerfstudio.scene.surface import LEAST_ACCUMULATION
from condense_nerfstudio.viewer.lens import fitted
from condense_nerfstudio.viewer.part import Part, as_share
from condense_nerfstudio.viewer.work import Progress

FIT_RAYS = 4000
"""Rays of a view to which the colours of features are fitted."""

OVERLAYS = ("answers", "similarity", "nothing")


class Colors(Part):
    """The overlay over RGB, and the principal components that colour features.

    The projection to colours is stored with the scene and stays the same while the camera moves; it changes on request.

    Args:
        session: of the viewer.
    """

    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""
        gui, lens = server.gui, self.session.lens
        self.overlay = gui.add_dropdown("Overlay on RGB", OVERLAYS, lens.overlay, hint="What the output rgb shows, too")
        self.opacity = gui.add_slider("Opacity", 0.0, 1.0, 0.05, lens.opacity, hint="Of the overlay")
        self.refit = gui.add_button("Refit colours to this view", disabled=not self.session.model.heads)
        self.restore = gui.add_button("Restore colours", visible=False)
        self.message = gui.add_markdown("")
        self.overlay.on_update(self._on_overlay)
        self.opacity.on_update(self._on_opacity)
        self.refit.on_click(self._on_refit)
        self.restore.on_click(self._on_restore)

    def _on_overlay(self, event: Any) -> None:
        if self.overlay.value in OVERLAYS and self.overlay.value != self.session.lens.overlay:
            self.session.show(overlay=self.overlay.value)

    def follow(self) -> None:
        """Shows the overlay that a question has switched to."""
        if self.overlay.value != self.session.lens.overlay:
            self.overlay.value = self.session.lens.overlay

    def _on_opacity(self, event: Any) -> None:
        self.session.show(opacity=as_share(self.opacity.value))

    def _on_refit(self, event: Any) -> None:
        camera = self.session.camera_of(event.client, FIT_RAYS)
        self.start("refit", lambda progress: self.fit(camera, progress))

    def fit(self, camera: Cameras, progress: Progress) -> None:
        """Fits the colours of every teacher's features to what a camera, of shape (1,), sees of the scene."""
        progress("Looking at this view", 0.0)
        answers = look_along(self.session.model, camera.generate_rays(0).flatten(), features=True)
        seen = answers.accumulation > LEAST_ACCUMULATION
        if int(seen.sum()) < 2:
            raise UserError("This view shows no surface: turn to the scene before you refit colours to it.")
        with torch.no_grad():
            projections = {name: fitted(values[seen]) for name, values in answers.features.items()}
        self.message.content = ""
        self.restore.visible = True
        self.session.show(projections=projections)

    def _on_restore(self, event: Any) -> None:
        self.restore.visible = False
        self.session.show(projections={})
