"""The connected region of the scene that answers a phrase: its box, its size, and its points as a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import viser
from jaxtyping import Float, Int

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import make_folder
from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.scene.surface_cloud import SurfaceCloud, sample_surface
from condense_nerfstudio.viewer.lens import MOST_PHRASES
from condense_nerfstudio.viewer.part import Part
from condense_nerfstudio.viewer.session import Session, escaped, numbers
from condense_nerfstudio.viewer.work import Progress

if TYPE_CHECKING:
    from condense_nerfstudio.scene.region import Region

NODE = "/condense/region"
MARK = (255, 210, 60)
POINT_SIZE = 0.004
"""Share of the box's extent."""
SURFACE_RAYS = 20000
"""Rays with which the surface is searched."""

_FILE_NAME = re.compile(r"[\w][\w .()-]{0,99}\.ply")
_CUBE = np.array(list(np.ndindex(2, 2, 2))) - 0.5
_SQUARES = np.array([[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]])
_CUBE_FACES = np.concatenate([_SQUARES[:, [0, 1, 2]], _SQUARES[:, [0, 2, 3]]])
_BAR = 0.006
"""Thickness of the box's edges, as a share of its diagonal."""


class Place(Part):
    """Finds where in space a phrase is answered.

    Args:
        session: of the viewer.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._text = ""
        self._node: viser.FrameHandle | None = None
        self._cloud: tuple[int, SurfaceCloud] | None = None
        self._found: tuple[SurfaceCloud, Float[np.ndarray, "n 3"], Float[np.ndarray, "n 1"]] | None = None

    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""
        self._server, gui = server, server.gui
        able = self.session.answers_text
        self.phrase = gui.add_slider("Of phrase", 1, MOST_PHRASES, 1, 1, disabled=not able)
        self.find = gui.add_button("Find the region", disabled=not able)
        self.message = gui.add_markdown("")
        self.shown = gui.add_checkbox("Show", True, visible=False)
        self.file = gui.add_text("File", "region.ply", visible=False, hint="A name; the folder is the training's own")
        self.save = gui.add_button("Save its points", visible=False)
        self.find.on_click(lambda event: self.start("region", self._search))
        self.save.on_click(lambda event: self.session.work.start("save", self._save, self._refuse_to_save))
        self.shown.on_update(lambda event: self._show())

    def _search(self, progress: Progress) -> None:
        from condense_nerfstudio.scene.places import cloud_relevancy, in_world  # late: they import scipy and plyfile
        from condense_nerfstudio.scene.region import answering_region

        self._forget()
        lens, number = self.session.lens, min(max(int(self.phrase.value), 1), MOST_PHRASES)
        if number > len(lens.phrases):
            raise UserError("There is no such phrase: type one first.")
        phrase = lens.phrases[number - 1]
        cloud = self._surface(progress)
        progress("Connecting", 0.95)
        relevancy = cloud_relevancy(self.session.pipeline, cloud, (phrase,), lens.negatives)
        positions = in_world(self.session.pipeline, cloud)
        region = answering_region(positions, relevancy[:, 0], lens.threshold)
        if region is None:
            raise UserError(f'Nothing in the scene answers "{phrase}" above {lens.threshold:.2f}: lower the threshold.')
        chosen = region.indices
        self._found = (cloud[chosen], positions[chosen], relevancy[chosen])
        self._draw(region, positions[chosen])
        self._text = "\n\n".join(
            (
                f"**{escaped(phrase)}**: {len(chosen)} points, relevancy {region.score:.2f}",
                f"**Centroid**: {numbers(region.centroid)}",
                f"**Size**: {numbers(region.size)}",
                f"**Box**: {numbers(region.box[0])} to {numbers(region.box[1])}",
            )
        )
        self.message.content = self._text
        for control in (self.shown, self.file, self.save):
            control.visible = True

    def _surface(self, progress: Progress) -> SurfaceCloud:
        """The surface's points, looked for once until a training step changes them."""
        step = self.session.model.step
        if self._cloud is None or self._cloud[0] != step:
            progress("Searching the surface", 0.0)
            cloud = sample_surface(
                self.session.pipeline, SURFACE_RAYS, lambda share: progress("Searching the surface", 0.95 * share)
            )
            self._cloud = (step, cloud)
        return self._cloud[1]

    def _draw(self, region: Region, positions: Float[np.ndarray, "n 3"]) -> None:
        """The region's points and its box."""
        scene, session = self._server.scene, self.session
        self._node = scene.add_frame(NODE, show_axes=False, visible=self.shown.value)
        vertices, faces = box_bars(region.box)
        points, bars = session.to_viser(positions), session.to_viser(vertices)
        scene.add_point_cloud(f"{NODE}/points", points.astype(np.float32), MARK, POINT_SIZE * extent(bars))
        scene.add_mesh_simple(f"{NODE}/box", bars, faces, color=MARK, side="double")

    def _show(self) -> None:
        if self._node is not None:
            self._node.visible = self.shown.value

    def _forget(self) -> None:
        """Takes away what was found before."""
        self._found, self._text, self.message.content = None, "", ""
        if self._node is not None:
            self._node.remove()
            self._node = None
        for control in (self.shown, self.file, self.save):
            control.visible = False

    def _save(self, progress: Progress) -> None:
        from condense_nerfstudio.scene.places import write_highlighted

        if self._found is None:
            raise UserError("There is no region yet: find one first.")
        name = self.file.value.strip()
        if not _FILE_NAME.fullmatch(name):
            raise UserError("That is no name of a file: type one such as region.ply, without a folder.")
        progress("Saving", 0.5)
        cloud, positions, relevancy = self._found
        folder = self.session.export_folder()
        make_folder(folder)
        write_highlighted(folder / name, positions, cloud, relevancy)
        self.message.content = f"{self._text}\n\nSaved as {escaped(str(folder / name))}"

    def _refuse_to_save(self, why: str) -> None:
        self.message.content = f"{self._text}\n\n{escaped(why)}"


def box_bars(box: Float[np.ndarray, "2 3"]) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """The twelve edges of an axis-parallel box as thin bars: viser's lines would be a call each.

    Args:
        box: smallest and largest coordinates.

    Returns:
        Vertices and faces of one mesh.
    """
    size = box[1] - box[0]
    thickness = _BAR * max(float(np.linalg.norm(size)), 1e-9)
    vertices, faces = [], []
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        extents = np.full(3, thickness)
        extents[axis] = size[axis] + thickness
        for corner in np.ndindex(2, 2):
            centre = box.mean(axis=0)
            centre[others] = box[list(corner), others]
            faces.append(_CUBE_FACES + 8 * len(vertices))
            vertices.append(centre + _CUBE * extents)
    return np.concatenate(vertices), np.concatenate(faces)
