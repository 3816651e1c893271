"""Questions by clicks: what is like this point, where is it, what is it called, and how far is it from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import viser
from jaxtyping import Float
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO
from torch import Tensor
from viser import ScenePointerEvent

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.ray_answers import look_along
from condense_nerfstudio.scene.surface_cloud import on_surface
from condense_nerfstudio.viewer.lens import Probe
from condense_nerfstudio.viewer.part import Part, listed
from condense_nerfstudio.viewer.session import Session, escaped, numbers
from condense_nerfstudio.viewer.work import Progress

VOCABULARY = (
    "a cat, a dog, a fox, a bird, a person, a cup of coffee, food, a plant, a tree, grass, a flower, a car, "
    "a motorcycle, a rocket, a building, a window, a door, a wall, the floor, a table, a chair, a book, a bottle, "
    "a toy, a statue, coins"
)
MOST_WORDS = 200
SHOWN_WORDS = 5
NODE = "/condense/click"
MARK = (255, 60, 200)
MARK_SIZE = 0.015
"""Of a clicked point's mark, as a share of its distance from the eye."""

Ray = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Origin and direction in viser's frame."""


@dataclass(frozen=True)
class Spot:
    """Where a click met the surface."""

    position: Float[np.ndarray, " 3"]
    """In the data set's frame."""
    distance: float
    """From the eye, in viser's frame."""
    features: dict[str, Float[Tensor, " c"]]
    """Centred, by teacher."""


class Click(Part):
    """Answers clicks into the picture.

    Args:
        session: of the viewer.
        also: told of every ray that is clicked, for other parts of the panel.
    """

    def __init__(self, session: Session, also: Callable[[Ray], None] = lambda ray: None) -> None:
        super().__init__(session)
        self._also = also
        self._spots: list[Spot] = []
        self._node: viser.FrameHandle | None = None

    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""
        self._server, gui, teachers = server, server.gui, list(self.session.model.heads)
        self.listening = gui.add_checkbox(
            "Click to ask", False, hint="A click into the picture asks about the point there; two measure a distance"
        )
        self.teacher = gui.add_dropdown(
            "Similar by", teachers or ["nothing"], disabled=not teachers, hint="Whose features are compared"
        )
        self.vocabulary = gui.add_text(
            "Vocabulary", VOCABULARY, disabled=not self.session.answers_text, hint="Words to choose from, with commas"
        )
        self.message = gui.add_markdown("")
        self.clear = gui.add_button("Forget the points", visible=False)
        self.listening.on_update(self._on_listening)
        self.teacher.on_update(lambda event: self._show_similarity())
        self.clear.on_click(self._on_clear)

    def _on_listening(self, event: Any) -> None:
        if not self.listening.value:
            self._server.scene.remove_pointer_callback()
            return

        @self._server.scene.on_pointer_event(event_type="click")
        def _(event: ScenePointerEvent) -> None:
            if event.ray_origin is not None and event.ray_direction is not None:
                self.ask((event.ray_origin, event.ray_direction))

    def ask(self, ray: Ray) -> None:
        """Answers a click along a ray."""
        self._also(ray)
        self.start("click", lambda progress: self._answer(ray, progress))

    def _answer(self, ray: Ray, progress: Progress) -> None:
        progress("Looking", 0.0)
        spot = self._meet(ray)
        self._spots = [*self._spots[-1:], spot]
        self._draw()
        self._show_similarity()
        lines = [f"Position: {numbers(spot.position)}"]
        if len(self._spots) == 2:
            distance = np.linalg.norm(self._spots[1].position - self._spots[0].position)
            lines.append(f"Distance from the point before: {distance:.3g}")
        self.message.content = "\n\n".join(lines)
        if self.session.answers_text:
            progress("Finding words", 0.5)
            lines += [f"{escaped(word)}: {score:.2f}" for word, score in self._words(spot)]
            self.message.content = "\n\n".join(lines)

    def _meet(self, ray: Ray) -> Spot:
        rays = self.session.ray(*ray)
        answers = look_along(self.session.model, rays, features=True)
        if not on_surface(answers).item():
            raise UserError("There is no surface: click on something solid.")
        position = (rays.origins + answers.distance[:, None] * rays.directions).double().cpu().numpy()
        features = {name: values[0] for name, values in answers.features.items()}
        distance = VISER_NERFSTUDIO_SCALE_RATIO * float(answers.distance)
        return Spot(self.session.to_world(position)[0], distance, features)

    def _words(self, spot: Spot) -> list[tuple[str, float]]:
        """The words of the vocabulary that fit best, with their relevancy."""
        model = self.session.model
        assert model.text is not None
        words = listed(self.vocabulary.value, MOST_WORDS)
        if not words:
            return []
        feature = model.head(model.text.teacher_name).uncenter(spot.features[model.text.teacher_name])
        scores = model.text.relevancy(feature, words).tolist()
        return sorted(zip(words, scores, strict=True), key=lambda pair: -pair[1])[:SHOWN_WORDS]

    def _show_similarity(self) -> None:
        """Compares views with the last point."""
        feature = self._spots[-1].features.get(self.teacher.value) if self._spots else None
        if feature is None:
            self.session.show(probe=None)
            return
        overlay = self.session.lens.overlay
        shown = {} if overlay == "nothing" else {"overlay": "similarity"}
        self.session.show(probe=Probe(self.teacher.value, feature), **shown)

    def _draw(self) -> None:
        """Marks the points, and the way from one to the other."""
        self._node = self._node or self._server.scene.add_frame(NODE, show_axes=False)
        positions = self.session.to_viser(np.stack([spot.position for spot in self._spots]))
        self.clear.visible = True
        self._server.scene.add_point_cloud(
            f"{NODE}/points", positions, MARK, point_size=MARK_SIZE * self._spots[-1].distance, point_shape="circle"
        )
        if len(positions) == 2:
            self._server.scene.add_spline_catmull_rom(
                f"{NODE}/distance", positions, line_width=3.0, color=MARK, segments=1
            )

    def _on_clear(self, event: Any) -> None:
        self._spots = []
        self.clear.visible, self.message.content = False, ""
        if self._node is not None:
            self._node.remove()  # with all that is drawn under it
            self._node = None
        answers = {"overlay": "answers"} if self.session.lens.overlay == "similarity" else {}
        self.session.show(probe=None, **answers)
