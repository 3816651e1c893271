"""Questions in words: every phrase colours what answers it."""

from __future__ import annotations

from typing import Any

import viser

from condense_nerfstudio.teachers.text import checked_phrases
from condense_nerfstudio.viewer.lens import MOST_PHRASES, SWATCHES
from condense_nerfstudio.viewer.part import Part, as_share, listed
from condense_nerfstudio.viewer.session import escaped
from condense_nerfstudio.viewer.work import Progress

TYPING_PAUSE = 0.3
"""Seconds after the last key until a phrase counts as typed."""

NO_LANGUAGE = (
    "This scene cannot be asked in words, because it was trained without a language teacher: train it with "
    "--pipeline.datamanager.language.name clip or conse."
)


class Ask(Part):
    """Phrases, one a line, what they are not, and the relevancy from which something answers.

    A line appears when the one before is filled, up to eight.

    Args:
        session: of the viewer.
    """

    def install(self, server: viser.ViserServer) -> None:
        """Builds the controls in the folder that is open."""
        gui, config, lens = server.gui, self.session.model.config, self.session.lens
        first = config.phrases[:MOST_PHRASES]
        self.lines = [
            gui.add_text(
                f"Phrase {i + 1}", first[i] if i < len(first) else "", visible=i <= len(first), hint="such as: a cat"
            )
            for i in range(MOST_PHRASES)
        ]
        self.negatives = gui.add_text(
            "But not", ", ".join(config.negatives), hint="What the phrases must beat, between commas: a dog, a fox"
        )
        self.threshold = gui.add_slider(
            "Threshold", 0.0, 1.0, 0.01, lens.threshold, hint="Relevancy from which something answers a phrase"
        )
        self.message = gui.add_markdown("")
        for control in (*self.lines, self.negatives):
            control.on_update(self._on_typed)
        self.threshold.on_update(self._on_threshold)
        if not self.session.answers_text:
            self._disable(NO_LANGUAGE)

    def prepare(self) -> None:
        """Loads the language teacher, which takes seconds, so that it is there when the first question comes."""
        if self.session.answers_text:
            self.session.work.start("language", self._get_ready, self._disable)

    def _get_ready(self, progress: Progress) -> None:
        progress("Loading the language teacher", 0.0)
        text = self.session.model.text
        assert text is not None
        text.encode(("anything",))
        if self.session.lens.threshold != text.threshold:
            self.threshold.value = text.threshold
        self._ask(progress)

    def _disable(self, why: str) -> None:
        for control in (*self.lines, self.negatives, self.threshold):
            control.disabled = True
        self.message.content = escaped(why)

    def _on_typed(self, event: Any) -> None:
        typed = [line.value.strip() for line in self.lines]
        last = max((i for i, text in enumerate(typed) if text), default=-1)
        for i, line in enumerate(self.lines):
            line.visible = i <= last + 1
        self.start("ask", self._ask, TYPING_PAUSE)

    def _on_threshold(self, event: Any) -> None:
        self.session.show(threshold=as_share(self.threshold.value))

    def _ask(self, progress: Progress) -> None:
        """Encodes what is typed, and shows it."""
        text = self.session.model.text
        assert text is not None
        phrases = checked_phrases([line.value for line in self.lines if line.value.strip()], MOST_PHRASES)
        negatives = listed(self.negatives.value)
        if phrases:
            progress("Reading", 0.0)
            text.encode(phrases)
            text.encode_negatives(negatives)
        self.message.content = "\n\n".join(
            f"{swatch} {escaped(phrase)}: output `relevancy_{i}`"
            for i, (swatch, phrase) in enumerate(zip(SWATCHES, phrases, strict=False))
        )
        overlay = self.session.lens.overlay
        shown = {} if overlay == "nothing" or not phrases else {"overlay": "answers"}
        self.session.show(phrases=phrases, negatives=negatives, **shown)
