"""Captures as people have them: odd images, few images, broken files, and what the data manager makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from PIL import Image

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.data_manager import CondenseDataManager, CondenseDataManagerConfig
from condense_nerfstudio.teachers.config import TeacherConfig

from .captures import edit_transforms, write_capture


def _manager(folder: Path, **options) -> CondenseDataManager:
    """A data manager without teachers, as a training sets it up."""
    parser = options.pop("dataparser", NerfstudioDataParserConfig())
    config = CondenseDataManagerConfig(
        data=folder,
        dataparser=parser,
        visual=TeacherConfig(name="none"),
        language=TeacherConfig(name="none"),
        train_num_rays_per_batch=64,
        **options,
    )
    return config.setup(device="cpu", test_mode="val")


def test_batches_carry_the_colours_of_their_pixels(tmp_path: Path) -> None:
    manager = _manager(write_capture(tmp_path / "capture"))
    rays, batch = manager.next_train(0)
    assert len(rays) == 64 and batch["image"].shape == (64, 3)
    for (image, row, column), color in zip(batch["indices"].tolist(), batch["image"], strict=True):
        expected = manager.train_dataset.get_numpy_image(image)[row, column] / np.float32(255)
        np.testing.assert_allclose(color.numpy(), expected, atol=1e-6)


def test_the_same_seed_draws_the_same_pixels(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "capture")
    first, second = (_manager(folder).next_train(0)[1]["indices"] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, _manager(folder, pixel_seed=1).next_train(0)[1]["indices"])


def test_large_images_are_reduced_while_loading(tmp_path: Path) -> None:
    manager = _manager(write_capture(tmp_path / "capture", size=(200, 150)), max_image_side=100)
    assert manager.train_dataset.get_numpy_image(0).shape == (75, 100, 3)
    camera = manager.train_dataset.cameras[0]
    assert (int(camera.width), int(camera.height), float(camera.fx)) == (100, 75, 30.0)


def test_small_images_are_not_enlarged(tmp_path: Path) -> None:
    manager = _manager(write_capture(tmp_path / "capture"), max_image_side=1000)
    assert manager.train_dataset.get_numpy_image(0).shape == (48, 64, 3)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_small_captures_keep_one_image_for_evaluation(tmp_path: Path, count: int) -> None:
    manager = _manager(write_capture(tmp_path / "capture", count=count))
    assert len(manager.eval_dataset) == 1
    assert len(manager.train_dataset) == count - 1
    assert not set(manager.eval_dataset.image_filenames) & set(manager.train_dataset.image_filenames)


def test_herz_jesus_whose_split_leaves_nothing_keeps_one_image(shared: Path) -> None:
    manager = _manager(shared / "data" / "herz_jesus_p8", max_image_side=64)
    assert (len(manager.train_dataset), len(manager.eval_dataset)) == (7, 1)


def test_images_of_mixed_sizes_work(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "capture")

    def per_frame(meta: dict) -> None:
        shared_keys = {key: meta.pop(key) for key in ("w", "h", "fl_x", "fl_y", "cx", "cy")}
        for i, frame in enumerate(meta["frames"]):
            scale = 1 + i % 2
            frame.update({key: value * scale for key, value in shared_keys.items()})
            path = folder / frame["file_path"]
            Image.open(path).resize((64 * scale, 48 * scale)).save(path)

    edit_transforms(folder, per_frame)
    manager = _manager(folder)
    sizes = {manager.train_dataset.get_numpy_image(i).shape for i in range(len(manager.train_dataset))}
    assert sizes == {(48, 64, 3), (96, 128, 3)}
    rays, batch = manager.next_train(0)
    assert torch.isfinite(rays.directions).all() and batch["image"].shape == (64, 3)


@pytest.mark.parametrize(
    ("mode", "channels"), [("RGBA", 4), ("L", 3), ("LA", 4), ("P", 3), ("I;16", 3), ("1", 3), ("CMYK", 3)]
)
def test_images_of_every_kind_work(tmp_path: Path, mode: str, channels: int) -> None:
    folder = write_capture(tmp_path / "capture")
    for path in (folder / "images").iterdir():
        image = Image.open(path)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        else:
            image = image.convert(mode)
        image.save(path, format="TIFF" if mode == "CMYK" else "PNG")
    manager = _manager(folder)
    assert manager.next_train(0)[1]["image"].shape == (64, channels)
    values = manager.train_dataset.get_numpy_image(0)[..., :3]
    assert values.std() > 10, "the picture must not be clipped to one value"


def test_masked_pixels_are_never_drawn(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "capture")
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[10:20, 30:40] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    edit_transforms(folder, lambda meta: [frame.update(mask_path="mask.png") for frame in meta["frames"]])
    indices = _manager(folder).next_train(0)[1]["indices"]
    assert ((indices[:, 1] >= 10) & (indices[:, 1] < 20) & (indices[:, 2] >= 30) & (indices[:, 2] < 40)).all()


def _break_transforms(text: str):
    return lambda folder: (folder / "transforms.json").write_text(text)


def _set_pose(value: object):
    def change(meta: dict) -> None:
        meta["frames"][1]["transform_matrix"] = value

    return lambda folder: edit_transforms(folder, change)


def _keep_frames(count: int):
    return lambda folder: edit_transforms(folder, lambda meta: meta.update(frames=meta["frames"][:count]))


def _without(key: str):
    return lambda folder: edit_transforms(folder, lambda meta: meta.pop(key))


def _truncate(folder: Path) -> None:
    path = folder / "images" / "001.png"
    path.write_bytes(path.read_bytes()[:200])


def _wrong_shape(folder: Path) -> None:
    Image.new("RGB", (64, 64)).save(folder / "images" / "001.png")


NAN_POSE = [[float("nan")] * 4] * 3 + [[0, 0, 0, 1]]
SCALED_POSE = (np.eye(4) * [2, 2, 2, 1]).tolist()
MIRRORED_POSE = np.diag([1, 1, -1, 1]).tolist()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_break_transforms("{not json"), ["transforms.json", "not readable JSON"]),
        (_break_transforms("[1, 2]"), ["transforms.json", "no list 'frames'"]),
        (_break_transforms(json.dumps({"frames": [{"file": "x"}]})), ["transforms.json", "file_path"]),
        (_keep_frames(0), ["transforms.json", "lists no frames"]),
        (_keep_frames(1), ["transforms.json", "one image only"]),
        (_set_pose(NAN_POSE), ["images/001.png", "not finite"]),
        (_set_pose(SCALED_POSE), ["images/001.png", "not a rotation"]),
        (_set_pose(MIRRORED_POSE), ["images/001.png", "not a rotation"]),
        (_set_pose([[1, 2], [3, 4]]), ["images/001.png", "4x4"]),
        (_set_pose("text"), ["images/001.png", "4x4"]),
        (_set_pose(None), ["images/001.png", "4x4"]),
        (lambda folder: (folder / "images" / "001.png").unlink(), ["001.png", "--pipeline.datamanager.skip-missing"]),
        (_truncate, ["001.png", "cannot be read"]),
        (_wrong_shape, ["001.png", "64x64", "64x48"]),
        (lambda folder: (folder / "transforms.json").unlink(), ["no transforms.json"]),
        (_without("fl_x"), ["cannot be read as a capture", "fx not specified"]),
    ],
)
def test_a_damaged_capture_is_named_in_one_sentence(tmp_path: Path, damage, words: list[str]) -> None:
    folder = write_capture(tmp_path / "capture")
    damage(folder)
    with pytest.raises(UserError) as error:
        _manager(folder)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        _manager(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        _manager(tmp_path / "empty")


def test_missing_images_can_be_skipped(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "capture", count=10)
    for name in ("000.png", "004.png"):
        (folder / "images" / name).unlink()
    manager = _manager(folder, skip_missing_images=True)
    left = [path.name for path in [*manager.train_dataset.image_filenames, *manager.eval_dataset.image_filenames]]
    assert len(left) == 8 and "000.png" not in left and "004.png" not in left
    assert len(manager.train_dataset.cameras) == len(manager.train_dataset.image_filenames)


def test_a_missing_folder_of_reduced_images_is_explained(tmp_path: Path) -> None:
    parser = NerfstudioDataParserConfig(downscale_factor=4)
    with pytest.raises(UserError, match="drop --downscale-factor"):
        _manager(write_capture(tmp_path / "capture"), dataparser=parser)


def test_viewing_needs_no_features_and_no_images(tmp_path: Path) -> None:
    config = CondenseDataManagerConfig(
        data=write_capture(tmp_path / "capture"),
        dataparser=NerfstudioDataParserConfig(),
        visual=TeacherConfig(name="dinov2", model=str(tmp_path / "no such model")),
    )
    manager = config.setup(device="cpu", test_mode="test")
    assert "feature_statistics" not in manager.train_dataset.metadata
