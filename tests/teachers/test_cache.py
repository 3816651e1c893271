import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.cache import cached_feature_maps, default_cache_root, open_feature_map


class CountingTeacher:
    """Mean colours of cells of 8 pixels."""

    name = "counting"
    dim = 3
    patch_size = 8

    def __init__(self, revision: str = "r1") -> None:
        self.revision = revision
        self.calls = 0

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        cells = (max(1, image.shape[0] // 8), max(1, image.shape[1] // 8))
        return torch.nn.functional.adaptive_avg_pool2d(image.permute(2, 0, 1), cells).permute(1, 2, 0)


def save_noise(path: Path, size: tuple[int, int] = (32, 24), seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_noise(tmp_path / "image.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def only_file(root: Path) -> Path:
    (file,) = root.rglob("*.*")
    return file


def test_second_request_does_not_call_the_teacher(image, root):
    teacher = CountingTeacher()
    first = cached_feature_maps([image], teacher, root)
    second = cached_feature_maps([image], CountingTeacher(), root)
    assert teacher.calls == 1
    assert first[0].dtype == np.float16 and first[0].shape == (3, 4, 3)
    np.testing.assert_array_equal(first[0], second[0])
    expected = teacher.encode_image(torch.from_numpy(np.asarray(Image.open(image)) / np.float32(255)))
    np.testing.assert_allclose(first[0], expected, atol=1e-3)


def test_one_safetensors_file_an_image_and_nothing_else(image, root, tmp_path):
    cached_feature_maps([image, save_noise(tmp_path / "b.png", seed=1)], CountingTeacher(), root)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(load_file(file)["features"].shape == (3, 4, 3) for file in files)


def test_equal_images_share_a_file_and_are_computed_once(image, root, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(image.read_bytes())
    teacher = CountingTeacher()
    maps = cached_feature_maps([image, copy, image], teacher, root)
    assert teacher.calls == 1 and len(maps) == 3


def test_only_the_missing_ones_are_computed(image, root, tmp_path):
    cached_feature_maps([image], CountingTeacher(), root)
    teacher = CountingTeacher()
    maps = cached_feature_maps([save_noise(tmp_path / "b.png", (16, 16), 1), image], teacher, root)
    assert teacher.calls == 1
    assert [m.shape for m in maps] == [(2, 2, 3), (3, 4, 3)]


def test_another_revision_is_another_entry(image, root):
    cached_feature_maps([image], CountingTeacher("r1"), root)
    other = CountingTeacher("r2")
    cached_feature_maps([image], other, root)
    assert other.calls == 1


def test_changed_image_bytes_are_another_entry(image, root):
    teacher = CountingTeacher()
    cached_feature_maps([image], teacher, root)
    save_noise(image, seed=5)
    cached_feature_maps([image], teacher, root)
    assert teacher.calls == 2


def flip_a_byte_of_the_data(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x10
    file.write_bytes(content)


def resave(file: Path, features: np.ndarray) -> None:
    """Only the contents are wrong: the checksum is right."""
    save_file({"features": features}, file, metadata={"sha256": hashlib.sha256(features.tobytes()).hexdigest()})


BREAKAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-10]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "garbage": lambda file: file.write_bytes(b"\xff" * 500),
    "header of brackets": lambda file: file.write_bytes((900).to_bytes(8, "little") + b"[" * 900),
    "header of a list": lambda file: file.write_bytes((2).to_bytes(8, "little") + b"[]"),
    "flipped bit": flip_a_byte_of_the_data,
    "wrong dimension": lambda file: resave(file, np.zeros((3, 4, 5), np.float16)),
    "wrong rank": lambda file: resave(file, np.zeros((12, 3), np.float16)),
    "wrong type": lambda file: resave(file, np.zeros((3, 4, 3), np.float32)),
    "not finite": lambda file: save_file({"features": np.full((3, 4, 3), np.nan, np.float16)}, file, {"sha256": "0"}),
    "another name": lambda file: save_file({"other": np.zeros((3, 4, 3), np.float16)}, file),
    "no cells": lambda file: resave(file, np.zeros((0, 4, 3), np.float16)),
    "no checksum": lambda file: save_file({"features": np.zeros((3, 4, 3), np.float16)}, file),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_file_is_computed_again(image, root, breakage):
    good = np.array(cached_feature_maps([image], CountingTeacher(), root)[0])
    file = only_file(root)
    BREAKAGES[breakage](file)
    assert open_feature_map(file, dim=3) is None
    teacher = CountingTeacher()
    np.testing.assert_array_equal(cached_feature_maps([image], teacher, root)[0], good)
    assert teacher.calls == 1
    assert open_feature_map(only_file(root), dim=3) is not None


def test_header_with_lying_shape_is_not_believed(image, root):
    cached_feature_maps([image], CountingTeacher(), root)
    content = only_file(root).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for shape in ([-3, -4, 3], [3, 4.0, 3], ["3", 4, 3], [0, 4, 3], None):
        header["features"]["shape"] = shape
        lie = json.dumps(header).encode()
        only_file(root).write_bytes(len(lie).to_bytes(8, "little") + lie + content[8 + size :])
        assert open_feature_map(only_file(root), dim=3) is None


@pytest.mark.parametrize(
    ("code", "culprit"), [(errno.ENOSPC, "replace"), (errno.EROFS, "write"), (errno.EACCES, "mkdir")]
)
def test_unwritable_folder_is_named_with_its_flag_and_leaves_nothing(image, root, monkeypatch, code, culprit):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    owner, name = {"replace": (os, "replace"), "write": (Path, "write_bytes"), "mkdir": (Path, "mkdir")}[culprit]
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(UserError) as caught:
        cached_feature_maps([image], CountingTeacher(), root)
    assert str(root) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert "--pipeline.datamanager.cache-dir" in str(caught.value)
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_cache_root_that_is_a_file_is_a_user_error(image, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cache-dir"):
        cached_feature_maps([image], CountingTeacher(), tmp_path / "file")


def test_interruption_loses_only_the_image_in_progress(root, tmp_path):
    images = [save_noise(tmp_path / f"{seed}.png", seed=seed) for seed in range(4)]

    class Interrupted(CountingTeacher):
        def encode_image(self, image):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().encode_image(image)

    with pytest.raises(KeyboardInterrupt):
        cached_feature_maps(images, Interrupted(), root)
    assert len([path for path in root.rglob("*") if path.is_file()]) == 2
    teacher = CountingTeacher()
    cached_feature_maps(images, teacher, root)
    assert teacher.calls == 2


def test_interruption_while_writing_leaves_no_temporary_file(image, root, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cached_feature_maps([image], CountingTeacher(), root)
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_progress_goes_to_stderr_and_only_when_there_is_work(image, root, capsys):
    cached_feature_maps([image], CountingTeacher(), root)
    first = capsys.readouterr()
    assert first.out == "" and "Features of counting" in first.err
    cached_feature_maps([image], CountingTeacher(), root)
    assert capsys.readouterr().err == ""


def test_transparency_becomes_white(root, tmp_path):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[8:, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    (features,) = cached_feature_maps([tmp_path / "rgba.png"], CountingTeacher(), root)
    np.testing.assert_allclose(features[0], 1, atol=1e-3)
    np.testing.assert_allclose(features[1], 0, atol=1e-3)


def test_grey_and_16_bit_images_are_read(root, tmp_path):
    Image.fromarray(np.full((16, 16), 51, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((16, 16), 51 * 256, np.uint16)).save(tmp_path / "deep.png")
    maps = cached_feature_maps([tmp_path / "grey.png", tmp_path / "deep.png"], CountingTeacher(), root)
    for feature_map in maps:
        np.testing.assert_allclose(feature_map, 0.2, atol=1e-3)


def test_truncated_and_missing_images_are_user_errors(image, root, tmp_path):
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(UserError, match=r"image\.png"):
        cached_feature_maps([image], CountingTeacher(), root)
    with pytest.raises(UserError, match=r"absent\.png.*transforms\.json"):
        cached_feature_maps([tmp_path / "absent.png"], CountingTeacher(), root)


def test_values_beyond_half_precision_are_clamped_and_nan_is_refused(image, root):
    class Extreme(CountingTeacher):
        value = 1e6

        def encode_image(self, image):
            return torch.full((2, 2, 3), self.value)

    assert cached_feature_maps([image], Extreme(), root)[0].max() == np.finfo(np.float16).max
    broken = Extreme("r2")
    broken.value = float("nan")
    with pytest.raises(UserError, match=r"counting.*image\.png"):
        cached_feature_maps([image], broken, root)


def test_maps_hold_no_file_descriptors_and_writing_to_one_leaves_the_file_alone(root, tmp_path):
    images = [save_noise(tmp_path / f"{seed}.png", (16, 16), seed) for seed in range(30)]
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc to count file descriptors")
    before = len(list(descriptors.iterdir()))
    maps = cached_feature_maps(images, CountingTeacher(), root)
    assert len(list(descriptors.iterdir())) < before + 5
    original = np.array(maps[0])
    maps[0][:] = 7
    np.testing.assert_array_equal(cached_feature_maps(images[:1], CountingTeacher(), root)[0], original)


@pytest.mark.parametrize("xdg", ["absolute", "relative", "unset"])
def test_default_root_honours_xdg_cache_home(monkeypatch, tmp_path, xdg):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg != "unset":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg") if xdg == "absolute" else "relative")
    base = tmp_path / "xdg" if xdg == "absolute" else tmp_path / "home" / ".cache"
    assert default_cache_root() == base / "condense_nerfstudio"
