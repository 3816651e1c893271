"""Feature maps kept on disk, one safetensors file an image, and read through memory maps."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import replace_file
from condense_nerfstudio.images import read_image
from condense_nerfstudio.teachers.protocol import Teacher

_TENSOR = "features"
_LONGEST_HEADER = 1024
"""Bytes; ours take some 200. A longer one is not ours, and hostile JSON must not reach the parser."""


def default_cache_root() -> Path:
    """condense_nerfstudio in $XDG_CACHE_HOME, or in ~/.cache where that is unset or (against its standard) relative."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "condense_nerfstudio"


def cached_feature_maps(images: Sequence[Path], teacher: Teacher, root: Path) -> list[npt.NDArray[np.float16]]:
    """The teacher's feature map of every image; those not in the cache are computed, one image at a time.

    A file is found by the hash of the image's bytes and the teacher's name and revision, and believed only if its
    contents match the checksum in it: a broken one is computed again. An interruption loses the image in progress.
    Transparent pixels are composited on white, as nerfstudio does by default.

    Args:
        images: image files, of any sizes.
        teacher: computes what is missing.
        root: the cache's folder, made if need be; see default_cache_root.

    Returns:
        For each image an array (hp, wp, dim) that reads the file as it is touched: it takes no memory that the
        system cannot take back, and no file descriptor. Writing to it changes a private copy.

    Raises:
        UserError: an image cannot be read, the folder cannot be written, or the teacher gives NaN or infinity.
    """
    files = [cache_file(image, teacher.name, teacher.revision, root) for image in images]
    maps = {file: open_feature_map(file, teacher.dim) for file in dict.fromkeys(files)}
    missing = {file: image for file, image in zip(files, images, strict=True) if maps[file] is None}
    if missing:
        console = Console(stderr=True)
        for file, image in track(missing.items(), description=f"Features of {teacher.name}", console=console):
            _write(file, _compute(image, teacher), root)
        # Only now: small lasting objects made between large passing ones keep the heap from shrinking (up to 96 MB
        # after 800 images, measured).
        maps.update({file: open_feature_map(file, teacher.dim) for file in missing})
    found = [feature_map for file in files if (feature_map := maps[file]) is not None]
    if len(found) < len(files):
        raise _unwritable(root, "files read back differ from what was written")
    return found


def open_feature_map(file: Path, dim: int) -> npt.NDArray[np.float16] | None:
    """Memory-maps a cached feature map (hp, wp, dim); None if it is missing or anything about it is wrong."""
    try:
        with file.open("rb") as stream:
            header_size = int.from_bytes(stream.read(8), "little")
            if header_size > _LONGEST_HEADER:
                return None
            header = json.loads(stream.read(header_size))
        shape, dtype = header[_TENSOR]["shape"], header[_TENSOR]["dtype"]
        size = file.stat().st_size - 8 - header_size
        if dtype != "F16" or len(shape) != 3 or shape[2] != dim or size != 2 * shape[0] * shape[1] * dim or size <= 0:
            return None
        # numpy.memmap keeps a file descriptor for each map, and a process has only a thousand or so; torch does not.
        # Not shared: the mapping is copy-on-write.
        content = torch.from_file(str(file), shared=False, size=8 + header_size + size, dtype=torch.uint8)
        feature_map = content[8 + header_size :].view(torch.float16).view(shape).numpy()
        return feature_map if _checksum(feature_map) == header["__metadata__"]["sha256"] else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None


def cache_file(image: Path, name: str, revision: str, root: Path) -> Path:
    """Where the cache keeps what a network says of an image: in the network's folder, by hash.

    Args:
        image: the image file, whose bytes count and not its name.
        name: of the network.
        revision: changes whenever its output would.
        root: the cache's folder.

    Raises:
        UserError: the image cannot be read.
    """
    digest = hashlib.sha256(f"{name}\n{revision}\n".encode())
    try:
        digest.update(image.read_bytes())
    except OSError as error:
        raise UserError(
            f"Image {image} cannot be read ({error.strerror}): correct its path in transforms.json."
        ) from error
    return root / name / f"{digest.hexdigest()}.safetensors"


def _compute(image: Path, teacher: Teacher) -> npt.NDArray[np.float16]:
    features = teacher.encode_image(read_rgb(image)).float().cpu()
    if not features.isfinite().all():
        raise UserError(f"Teacher {teacher.name} gives NaN or infinity for image {image}: check the teacher's weights.")
    largest = torch.finfo(torch.float16).max
    return features.clamp(-largest, largest).half().numpy()


def read_rgb(image: Path) -> Float[Tensor, "h w 3"]:
    """An image in 0..1, transparent pixels composited on white."""
    return on_white(read_image(image))


def on_white(image: npt.NDArray[np.uint8]) -> Float[Tensor, "h w 3"]:
    """An 8-bit RGB or RGBA image in 0..1, transparent pixels composited on white."""
    pixels = torch.from_numpy(image.astype(np.float32)) / 255
    alpha = pixels[..., 3:] if pixels.shape[-1] == 4 else 1.0
    return pixels[..., :3] * alpha + (1 - alpha)


def _write(file: Path, features: npt.NDArray[np.float16], root: Path) -> None:
    content = save({_TENSOR: np.ascontiguousarray(features)}, metadata={"sha256": _checksum(features)})
    store(file, content, root)


def store(file: Path, content: bytes, root: Path) -> None:
    """Writes a file of the cache whole, or raises a UserError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, content)
    except OSError as error:
        raise _unwritable(root, error.strerror or str(error)) from error


def _unwritable(root: Path, reason: str) -> UserError:
    return UserError(
        f"Features cannot be stored in {root} ({reason}): "
        "make room there or name another folder with --pipeline.datamanager.cache-dir."
    )


def _checksum(features: npt.NDArray[np.float16]) -> str:
    return hashlib.sha256(np.ascontiguousarray(features).data).hexdigest()
