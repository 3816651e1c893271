"""A repository's answer as one picture: the ranked scenes, each with a portrait in which the answer is marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import replace_file
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.repository.photo_query import PhotoHit
from condense_nerfstudio.repository.photograph import Photograph
from condense_nerfstudio.repository.portrait import MARKS, SIZE, portrait
from condense_nerfstudio.repository.scene_query import SceneHit
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import TextHit

MOST = 60
"""Scenes that are drawn, the first: more would make a picture that few programs open."""

_PAGE, _INK, _FAINT, _BAR = (250, 250, 248), (28, 30, 36), (120, 124, 134), (222, 223, 226)
_GAP = 24
_LINE = 24
_TITLE, _NAME, _SMALL = 26, 19, 16
"""Sizes of the letters in pixels."""
_CORNER = 10


@dataclass(frozen=True)
class Ranked:
    """A scene that answers, in a form that is the same for all kinds of questions."""

    scene: str
    score: float
    """In 0..1."""
    keypoints: tuple[int, ...]
    """That answer: one for each phrase, or one."""
    told: tuple[str, ...]
    """Lines for people, beside the score; where there are several key points, one for each."""

    @staticmethod
    def of(hit: TextHit | PhotoHit | SceneHit) -> Ranked:
        """Of an answer to any question."""
        if isinstance(hit, TextHit):
            told = [f"{place.phrase}: {place.score:.2f}" for place in hit.places]
            keypoints = tuple(place.keypoint for place in hit.places)
            return Ranked(hit.scene, hit.score, keypoints, tuple(told) if len(told) > 1 else ())
        agreed = f"{hit.inliers} matches agree" if hit.inliers else "nothing agrees"
        likeness = f", likeness {hit.likeness:.2f}" if isinstance(hit, SceneHit) else ""
        return Ranked(hit.scene, hit.score, (hit.keypoint,), (agreed + likeness,))


def check_picture(path: Path) -> None:
    """Refuses, before anything is asked, a picture that could not be written afterwards.

    Raises:
        UserError: the name does not end in .png, or its folder is missing.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"--picture is {path}: give it a name that ends in .png.")
    if not path.parent.is_dir():
        raise UserError(f"--picture is {path}, but there is no folder {path.parent}: make it, or choose another.")
    if path.is_dir():
        raise UserError(f"--picture is {path}, which is a folder: choose another name.")


def write_picture(path: Path, picture: Image.Image) -> None:
    """Writes a PNG file, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    content = io.BytesIO()
    picture.save(content, "PNG")
    try:
        replace_file(path, content.getvalue())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another --picture.") from error


def ranking_picture(
    store: Store, question: str, ranking: Sequence[Ranked], asked: Photograph | CondensedScene | None = None
) -> Image.Image:
    """Draws a ranking as tiles, the best first.

    Args:
        store: where the scenes are.
        question: what was asked, in words.
        ranking: the scenes that answer; beyond MOST they are left out.
        asked: what was asked, where it was not words: it comes before the scenes.

    Raises:
        UserError: a scene is no longer in the repository.
    """
    tiles = [] if asked is None else [_asked(asked)]
    lines = max((len(one.told) for one in ranking), default=0)
    tiles += [_tile(store, rank, one, lines) for rank, one in enumerate(ranking[:MOST], start=1)]
    columns = _columns(len(tiles))
    width, height = SIZE[0] + _GAP, max((tile.height for tile in tiles), default=0) + _GAP
    top = 2 * _GAP + _TITLE
    page = Image.new("RGB", (columns * width + _GAP, top + -(-len(tiles) // columns) * height), _PAGE)
    title = question if ranking else f"Nothing answers: {question}"
    _write(page, (_GAP, _GAP - 4), title, _TITLE, page.width - 2 * _GAP)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        page.paste(tile, (_GAP + column * width, top + row * height))
    return page


def _columns(tiles: int) -> int:
    """Three or four, as leaves fewer gaps in the last row; more for a square page of very many tiles."""
    least = max(3, round(tiles**0.5))
    return max(1, min(tiles, min(least, least + 1, key=lambda columns: -tiles % columns)))


def _tile(store: Store, rank: int, one: Ranked, lines: int) -> Image.Image:
    """A scene's portrait with its rank, name, score, and room for lines about the answer."""
    width, height = SIZE
    tile = Image.new("RGB", (width, height + 2 * _LINE + lines * _LINE), _PAGE)
    _paste_rounded(tile, portrait(store.scene(one.scene), one.keypoints))
    draw = ImageDraw.Draw(tile)
    draw.text((16, 12), str(rank), "white", ImageFont.load_default(_TITLE), stroke_width=2, stroke_fill=_INK)
    bar = height + 12
    draw.line((0, bar, width, bar), _BAR, 4)
    draw.line((0, bar, round(width * min(max(one.score, 0.0), 1.0)), bar), _INK, 4)
    score = ImageFont.load_default(_NAME)
    draw.text((width, bar + 8), f"{one.score:.2f}", _INK, score, anchor="ra")
    _write(tile, (0, bar + 8), one.scene, _NAME, width - 60)
    for number, line in enumerate(one.told):
        y = bar + 8 + (number + 1) * _LINE
        several = len(one.keypoints) > 1
        if several:
            color = MARKS[number % len(MARKS)]
            draw.ellipse((1, y + 3, 13, y + 15), fill=color, outline=_INK)
        _write(tile, (20 if several else 0, y), line, _SMALL, width - 20, _FAINT)
    return tile


def _asked(asked: Photograph | CondensedScene) -> Image.Image:
    """A tile of what was asked."""
    tile = Image.new("RGB", (SIZE[0], SIZE[1] + 2 * _LINE), _PAGE)
    if isinstance(asked, CondensedScene):
        _paste_rounded(tile, portrait(asked))
    else:
        picture = Image.fromarray(np.round(255.0 * asked.pixels.numpy()).astype(np.uint8))
        _paste_rounded(tile, ImageOps.pad(picture, SIZE, color=_BAR))
    _write(tile, (0, SIZE[1] + 20), "asked", _NAME, SIZE[0], _FAINT)
    return tile


def _paste_rounded(tile: Image.Image, picture: Image.Image) -> None:
    """Puts a picture with round corners at the top of a tile."""
    mask = Image.new("L", (4 * picture.width, 4 * picture.height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 4 * _CORNER, fill=255)
    tile.paste(picture, (0, 0), mask.resize(picture.size, Image.Resampling.BOX))


def _write(
    page: Image.Image, at: tuple[int, int], text: str, size: int, room: int, ink: tuple[int, int, int] = _INK
) -> None:
    """Writes a line, cut short where it has no room."""
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    whole = text
    while text and draw.textlength(text if text == whole else f"{text}…", font) > room:
        text = text[:-1]
    draw.text(at, text if text == whole else f"{text}…", ink, font)
