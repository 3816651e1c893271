"""The panel of all controls, as one element of nerfstudio's viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import viser
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer_elements import ViewerElement

from condense_nerfstudio.viewer.ask import Ask
from condense_nerfstudio.viewer.click import Click
from condense_nerfstudio.viewer.colors import Colors
from condense_nerfstudio.viewer.place import Place
from condense_nerfstudio.viewer.points import Points
from condense_nerfstudio.viewer.repository import Repository
from condense_nerfstudio.viewer.session import Session, escaped

if TYPE_CHECKING:
    from condense_nerfstudio.scene.pipeline import CondensePipeline

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Panel(ViewerElement[bool]):
    """Ask, click, colours, key points, regions and a repository, in folders of viser's own controls.

    One element, not one for each control: nerfstudio sorts elements by name, has no text or progress among them, and
    runs their callbacks while it holds the lock for which training and rendering wait.

    Args:
        pipeline: the scene.
    """

    def __init__(self, pipeline: CondensePipeline) -> None:
        super().__init__("ConDense")
        self.session = Session(pipeline, self._report)
        self.ask = Ask(self.session)
        self.points = Points(self.session)
        self.click = Click(self.session, also=self.points.pick)
        self.colors = Colors(self.session)
        self.place = Place(self.session)
        self.repository = Repository(self.session)
        self.session.on_show += [self.colors.follow, self.points.follow]
        self._prepared = False

    def install(self, viser_server: viser.ViserServer) -> None:
        """Builds the panel in the folder that is open; nerfstudio calls it."""
        gui = viser_server.gui
        self.status = gui.add_markdown("", visible=False)
        self.bar = gui.add_progress_bar(0.0, visible=False)
        self.cancel = gui.add_button("Cancel", visible=False)
        self.cancel.on_click(lambda event: self.session.work.cancel())
        parts = {
            "Ask": self.ask,
            "Picture": self.colors,
            "Click": self.click,
            "Region": self.place,
            "Key points": self.points,
            "Repository": self.repository,
        }
        for label, part in parts.items():
            with gui.add_folder(label, expand_by_default=label in ("Ask", "Picture")):
                part.install(viser_server)
        viser_server.on_client_connect(self._on_connect)
        warn_if_open(viser_server.get_host())

    def _create_gui_handle(self, viser_server: viser.ViserServer) -> None:
        self.install(viser_server)

    def _on_connect(self, client: viser.ClientHandle) -> None:
        # Most trainings are never looked at: only a browser is worth loading a teacher for.
        if not self._prepared:
            self._prepared = True
            self.ask.prepare()

    def _report(self, what: str, share: float) -> None:
        """Shows what is being done; nothing where nothing is."""
        busy = bool(what)
        self.status.content = f"{escaped(what)} …" if busy else ""
        self.bar.value = 100.0 * min(max(share, 0.0), 1.0)
        for part in (self.status, self.bar, self.cancel):
            part.visible = busy
        if not busy:
            self.session.sharpen()


def warn_if_open(host: str) -> None:
    """Says who else can use a viewer that listens on more than this machine."""
    if host not in LOOPBACK:
        CONSOLE.print(
            f"[bold yellow]The viewer listens on {host}: whoever can reach this machine over the network can use it, "
            "without a password. --viewer.websocket-host 127.0.0.1 keeps it to this machine.",
            soft_wrap=True,
        )
