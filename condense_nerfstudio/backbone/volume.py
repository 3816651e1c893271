"""Scene volumes: what a NeRF knows of density and colour on a grid, whatever method trained it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from condense_nerfstudio.backbone.settings import RESOLUTIONS
from condense_nerfstudio.backbone.tensor_file import write_tensors
from condense_nerfstudio.errors import UserError

VERSION = 1
"""Of the file's format."""
_FORMAT = "condense scene volume"
_LONGEST_HEADER = 65536
"""Bytes; ours take some 1,000. Hostile JSON must not reach the parser."""
_TENSORS = {"cells": ("U8", 3), "thickness": ("F16", None), "colors": ("U8", 3)}
"""Type and columns of each, as safetensors names them."""
_TYPES = {"U8": torch.uint8, "F16": torch.float16}


@dataclass(frozen=True)
class VolumeCard:
    """Where a volume comes from and how it was made."""

    method: str
    """Name of the method that trained the NeRF."""
    checkpoint: str
    """SHA-256 of the checkpoint's bytes."""
    world_to_nerf: tuple[tuple[float, ...], ...]
    """4x4 similarity from the frame of transforms.json to nerfstudio's, in which the box is given."""
    least_weight: float
    """Rendering weight that some ray had in every cell."""
    rays: int
    """Rays of the training cameras that decided about the box and about which cells are seen."""


@dataclass(frozen=True)
class SceneVolume:
    """The occupied cells of a cubic grid, in an order of its own.

    Cell (i, j, k) covers `origin + side * ([i, j, k] .. [i + 1, j + 1, k + 1])` in nerfstudio's frame.
    """

    resolution: int
    """Cells a side of the box."""
    origin: Float[Tensor, " 3"]
    """Lowest corner of the box."""
    side: float
    """Side of a cell."""
    cells: UInt8[Tensor, "n 3"]
    thickness: Float[Tensor, " n"]
    """Optical thickness of each cell, half precision: density times the side of a cell, the same at every scale."""
    colors: UInt8[Tensor, "n 3"]
    """As the training cameras see the cell, sRGB."""
    card: VolumeCard

    def __post_init__(self) -> None:
        if not len(self.cells):
            raise UserError(
                "The scene's volume is empty: its density is nowhere above the threshold where its cameras look. Train "
                "the NeRF for longer, or lower --least-weight."
            )

    @property
    def box(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        """Lowest and highest corner."""
        return self.origin, self.origin + self.resolution * self.side

    def to_cells(self, positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 3"]:
        """Positions in nerfstudio's frame in units of cells; the centre of cell 0 is at 0.5."""
        return (positions - self.origin.to(positions)) / self.side

    def dense_thickness(self) -> Float[Tensor, "r r r"]:
        """Optical thickness of all cells, zero in empty ones."""
        dense = torch.zeros(self.resolution**3)
        dense[flat_cells(self.cells.long(), self.resolution)] = self.thickness.float()
        return dense.view(self.resolution, self.resolution, self.resolution)


def flat_cells(cells: Int[Tensor, "*bs 3"], resolution: int) -> Int[Tensor, "*bs"]:
    """Place of cells in a grid laid out in one row, x outermost."""
    return (cells[..., 0] * resolution + cells[..., 1]) * resolution + cells[..., 2]


def write_volume(volume: SceneVolume, path: Path) -> None:
    """Writes a volume, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    tensors = {name: getattr(volume, name).contiguous() for name in _TENSORS}
    card = {
        "format": _FORMAT,
        "version": VERSION,
        "frame": "nerfstudio",
        "resolution": volume.resolution,
        "origin": volume.origin.double().tolist(),
        "side": volume.side,
        **asdict(volume.card),
    }
    write_tensors(path, tensors, {"card": json.dumps(card), "sha256": _checksum(tensors)}, "Volume")


def read_volume(path: Path) -> SceneVolume:
    """Opens a volume; its tensors are mapped, not read, so that many scenes take no memory.

    Raises:
        UserError: the file is missing, cut short, altered, or of another version.
    """
    try:
        header, start = _header(path)
        tensors = {name: _mapped(path, header[name], start, *kind) for name, kind in _TENSORS.items()}
        metadata = header["__metadata__"]
        card = json.loads(metadata["card"])
        if card["format"] != _FORMAT:
            raise ValueError("another kind of file")
        if card["version"] != VERSION:
            raise UserError(
                f"Volume {path} has version {card['version']}, and this program reads {VERSION}: make it again."
            )
        if metadata["sha256"] != _checksum(tensors) or len({len(tensor) for tensor in tensors.values()}) != 1:
            raise ValueError("the contents do not match their checksum")
        return SceneVolume(
            resolution=_resolution(card["resolution"]),
            origin=torch.tensor(card["origin"], dtype=torch.float32).reshape(3),
            side=float(card["side"]),
            card=VolumeCard(
                method=str(card["method"]),
                checkpoint=str(card["checkpoint"]),
                world_to_nerf=_matrix(card["world_to_nerf"]),
                least_weight=float(card["least_weight"]),
                rays=int(card["rays"]),
            ),
            **tensors,
        )
    except OSError as error:
        raise UserError(f"Volume {path} cannot be read ({error.strerror}): make it again.") from error
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise UserError(f"Volume {path} is broken ({error}): delete it, and it is made again.") from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The safetensors header of a file, and where its data starts."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > _LONGEST_HEADER:
            raise ValueError("no header of ours")
        return json.loads(stream.read(size)), 8 + size


def _mapped(path: Path, entry: Mapping[str, Any], start: int, kind: str, columns: int | None) -> Tensor:
    """One tensor of a file as a memory map, copy-on-write."""
    begin, end = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), _TYPES[kind]
    if entry["dtype"] != kind or shape[1:] != (() if columns is None else (columns,)):
        raise ValueError("a tensor has another type or shape")
    if path.stat().st_size < start + end or end - begin != int(np.prod(shape)) * dtype.itemsize or begin < 0:
        raise ValueError("it is cut short")
    content = torch.from_file(str(path), shared=False, size=start + end, dtype=torch.uint8)
    # A map starts where the file does; halves have to start at an even byte of it.
    part = content[start + begin :]
    return (part if (start + begin) % dtype.itemsize == 0 else part.clone()).view(dtype).view(shape)


def _resolution(value: Any) -> int:
    if value not in RESOLUTIONS:
        raise ValueError(f"resolution {value!r}")
    return int(value)


def _matrix(rows: Any) -> tuple[tuple[float, ...], ...]:
    matrix = np.asarray(rows, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("world_to_nerf is no 4x4 matrix")
    return tuple(tuple(float(value) for value in row) for row in matrix)


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
