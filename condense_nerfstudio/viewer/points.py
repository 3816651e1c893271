"""The scene's key points in the viewer's 3D scene, and what is known of each."""

from __future__ import annotations

import numpy as np
import torch
import viser
from jaxtyping import Float, Int, UInt8
from nerfstudio.utils import colormaps

from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.viewer.click import Ray
from condense_nerfstudio.viewer.part import Part
from condense_nerfstudio.viewer.session import Session, escaped, numbers
from condense_nerfstudio.viewer.work import Progress

NODE = "/condense/key_points"
MOST_POINTS = 2048
FIRST_POINTS = 512
PICK_ANGLE = np.radians(1.0)
"""A click this close to a key point, seen from the camera, is meant for it."""
POINT_SIZE = 0.002
"""Share of the key points' extent. They are drawn this far before their surface: rendered depth would hide half."""


class Points(Part):
    """Finds the scene's key points on request, shows the best of them, and describes the one that is clicked.

    Args:
        session: of the viewer.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._scene: CondensedScene | None = None

    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""
        self._server, gui, model = server, server.gui, self.session.model
        has_head = model.keypoints is not None
        self.find = gui.add_button("Find key points", disabled=not has_head)
        self.shown = gui.add_checkbox("Show", True, visible=False)
        self.count = gui.add_slider("Best", 1, MOST_POINTS, 1, FIRST_POINTS, visible=False, hint="How many, by score")
        colorings = ["score", "RGB", *(f"{name} features" for name in model.heads)]
        if self.session.answers_text:
            colorings.append("relevancy")
        self.coloring = gui.add_dropdown("Colour by", colorings, "score", visible=False)
        self.message = gui.add_markdown(
            "" if has_head else escaped("The scene has no key-point head: train it with a detector and a teacher.")
        )
        self.find.on_click(lambda event: self.start("key points", self._condense))
        for control in (self.shown, self.count, self.coloring):
            control.on_update(lambda event: self.draw())

    def _condense(self, progress: Progress) -> None:
        scene = condensed(self.session, MOST_POINTS, progress)
        self._scene = scene
        self.message.content = f"{len(scene.points)} key points. With *Click to ask*, click on one."
        for control in (self.shown, self.count, self.coloring):
            control.visible = True
        self.draw()

    def draw(self) -> None:
        """Draws the chosen points, in one call."""
        if self._scene is None:
            return
        best, points = self._best(), self._scene.points
        positions = self.session.to_viser(points.positions)
        size = POINT_SIZE * extent(positions)
        turn = self.session.world_to_nerf[:3, :3]
        normals = points.normals[best] @ (turn / np.cbrt(np.linalg.det(turn))).T
        self._server.scene.add_point_cloud(
            NODE,
            (positions[best] + size * normals).astype(np.float32),
            self._colors(best),
            point_size=size,
            point_shape="circle",
            visible=self.shown.value,
        )

    def follow(self) -> None:
        """Colours the points anew where their colours depend on what is asked."""
        if self._scene is not None and self.coloring.value not in ("RGB", "score"):
            self.draw()

    def _best(self) -> Int[np.ndarray, " n"]:
        """Indices of the points to show: those with the highest scores."""
        assert self._scene is not None
        count = min(max(int(self.count.value), 1), MOST_POINTS)
        return np.argsort(-self._scene.points.scores, kind="stable")[:count]

    @torch.no_grad()
    def _colors(self, best: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 3"]:
        """Of the points to show, by what is chosen."""
        assert self._scene is not None
        points, coloring, lens = self._scene.points, self.coloring.value, self.session.lens
        if coloring == "score":
            ranks = np.linspace(1.0, 0.0, len(best))  # the best come first
            return _as_bytes(colormaps.apply_float_colormap(torch.from_numpy(ranks).float()[:, None], "turbo"))
        if coloring == "relevancy" and lens.phrases and self.session.model.text is not None:
            text = self.session.model.text
            scores = text.relevancy(self._features(text.teacher_name, best), lens.phrases, lens.negatives).amax(dim=-1)
            return _as_bytes(colormaps.apply_float_colormap(scores[:, None].cpu(), "turbo"))
        name = coloring.removesuffix(" features")
        if name in points.features:
            head = self.session.model.head(name)
            centred = head.center(self._features(name, best))
            own = lens.projections.get(name)
            return _as_bytes(head.colors(centred) if own is None else own.colors(centred))
        return points.colors[best]

    def _features(self, teacher: str, best: Int[np.ndarray, " n"]) -> Float[torch.Tensor, "n c"]:
        assert self._scene is not None
        features = torch.from_numpy(self._scene.points.features[teacher][best].astype(np.float32))
        return features.to(self.session.model.device)

    def pick(self, ray: Ray) -> None:
        """Describes the key point on show that a ray of viser's frame passes most closely, if it is meant."""
        if self._scene is None or not self.shown.value:
            return
        best = self._best()
        index = nearest_to_ray(self.session.to_viser(self._scene.points.positions[best]), *map(np.array, ray))
        if index is not None:
            self.message.content = self.describe(int(best[index]))

    def describe(self, index: int) -> str:
        """A key point's decoration in Markdown."""
        assert self._scene is not None
        points = self._scene.points
        red, green, blue = points.colors[index].tolist()
        rows = {
            "Key point": f"{index}",
            "Position": numbers(points.positions[index]),
            "Normal": numbers(points.normals[index]),
            "Colour": f"{red}, {green}, {blue}",
            "Scale": f"{points.scales[index]:.3g}",
            "Score": f"{points.scores[index]:.2f}",
            "Seen by": f"{points.views[index]} photographs",
            "Descriptor": f"{self._scene.detector.name}, {points.descriptors.shape[1]} numbers",
        }
        rows.update({f"{card.name} ({card.role})": f"{card.dim} numbers" for card in self._scene.teachers})
        return "\n\n".join(f"**{escaped(name)}**: {escaped(value)}" for name, value in rows.items())


def condensed(session: Session, count: int, progress: Progress) -> CondensedScene:
    """Condenses the scene on show as it is now.

    Args:
        session: of the viewer.
        count: how many key points to keep at most.
        progress: told of the progress.

    Raises:
        UserError: no points were found.
    """
    from condense_nerfstudio.scene.condensation import condense_scene  # late: most viewers never need its libraries
    from condense_nerfstudio.scene.posed_scene import TrainedScene

    progress("Detections", 0.0)
    return condense_scene(TrainedScene(session.pipeline), count, "viewer", progress=progress)


def nearest_to_ray(
    positions: Float[np.ndarray, "n 3"], origin: Float[np.ndarray, " 3"], direction: Float[np.ndarray, " 3"]
) -> int | None:
    """The point that a ray is meant for: of those within PICK_ANGLE of it the nearest to the eye; None without any.

    Args:
        positions: of points.
        origin: of the ray, in the same frame.
        direction: of the ray, of any length.
    """
    offsets = positions - origin
    distances = np.linalg.norm(offsets, axis=1).clip(1e-9)
    cosines = offsets @ (direction / np.linalg.norm(direction)) / distances
    near = np.flatnonzero(cosines > np.cos(PICK_ANGLE))
    return int(near[distances[near].argmin()]) if len(near) else None


def _as_bytes(colors: torch.Tensor) -> UInt8[np.ndarray, "n 3"]:
    return (colors.clamp(0, 1) * 255).round().byte().cpu().numpy()
