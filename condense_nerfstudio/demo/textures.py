"""Textures: photographs from scikit-image's wheel and patterns drawn from noise.

Every pattern is a grey tile in [0, 1] that repeats without a seam; two colours turn it into a material.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from PIL import Image

from condense_nerfstudio.demo.catalogue import Tones, photograph_named
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.images import read_image

TILE_SIZE = 512
"""Side of a repeating tile in texels."""

SIZE_MULTIPLE = 32
"""Every texture's sides are multiples of this, so that each mipmap level halves exactly."""

FloatArray = npt.NDArray[np.float32]


def srgb_to_linear(colour: float | Sequence[float] | npt.NDArray) -> FloatArray:
    """The sRGB transfer function (IEC 61966-2-1), values in [0, 1]."""
    value = np.asarray(colour, dtype=np.float32)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(colour: float | Sequence[float] | npt.NDArray) -> FloatArray:
    """Inverse of `srgb_to_linear`."""
    value = np.asarray(colour, dtype=np.float32)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.maximum(value, 1e-8) ** (1 / 2.4) - 0.055)


def material_texture(pattern: str, tones: Tones, seed: int) -> Float32[np.ndarray, "size size 3"]:
    """A repeating tile of linear colour, `TILE_SIZE` texels wide."""
    tone = PATTERNS[pattern](np.random.default_rng(seed))[..., None]
    shadow, light = (np.asarray(colour, dtype=np.float32) for colour in tones)
    return srgb_to_linear(shadow + (light - shadow) * tone)


def photograph_texture(
    name: str, crop: tuple[float, float, float, float], width: int = TILE_SIZE
) -> Float32[np.ndarray, "height width 3"]:
    """A photograph as linear colour; height and width are multiples of `SIZE_MULTIPLE`.

    Args:
        name: name in the catalogue.
        crop: left, top, right, bottom as fractions of the catalogue's crop.
        width: texels across.
    """
    image = Image.fromarray(_read(photograph_named(name).file))
    return _resized(image, crop_pixels(name, crop, image.size), width)


def image_texture(path: Path, aspect: float, width: int = TILE_SIZE) -> Float32[np.ndarray, "height width 3"]:
    """The middle of any image, likewise.

    Args:
        path: the image.
        aspect: width over height of what is cut out.
        width: texels across.

    Raises:
        UserError: the image cannot be read.
    """
    image = Image.fromarray(read_image(path)[..., :3])
    across, down = min(image.width, image.height * aspect), min(image.height, image.width / aspect)
    left, top = (image.width - across) / 2, (image.height - down) / 2
    return _resized(image, (left, top, left + across, top + down), width)


def _resized(image: Image.Image, box: tuple[float, float, float, float], width: int) -> FloatArray:
    """A part of an image as a texture."""
    height = max(1, round(width * (box[3] - box[1]) / (box[2] - box[0]) / SIZE_MULTIPLE)) * SIZE_MULTIPLE
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return srgb_to_linear(np.asarray(resized, dtype=np.float32) / 255)


def photograph_aspect(name: str, crop: tuple[float, float, float, float]) -> float:
    """Width over height of a photograph's crop."""
    with Image.open(_path(photograph_named(name).file)) as file:
        left, top, right, bottom = crop_pixels(name, crop, file.size)
    return (right - left) / (bottom - top)


def crop_pixels(
    name: str, crop: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A crop given as fractions of the catalogue's own crop, in pixels: left, top, right, bottom."""
    left, top, right, bottom = photograph_named(name).crop
    width, height = right - left, bottom - top
    return (
        (left + crop[0] * width) * size[0],
        (top + crop[1] * height) * size[1],
        (left + crop[2] * width) * size[0],
        (top + crop[3] * height) * size[1],
    )


def _path(file: str) -> Path:
    """Where scikit-image keeps a data file; read directly, because its own loader may go to the network."""
    path = Path(str(resources.files("skimage"))) / "data" / file
    if not path.is_file():
        raise UserError(f"The photograph {file} is missing from scikit-image: reinstall scikit-image.")
    return path


def _read(file: str) -> npt.NDArray[np.uint8]:
    """A data file of scikit-image as RGB, (height, width, 3)."""
    return read_image(_path(file))[..., :3]


def _noise(rng: np.random.Generator, roughness: float, stretch: tuple[float, float] = (1.0, 1.0)) -> FloatArray:
    """Periodic fractal noise in [0, 1]: white noise with a spectrum of 1 / frequency^roughness.

    Args:
        rng: source of randomness.
        roughness: larger is smoother; 1 is grainy, 2 cloudy.
        stretch: features are this much longer along y and x.
    """
    frequency = np.fft.fftfreq(TILE_SIZE) * TILE_SIZE
    radius = np.hypot(frequency[:, None] * stretch[0], frequency[None, : TILE_SIZE // 2 + 1] * stretch[1])
    spectrum = np.fft.rfft2(rng.standard_normal((TILE_SIZE, TILE_SIZE))) / np.maximum(radius, 1) ** roughness
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(TILE_SIZE, TILE_SIZE))
    return _normalised(noise)


def _normalised(tone: npt.NDArray) -> FloatArray:
    """Stretches contrast so that the 1st and 99th percentiles become 0 and 1."""
    low, high = np.percentile(tone, (1, 99))
    return np.clip((tone - low) / (high - low), 0, 1).astype(np.float32)


def _grid() -> tuple[npt.NDArray, npt.NDArray]:
    """Texel centres (y, x) in [0, 1), each (TILE_SIZE, TILE_SIZE)."""
    centres = (np.arange(TILE_SIZE) + 0.5) / TILE_SIZE
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return y, x


def _from_photograph(file: str) -> Callable[[np.random.Generator], FloatArray]:
    """A random square of a grey photograph, turned at random and mirrored into a seamless tile."""

    def pattern(rng: np.random.Generator) -> FloatArray:
        """One tile of this photograph, (TILE_SIZE, TILE_SIZE)."""
        image = Image.fromarray(_read(file)).convert("L")
        side = int(min(image.size) * rng.uniform(0.6, 0.9))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        half = TILE_SIZE // 2
        square = image.resize((half, half), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        turned = np.rot90(np.asarray(square, dtype=np.float32), int(rng.integers(4)))
        row = np.concatenate([turned, turned[:, ::-1]], axis=1)
        return _normalised(np.concatenate([row, row[::-1]], axis=0))

    return pattern


def _plaster(rng: np.random.Generator) -> FloatArray:
    return _normalised(_noise(rng, 1.5) + 0.35 * _noise(rng, 0.8))


def _bricks(rng: np.random.Generator) -> FloatArray:
    """Running bond: 12 courses of 4 bricks, each with a tone of its own."""
    y, x = _grid()
    course = np.floor(y * 12).astype(int)
    along = (x * 4 + 0.5 * (course % 2)) % 4
    tone = rng.uniform(0.35, 0.9, (12, 4))[course, np.floor(along).astype(int)]
    edge = np.minimum(np.minimum(along % 1, 1 - along % 1) * 3, np.minimum(y * 12 % 1, 1 - y * 12 % 1))
    mortar = np.clip((edge - 0.04) / 0.06, 0, 1)
    return (0.1 + mortar * (tone - 0.1) + 0.35 * (_noise(rng, 1.1) - 0.5)).clip(0, 1).astype(np.float32)


def _planks(rng: np.random.Generator) -> FloatArray:
    """Eight boards along x with butt joints at random places, each with its own tone and piece of grain."""
    y, x = _grid()
    board = np.floor(y * 8).astype(int)
    along = (x * 2 + rng.uniform(0, 2, 8)[board]) % 2
    tone = rng.uniform(0.3, 0.8, (8, 2))[board, np.floor(along).astype(int)]
    grain = _wood(rng)
    gap = np.minimum(np.minimum(y * 8 % 1, 1 - y * 8 % 1), np.minimum(along % 1, 1 - along % 1) * 4)
    return ((tone + 0.5 * (grain - 0.5)) * np.clip(gap / 0.03, 0.15, 1)).clip(0, 1).astype(np.float32)


def _wood(rng: np.random.Generator) -> FloatArray:
    """Grain of one long board along x."""
    return _normalised(_noise(rng, 1.2, stretch=(1.0, 14.0)))


def _parquet(rng: np.random.Generator) -> FloatArray:
    """Basket weave: 4 x 4 blocks of five strips, along x and along y in turn."""
    y, x = _grid()
    row, column = np.floor(y * 4).astype(int), np.floor(x * 4).astype(int)
    is_upright = (row + column) % 2 == 1
    strip = np.floor(np.where(is_upright, x, y) * 20).astype(int) % 5
    tone = rng.uniform(0.3, 0.8, (4, 4, 5))[row, column, strip]
    grain = _wood(rng)
    across = np.where(is_upright, x, y) * 20 % 1
    along = np.where(is_upright, y, x) * 4 % 1
    gap = np.minimum(np.minimum(across, 1 - across), np.minimum(along, 1 - along) * 5)
    shade = tone + 0.45 * (np.where(is_upright, grain.T, grain) - 0.5)
    return (shade * np.clip(gap / 0.06, 0.3, 1)).clip(0, 1).astype(np.float32)


def _checker(rng: np.random.Generator) -> FloatArray:
    """4 x 4 flagstones, light and dark in turn, with veins and joints."""
    y, x = _grid()
    row, column = np.floor(y * 4).astype(int), np.floor(x * 4).astype(int)
    tone = np.where((row + column) % 2, 0.78, 0.28) + rng.uniform(-0.12, 0.12, (4, 4))[row, column]
    joint = np.minimum(np.minimum(y * 4 % 1, 1 - y * 4 % 1), np.minimum(x * 4 % 1, 1 - x * 4 % 1))
    return ((tone + 0.35 * (_marble(rng) - 0.5)) * np.clip(joint / 0.015, 0.5, 1)).clip(0, 1).astype(np.float32)


def _marble(rng: np.random.Generator) -> FloatArray:
    """Veins where two cloudy noises cross their middle."""
    veins = [np.abs(_noise(rng, 1.6) - 0.5) for _ in range(2)]
    return _normalised(0.6 * np.sqrt(np.minimum(*veins)) + 0.3 * _noise(rng, 1.4))


def _terrazzo(rng: np.random.Generator) -> FloatArray:
    """Chips of stone: nearest of random points (on a torus), each with its own tone, in a light bed."""
    from scipy.spatial import KDTree

    points = rng.uniform(0, 1, (700, 2))
    tree = KDTree(points, boxsize=1.0)
    y, x = _grid()
    distance, nearest = (np.asarray(found) for found in tree.query(np.stack([y, x], axis=-1).reshape(-1, 2), k=2))
    is_chip = np.clip((distance[:, 1] - distance[:, 0]) / 0.006 - 1, 0, 1)
    tone = 0.65 + is_chip * (rng.uniform(0, 1, len(points))[nearest[:, 0]] - 0.65)
    return (tone.reshape(y.shape) + 0.2 * (_noise(rng, 1.0) - 0.5)).clip(0, 1).astype(np.float32)


def _stripes(rng: np.random.Generator) -> FloatArray:
    """Upright wallpaper stripes of two widths on plaster."""
    _, x = _grid()
    tone = rng.uniform(0, 1, 16)[np.floor(x * 16).astype(int)]
    return (0.2 + 0.6 * tone + 0.4 * (_plaster(rng) - 0.5)).clip(0, 1).astype(np.float32)


def _lattice(rng: np.random.Generator) -> FloatArray:
    """Diamond lattice with a dot in each cell, every dot of another size."""
    y, x = _grid()
    u, v = (x + y) * 6, (x - y) * 6
    line = np.minimum(np.minimum(u % 1, 1 - u % 1), np.minimum(v % 1, 1 - v % 1))
    sizes = rng.uniform(0.08, 0.3, (12, 12))[np.floor(u).astype(int) % 12, np.floor(v).astype(int) % 12]
    dot = np.hypot(u % 1 - 0.5, v % 1 - 0.5) < sizes
    tone = 0.35 + 0.4 * np.clip(1.4 - line / 0.05, 0, 1) + 0.45 * dot
    return (tone + 0.35 * (_plaster(rng) - 0.5)).clip(0, 1).astype(np.float32)


PATTERNS: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "plaster": _plaster,
    "bricks": _bricks,
    "planks": _planks,
    "parquet": _parquet,
    "wood": _wood,
    "checker": _checker,
    "marble": _marble,
    "terrazzo": _terrazzo,
    "stripes": _stripes,
    "lattice": _lattice,
    "gravel": _from_photograph("gravel.png"),
    "grass": _from_photograph("grass.png"),
    "coins": _from_photograph("coins.png"),
    "moon": _from_photograph("moon.png"),
}
"""Pattern by the name that the catalogue uses."""
