"""Textures with mipmaps (Williams 1983), looked up for many surfaces at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, Int

from condense_nerfstudio.demo.room import ImageFile, Material
from condense_nerfstudio.demo.surfaces import Paint
from condense_nerfstudio.demo.textures import TILE_SIZE, image_texture, material_texture, photograph_texture

MIP_LEVELS = 6

FloatArray = npt.NDArray[np.float32]


class TextureSet:
    """The textures of surfaces, all their mipmaps in one flat array.

    Args:
        paints: what each surface is covered with; equal paints share a texture.
    """

    def __init__(self, paints: Sequence[Paint]):
        unique = list(dict.fromkeys(paints))
        pyramids = [_mipmaps(_texture(paint)) for paint in unique]
        shapes = np.array([[level.shape[:2] for level in pyramid] for pyramid in pyramids])
        starts = np.cumsum([0, *shapes.prod(axis=-1).ravel()])[:-1].reshape(len(unique), MIP_LEVELS)
        index = np.array([unique.index(paint) for paint in paints])
        self.mean_colour: FloatArray = np.stack([pyramid[-1].mean(axis=(0, 1)) for pyramid in pyramids])[index]
        self._texels = np.concatenate([level.reshape(-1, 3) for pyramid in pyramids for level in pyramid])
        self._shape, self._start = shapes[index], starts[index]
        self._texels_per_metre = np.array([shapes[k][0][1] / _width(unique[k]) for k in index], dtype=np.float32)

    def look_up(
        self, surface: Int[np.ndarray, " n"], uv: Float[np.ndarray, "n 2"], footprint: Float[np.ndarray, " n"]
    ) -> Float32[np.ndarray, "n 3"]:
        """Linear colour, trilinear and repeating.

        Args:
            surface: index into the surfaces' paints.
            uv: texture coordinates in texture lengths, v downward.
            footprint: a pixel's width on the surface in metres.
        """
        level = np.log2(np.maximum(footprint * self._texels_per_metre[surface], 1.0))
        level = np.minimum(level, MIP_LEVELS - 1.001)
        lower = level.astype(np.int64)
        blend = (level - lower)[:, None].astype(np.float32)
        return self._bilinear(surface, uv, lower) * (1 - blend) + self._bilinear(surface, uv, lower + 1) * blend

    def _bilinear(self, surface: npt.NDArray, uv: npt.NDArray, level: npt.NDArray) -> FloatArray:
        height, width = self._shape[surface, level].T
        x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        right_share, lower_share = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
        start = self._start[surface, level]
        rows = (start + top % height * width, start + (top + 1) % height * width)
        columns = (left % width, (left + 1) % width)
        upper, lower = (
            self._texels[row + columns[0]] * (1 - right_share) + self._texels[row + columns[1]] * right_share
            for row in rows
        )
        return upper * (1 - lower_share) + lower * lower_share


def _texture(paint: Paint) -> FloatArray:
    if paint is None:
        return np.ones((TILE_SIZE, TILE_SIZE, 3), dtype=np.float32)
    if isinstance(paint, Material):
        return material_texture(paint.pattern, paint.tones, paint.seed)
    if isinstance(paint, ImageFile):
        return image_texture(paint.path, paint.size[0] / paint.size[1])
    return photograph_texture(paint.photograph, paint.crop)


def _width(paint: Paint) -> float:
    """Metres across one texture length."""
    if paint is None:
        return 1.0
    return paint.repeat if isinstance(paint, Material) else paint.size[0]


def _mipmaps(texture: FloatArray) -> list[FloatArray]:
    """The texture and its halvings."""
    levels = [texture]
    while len(levels) < MIP_LEVELS:
        finer = levels[-1]
        levels.append((finer[::2, ::2] + finer[1::2, ::2] + finer[::2, 1::2] + finer[1::2, 1::2]) / 4)
    return levels
