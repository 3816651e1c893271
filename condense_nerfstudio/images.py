"""Reading photographs of every common kind as 8-bit RGB or RGBA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from condense_nerfstudio.errors import UserError


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Reads a photograph as 8-bit RGB, or RGBA where the file has transparency.

    Greyscale, palette and 16-bit files are converted. The EXIF orientation is ignored, as COLMAP and nerfstudio
    ignore it: the intrinsics belong to the stored pixel grid.

    Args:
        path: the image file.

    Returns:
        An array of shape (height, width, 3 or 4).

    Raises:
        UserError: the file is missing, cut short, or no image.
    """
    try:
        with Image.open(path) as file:
            file.load()
            image = to_8_bit(file)
    except FileNotFoundError as error:
        raise UserError(f"Image {path} does not exist: correct its path in transforms.json.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"Image {path} cannot be read ({error}): replace it or remove its frame.") from error
    return np.asarray(image, dtype=np.uint8)


def resize_image(image: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Resizes an image, antialiased; returns it as it is where it has that size already.

    Args:
        image: of shape (h, w, 3 or 4).
        width: columns of the result.
        height: rows of the result.
    """
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resample=Image.Resampling.LANCZOS))


def to_8_bit(image: Image.Image) -> Image.Image:
    """Converts any Pillow mode to RGB or RGBA; 16-bit greyscale keeps its upper byte (Pillow itself would clip it)."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")
