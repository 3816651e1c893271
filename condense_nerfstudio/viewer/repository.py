"""Questions to a repository of condensed scenes: ranked scenes with portraits, each of which can be opened."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import viser
from viser import GuiEvent

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.viewer.ask import TYPING_PAUSE
from condense_nerfstudio.viewer.opened_scene import Eye, OpenedScene, miniature, over, placed
from condense_nerfstudio.viewer.part import Part, listed
from condense_nerfstudio.viewer.points import FIRST_POINTS, condensed
from condense_nerfstudio.viewer.session import Session, escaped
from condense_nerfstudio.viewer.work import Progress

if TYPE_CHECKING:
    from PIL import Image

    from condense_nerfstudio.repository.photo_query import PhotoAnswer, PhotoHit, PhotoQuestions
    from condense_nerfstudio.repository.scene_query import SceneAnswer, SceneHit
    from condense_nerfstudio.repository.store import Store
    from condense_nerfstudio.repository.text_query import TextAnswer, TextHit, TextQuestions

    Answer = TextAnswer | PhotoAnswer | SceneAnswer
    Hit = TextHit | PhotoHit | SceneHit

MOST_ANSWERS = 6


@dataclass
class Slot:
    """Room for one answer in the panel."""

    text: viser.GuiMarkdownHandle
    button: viser.GuiButtonHandle
    hit: Hit | None = None

    def fill(self, hit: Hit, text: str) -> None:
        """Shows an answer."""
        self.hit, self.text.content = hit, text
        self.text.visible = self.button.visible = True

    def clear(self) -> None:
        """Shows nothing."""
        self.hit = None
        self.text.visible = self.button.visible = False


class Repository(Part):
    """Opens a repository, asks it for scenes by phrases, by photograph and by the scene on show, and shows them.

    Args:
        session: of the viewer.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._store: Store | None = None
        self._texts: TextQuestions | None = None
        self._photos: PhotoQuestions | None = None
        self._opened = OpenedScene()

    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""
        self._server, gui = server, server.gui
        self.path = gui.add_text(
            "Path", "", hint="Of a repository on the viewer's machine; condense repo add makes one"
        )
        self.open = gui.add_button("Open")
        self.phrases = gui.add_text(
            "Look for", "", visible=False, hint="Phrases, between commas; a scene must answer all: a cat, a motorcycle"
        )
        self.photograph = gui.add_upload_button("Ask by photograph", visible=False, mime_type="image/*")
        self.alike = gui.add_button(
            "Scenes like this one", visible=False, disabled=self.session.model.keypoints is None
        )
        self.message = gui.add_markdown("")
        self.hide = gui.add_button("Hide", visible=False)
        # viser warns of pictures where it is not told in which folder they are, even of those that are in the text.
        self.slots = [
            Slot(gui.add_markdown("", image_root=Path(), visible=False), gui.add_button(f"Show {rank}", visible=False))
            for rank in range(1, MOST_ANSWERS + 1)
        ]
        self.open.on_click(lambda event: self.start("repository", self._open))
        self.phrases.on_update(lambda event: self.start("repository", self._by_text, TYPING_PAUSE))
        self.photograph.on_upload(self._on_photograph)
        self.alike.on_click(lambda event: self.start("repository", self._by_scene))
        self.hide.on_click(self._on_hide)
        for slot in self.slots:
            slot.button.on_click(lambda event, slot=slot: self._on_show(event, slot))

    def _open(self, progress: Progress) -> None:
        from condense_nerfstudio.repository.store import Store  # late: few viewers need its libraries

        progress("Opening the repository", 0.0)
        self._forget()
        self._store = self._texts = self._photos = None
        path = self.path.value.strip()
        if not path:
            raise UserError("Type where the repository is: a folder that condense repo add made.")
        store = Store(path)
        count = len(store.entries())
        self._store = store
        for control in (self.phrases, self.photograph, self.alike):
            control.visible = True
        self.message.content = "1 scene." if count == 1 else f"{count} scenes."

    def _by_text(self, progress: Progress) -> None:
        self._forget()
        phrases = listed(self.phrases.value)
        if not phrases:
            return
        from condense_nerfstudio.repository.text_query import TextQuestions

        progress("Searching", 0.0)
        if self._texts is None:
            self._texts = TextQuestions(self._opened_store, self._own_teacher())
        texts = self._texts
        self._answer(lambda: texts.ask(phrases, MOST_ANSWERS), progress)

    def _own_teacher(self) -> str | None:
        """The language teacher of this scene, where the repository has several and it is among them."""
        names = {
            card.name
            for entry in self._opened_store.entries().values()
            for card in entry.networks[1]
            if card.role == "language"
        }
        text = self.session.model.text
        return text.teacher_name if text is not None and len(names) > 1 and text.teacher_name in names else None

    def _on_photograph(self, event: GuiEvent[Any]) -> None:
        file = event.target.value
        self.start("repository", lambda progress: self._by_photograph(file.name, file.content, progress))

    def _by_photograph(self, name: str, content: bytes, progress: Progress) -> None:
        from condense_nerfstudio.repository.photo_query import PhotoQuestions
        from condense_nerfstudio.repository.photograph import read_photograph

        self._forget()
        progress("Reading the photograph", 0.0)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "photograph"
            path.write_bytes(content)
            try:
                photograph = read_photograph(path)
            except UserError as error:
                raise UserError(f"{name[:100]} cannot be read as a photograph: choose a JPEG or PNG file.") from error
        progress("Searching", 0.1)
        if self._photos is None:
            self._photos = PhotoQuestions(self._opened_store)
        photos = self._photos
        self._answer(lambda: photos.ask(photograph, MOST_ANSWERS), progress)

    def _by_scene(self, progress: Progress) -> None:
        from condense_nerfstudio.repository.scene_query import similar_scenes

        self._forget()
        scene = condensed(self.session, FIRST_POINTS, progress)
        progress("Searching", 1.0)
        self._answer(lambda: similar_scenes(self._opened_store, scene, MOST_ANSWERS), progress)

    @property
    def _opened_store(self) -> Store:
        if self._store is None:
            raise UserError("No repository is open: type its path and press Open.")
        return self._store

    def _answer(self, ask: Callable[[], Answer], progress: Progress) -> None:
        """Shows who answers."""
        answer = ask()
        hits: Sequence[Hit] = answer.hits
        for number, (slot, hit) in enumerate(zip(self.slots, hits, strict=False)):
            progress("Drawing", number / len(hits))
            slot.fill(hit, self._told(number + 1, hit))
        lines = [] if hits else [escaped("Nothing in the repository answers.")]
        if answer.left_out:
            lines.append(escaped(f"Not searched (other networks or revisions): {', '.join(answer.left_out)}"))
        self.message.content = "\n\n".join(lines)

    def _told(self, rank: int, hit: Hit) -> str:
        """An answer in Markdown: the scene's portrait, its name and score."""
        from condense_nerfstudio.repository.portrait import portrait
        from condense_nerfstudio.repository.ranking_picture import Ranked

        one = Ranked.of(hit)
        picture = as_data(portrait(self._opened_store.scene(one.scene), one.keypoints))
        lines = (
            f"![portrait]({picture})",
            f"**{rank}**  {escaped(one.scene)}: {one.score:.2f}",
            *map(escaped, one.told),
        )
        return "\n\n".join(lines)

    def _on_show(self, event: GuiEvent[Any], slot: Slot) -> None:
        hit, client = slot.hit, event.client
        if hit is not None:
            self.start("repository scene", lambda progress: self._show(hit, client, progress))

    def _show(self, hit: Hit, client: viser.ClientHandle | None, progress: Progress) -> None:
        """Draws a scene: over the one on show where it is the same place, or else small before the camera."""
        from condense_nerfstudio.keypoints.agreement import SAME_PLACE
        from condense_nerfstudio.repository.ranking_picture import Ranked
        from condense_nerfstudio.repository.scene_query import SceneHit

        progress("Opening the scene", 0.0)
        one = Ranked.of(hit)
        scene = self._opened_store.scene(one.scene)
        eye = eye_of(client)
        if isinstance(hit, SceneHit) and hit.query_to_scene is not None and hit.score >= SAME_PLACE:
            placement = over(self.session.world_to_nerf, hit.query_to_scene)
            (middle,) = placed(placement, scene.points.positions[[hit.keypoint]])
        else:
            placement, middle = miniature(scene, one.keypoints, eye), eye.before
        if client is not None:
            client.camera.look_at = middle  # a miniature is straight ahead; another answer may be behind the camera
        texts = [f"{one.scene}, {told}" for told in one.told] if len(one.keypoints) > 1 else [one.scene]
        self._opened.show(self._server, scene, placement, dict(zip(one.keypoints, texts, strict=True)))
        self.hide.visible = True

    def _on_hide(self, event: GuiEvent[Any]) -> None:
        self.hide.visible = False
        self._opened.hide()

    def _forget(self) -> None:
        """Takes the last answers away; the scene that is open stays."""
        self.message.content = ""
        for slot in self.slots:
            slot.clear()


def eye_of(client: viser.ClientHandle | None) -> Eye:
    """A browser's camera; without one, as if it looked at the middle of the scene."""
    if client is None:
        return Eye(np.array([0.0, -20.0, 5.0]), np.zeros(3))
    return Eye(np.array(client.camera.position), np.array(client.camera.look_at))


def as_data(picture: Image.Image) -> str:
    """A picture as an address that holds it: viser has no element for pictures beside its Markdown."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
