"""Detections kept on disk beside the teachers' feature maps, one safetensors file an image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError
from safetensors.numpy import load, save

from condense_nerfstudio.keypoints.detection import Detections, Detector
from condense_nerfstudio.teachers.cache import cache_file, read_rgb, store

_TYPES = {
    "checksum": np.uint8,
    "descriptors": np.float16,
    "heat": np.float16,
    "image_size": np.int64,
    "pixel_size": np.float64,
    "pixels": np.float32,
    "scores": np.float32,
}


def cached_detections(images: Sequence[Path], detector: Detector, root: Path) -> list[Detections]:
    """The key points of every image; those not in the cache are detected, one image at a time.

    As with feature maps: files are found by content, believed only if their checksum is right, written whole.

    Args:
        images: image files.
        detector: detects what is missing.
        root: the cache's folder; see teachers.cache.default_cache_root.

    Raises:
        UserError: an image cannot be read, or the folder cannot be written.
    """
    files = [cache_file(image, detector.name, detector.revision, root) for image in images]
    found = [_read(file, detector.dim) for file in files]
    missing = [i for i, detections in enumerate(found) if detections is None]
    for i in track(missing, f"Key points of {detector.name}", console=Console(stderr=True), disable=not missing):
        detections = detector.detect(read_rgb(images[i]))
        store(files[i], _as_bytes(detections), root)
        found[i] = detections
    return [detections for detections in found if detections is not None]


def _as_bytes(detections: Detections) -> bytes:
    tensors = {
        "pixels": detections.pixels,
        "scores": detections.scores,
        "descriptors": detections.descriptors,
        "heat": detections.heat,
        "image_size": np.array(detections.image_size),
        "pixel_size": np.array([detections.pixel_size]),
    }
    tensors = {name: np.ascontiguousarray(value, dtype=_TYPES[name]) for name, value in tensors.items()}
    return save({**tensors, "checksum": _checksum(tensors)})


def _read(file: Path, dim: int) -> Detections | None:
    """What a file holds; None if it is missing or anything about it is wrong."""
    try:
        tensors = load(file.read_bytes())
        if {name: value.dtype for name, value in tensors.items()} != {n: np.dtype(t) for n, t in _TYPES.items()}:
            return None
        checksum = tensors.pop("checksum")
        count = len(tensors["pixels"])
        right = tensors["descriptors"].shape == (count, dim) and np.array_equal(checksum, _checksum(tensors))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    if not right:
        return None
    height, width = tensors.pop("image_size").tolist()
    (pixel_size,) = tensors.pop("pixel_size").tolist()
    return Detections(**tensors, image_size=(height, width), pixel_size=pixel_size)


def _checksum(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)
