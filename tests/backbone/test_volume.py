"""Scene volumes on disk: what is written comes back, and nothing broken does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from condense_nerfstudio.backbone.volume import read_volume, write_volume
from condense_nerfstudio.errors import UserError

from .rooms import RESOLUTION, room


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scene" / "volume.safetensors"
    write_volume(room(), path)
    return path


def rewritten(file: Path, **changes: object) -> None:
    """Writes a file again with another card."""
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    card = {**json.loads(metadata["card"]), **changes}
    save_file(tensors, file, {**metadata, "card": json.dumps(card)})


def test_a_volume_comes_back_as_it_was(file: Path) -> None:
    volume, back = room(), read_volume(file)
    for name in ("cells", "thickness", "colors", "origin"):
        assert torch.equal(getattr(volume, name), getattr(back, name))
    assert (back.resolution, back.side, back.card) == (volume.resolution, volume.side, volume.card)
    assert not list(file.parent.glob(".*"))


def test_cells_are_found_again_in_the_grid() -> None:
    volume = room()
    dense = volume.dense_thickness()
    x, y, z = volume.cells.long().T
    assert torch.equal(dense[x, y, z], volume.thickness.float()) and int((dense > 0).sum()) == len(volume.cells)
    low, high = volume.box
    torch.testing.assert_close(volume.to_cells(torch.stack([low, high])), torch.tensor([[0.0] * 3, [RESOLUTION] * 3]))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_file_cut_short_is_refused(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"volume\.safetensors is broken .*: delete it"):
        read_volume(file)


def test_altered_contents_are_refused(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-7] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="do not match their checksum"):
        read_volume(file)


def test_mutated_files_never_crash(file: Path) -> None:
    content, random = file.read_bytes(), np.random.default_rng(0)
    header = int.from_bytes(content[:8], "little") + 8
    refused = 0
    for _ in range(300):
        mutated = bytearray(content)
        for place in random.integers(0, header, random.integers(1, 4)):
            mutated[place] = random.integers(256)
        file.write_bytes(mutated)
        try:
            back = read_volume(file)
        except UserError:
            refused += 1
            continue
        # What is believed is what was written: a checksum stands for it.
        assert torch.equal(back.cells, room().cells) and torch.equal(back.thickness, room().thickness)
    assert refused > 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "has version 99, and this program reads 1: make it again"),
        ({"resolution": 100}, "resolution 100"),
        ({"format": "something"}, "another kind of file"),
        ({"origin": [0.0]}, "is broken"),
        ({"world_to_nerf": [[1.0]]}, "no 4x4 matrix"),
    ],
)
def test_cards_that_do_not_fit_are_refused(file: Path, changes: dict[str, object], message: str) -> None:
    rewritten(file, **changes)
    with pytest.raises(UserError, match=message):
        read_volume(file)


def test_missing_files_and_empty_volumes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors cannot be read"):
        read_volume(tmp_path / "none.safetensors")
    volume = room()
    with pytest.raises(UserError, match="nowhere above the threshold"):
        replace(volume, cells=volume.cells[:0], thickness=volume.thickness[:0], colors=volume.colors[:0])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        write_volume(room(), tmp_path / "file" / "volume.safetensors")
