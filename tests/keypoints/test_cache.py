"""Detections on disk: found again, believed only when whole, and made again otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.cache import cached_detections
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detections
from condense_nerfstudio.keypoints.gftt import GfttDetector

from .photographs import save_photograph


class Counting(GfttDetector):
    """Counts what it is asked."""

    calls = 0

    def detect(self, image: torch.Tensor) -> Detections:
        self.calls += 1
        return super().detect(image)


def detector(max_keypoints: int = 100) -> Counting:
    return Counting(DetectorConfig("gftt", max_keypoints=max_keypoints), torch.device("cpu"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_photograph(tmp_path / "image.png")


def only_file(root: Path) -> Path:
    (file,) = root.rglob("*.safetensors")
    return file


def test_a_second_request_detects_nothing(image: Path, tmp_path: Path) -> None:
    first, second = detector(), detector()
    (made,) = cached_detections([image], first, tmp_path / "cache")
    (read,) = cached_detections([image], second, tmp_path / "cache")
    assert (first.calls, second.calls) == (1, 0)
    for name in ("pixels", "scores", "descriptors", "heat"):
        np.testing.assert_array_equal(getattr(made, name), getattr(read, name))
    assert (made.image_size, made.pixel_size) == (read.image_size, read.pixel_size)


def test_other_options_are_another_entry(image: Path, tmp_path: Path) -> None:
    cached_detections([image], detector(), tmp_path / "cache")
    other = detector(max_keypoints=5)
    (found,) = cached_detections([image], other, tmp_path / "cache")
    assert other.calls == 1 and len(found) == 5


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_broken_file_is_made_again(image: Path, tmp_path: Path, damage: str) -> None:
    (good,) = cached_detections([image], detector(), tmp_path / "cache")
    file = only_file(tmp_path / "cache")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes({"cut": bytes(content[:-9]), "flip": bytes(content), "empty": b"", "text": b"hello"}[damage])
    again = detector()
    (found,) = cached_detections([image], again, tmp_path / "cache")
    assert again.calls == 1
    np.testing.assert_array_equal(found.pixels, good.pixels)


def test_a_photograph_without_key_points_is_kept_too(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "grey").save(tmp_path / "grey.png")
    first, second = detector(), detector()
    assert len(cached_detections([tmp_path / "grey.png"], first, tmp_path / "cache")[0]) == 0
    assert len(cached_detections([tmp_path / "grey.png"], second, tmp_path / "cache")[0]) == 0
    assert second.calls == 0


def test_missing_images_and_folders_that_are_files_are_one_sentence(image: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.png cannot be read"):
        cached_detections([tmp_path / "absent.png"], detector(), tmp_path / "cache")
    with pytest.raises(UserError, match="cache-dir"):
        cached_detections([image], detector(), image)
