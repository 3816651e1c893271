"""Reading a photograph that somebody asks about: any size, any camera."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.images import to_8_bit
from condense_nerfstudio.keypoints.localisation import Intrinsics
from condense_nerfstudio.teachers.cache import on_white

LONGEST = 2048
"""Pixels of the longer side that are kept: no network here sees more of a photograph."""
_WIDTH_OF_FILM = 36.0
"""Millimetres of the longer side of 35 mm film, to which FocalLengthIn35mmFilm refers."""
_INCH = 25.4
_MILLIMETRES = {3.0: 10.0, 4.0: 1.0}
"""In FocalPlaneResolutionUnit: centimetres, millimetres; anything else means inches."""
_ON_FILM, _FOCAL = ExifTags.Base.FocalLengthIn35mmFilm, ExifTags.Base.FocalLength
_PIXELS_PER_UNIT, _UNIT = ExifTags.Base.FocalPlaneXResolution, ExifTags.Base.FocalPlaneResolutionUnit
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By the EXIF orientation."""
_ON_ITS_SIDE = 5
"""Orientations from which width and height change places."""
_FOCAL_LENGTHS = (0.2, 20.0)
"""Focal lengths that EXIF data are believed to tell, in longer sides of the photograph."""


@dataclass(frozen=True)
class Photograph:
    """A photograph, turned upright as its EXIF data say, and reduced where it was large."""

    pixels: Float[Tensor, "h w 3"]
    """RGB in 0..1."""
    size: tuple[int, int]
    """(width, height) of the upright photograph before it was reduced."""
    focal_length: float | None
    """In pixels of that size, as the EXIF data tell; None where they do not."""

    @property
    def factor(self) -> float:
        """Pixels of the file that make one of `pixels`."""
        return max(self.size) / max(self.pixels.shape[:2])

    def camera(self, focal_length: float, distortion: Sequence[float] = ()) -> Intrinsics:
        """The camera of `pixels`, its principal point in the middle.

        Args:
            focal_length: in pixels of the photograph before it was reduced.
            distortion: k1, k2, p1, p2 (k3, ...) of OpenCV.
        """
        height, width = self.pixels.shape[:2]
        focal = focal_length / self.factor
        return Intrinsics(width, height, focal, focal, width / 2, height / 2, tuple(distortion))


def read_photograph(path: Path) -> Photograph:
    """Reads a photograph; a JPEG of a hundred megapixels is reduced while it is decoded.

    Raises:
        UserError: it is missing, no image, cut short, or so large that it is taken for an attack.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # up to twice Pillow's limit is welcome
            with Image.open(path) as file:
                exif, (width, height) = file.getexif(), file.size
                file.draft("RGB", (LONGEST, LONGEST))
                image = to_8_bit(file)
        orientation = exif.get(ExifTags.Base.Orientation)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
            width, height = (height, width) if orientation >= _ON_ITS_SIDE else (width, height)
        image.thumbnail((LONGEST, LONGEST))
        return Photograph(on_white(np.asarray(image)), (width, height), _focal_length(exif, max(width, height)))
    except FileNotFoundError as error:
        raise UserError(f"There is no photograph {path}: correct --image.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"Photograph {path} has too many pixels to be opened safely: reduce it.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a photograph ({error}): pass --image a JPEG or PNG file.") from error


def _focal_length(exif: Image.Exif, longest: int) -> float | None:
    """In pixels of the file, whose longer side has `longest`; None where the EXIF data tell none that can be true."""
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    told = {tag: _number(camera.get(tag)) for tag in (_ON_FILM, _FOCAL, _PIXELS_PER_UNIT, _UNIT)}
    lengths = [
        told[_ON_FILM] / _WIDTH_OF_FILM * longest,
        told[_FOCAL] * told[_PIXELS_PER_UNIT] / _MILLIMETRES.get(told[_UNIT], _INCH),
    ]
    low, high = (share * longest for share in _FOCAL_LENGTHS)
    return next((length for length in lengths if low < length < high), None)


def _number(value: object) -> float:
    """A number of the EXIF data; 0 for one that is missing, infinite, or no number."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if np.isfinite(number) else 0.0
