"""What the folders of the panel have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import viser

from condense_nerfstudio.teachers.text import MOST_PHRASES, checked_phrases
from condense_nerfstudio.viewer.session import Session, escaped
from condense_nerfstudio.viewer.work import Job


class Part(ABC):
    """A folder of the panel: controls that hand over work, and a text that tells how it went.

    Args:
        session: of the viewer.
    """

    message: viser.GuiMarkdownHandle
    """Made by `install`."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @abstractmethod
    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""

    def start(self, name: str, job: Job, delay: float = 0.0) -> None:
        """Has a job done beside the viewer; the text tells why where it fails. See :meth:`Work.start`."""
        self.session.work.start(name, job, self.refuse, delay)

    def refuse(self, why: str) -> None:
        """Shows why something was not done."""
        self.message.content = escaped(why)


def as_share(value: float) -> float:
    """What a browser sends for a slider from 0 to 1, which need not be what the slider allows."""
    return min(max(value, 0.0), 1.0) if value == value else 1.0


def listed(text: str, most: int = MOST_PHRASES) -> tuple[str, ...]:
    """Phrases that were typed between commas; see :func:`checked_phrases`."""
    return checked_phrases([part for part in text.split(",") if part.strip()], most)
