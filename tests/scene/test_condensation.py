"""Condensing a scene whose surface is known: a textured plane, three units in front of the cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.cameras.rays import RayBundle

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.keypoints.config import CondensationConfig
from condense_nerfstudio.keypoints.storage import read_condensed_scene, write_condensed_scene
from condense_nerfstudio.scene import posed_scene
from condense_nerfstudio.scene.condensation import condense_scene
from condense_nerfstudio.scene.keypoint_pictures import keypoint_sheet, seen_points
from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.posed_scene import TrainedScene
from condense_nerfstudio.scene.ray_answers import RayAnswers, look_along
from condense_nerfstudio.scene.world_frame import world_to_nerf

from .trainings import small_config, trained, write_folder

PLANE = -3.0
"""Where the surface is in the data set's frame."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> CondensePipeline:
    folder = write_folder(tmp_path_factory.mktemp("plane"), size=(160, 120))
    pipeline = trained(small_config(folder, folder / "outputs")).pipeline
    assert isinstance(pipeline, CondensePipeline)
    pipeline.eval()
    return pipeline


@pytest.fixture
def plane(pipeline: CondensePipeline, monkeypatch: pytest.MonkeyPatch) -> CondensePipeline:
    """The pipeline, with a field that knows its surface exactly; its other answers are its own."""
    manager = pipeline.datamanager
    frame = np.linalg.inv(world_to_nerf(manager.dataparser, manager.train_dataparser_outputs))
    normal, offset = torch.from_numpy(frame[2, :3]).float(), float(frame[2, 3])

    def knows_the_plane(model: CondenseModel, rays: RayBundle, features: bool = False) -> RayAnswers:
        answers = look_along(model, rays, features)
        answers.distance = (PLANE - offset - rays.origins @ normal) / (rays.directions @ normal)
        answers.spread = torch.full_like(answers.distance, 1e-3)
        answers.accumulation = torch.ones_like(answers.distance)
        return answers

    monkeypatch.setattr(posed_scene, "look_along", knows_the_plane)
    return pipeline


def condensed(pipeline: CondensePipeline, count: int = 40) -> CondensedScene:
    return condense_scene(TrainedScene(pipeline), count, "plane")


def test_points_lie_on_the_surface_in_the_frame_of_transforms_json(plane: CondensePipeline) -> None:
    points = condensed(plane).points
    assert len(points) > 10
    np.testing.assert_allclose(points.positions[:, 2], PLANE, atol=0.02)
    # What the cameras at x = 0 to 1 see with a focal length of 60: 80 pixels to either side, 60 up and down.
    assert (np.abs(points.positions[:, 1]) < 3.1).all() and (np.abs(points.positions[:, 0] - 0.5) < 4.6).all()
    np.testing.assert_allclose(points.normals, np.tile([0.0, 0.0, 1.0], (len(points), 1)), atol=0.05)
    np.testing.assert_allclose(points.scales, 32 * 3.0 / 60.0, rtol=0.5)  # a patch of 32 pixels, three units away


def test_points_carry_all_that_is_known_of_them(plane: CondensePipeline) -> None:
    scene = condensed(plane)
    points, manager = scene.points, plane.datamanager
    assert (points.views >= 3).all() and (points.views <= len(manager.train_dataset)).all()
    assert (points.scores > 0).all() and (points.scores < 1).all()
    assert {card.name: card.dim for card in scene.teachers} == {n: v.shape[1] for n, v in points.features.items()}
    assert [card.role for card in scene.teachers] == ["visual", "language"]
    assert all(len(card.revision) == 16 for card in scene.teachers)  # as the teachers told when they were trained on
    assert scene.detector.name == "gftt" and points.descriptors.shape[1] == scene.detector.dim
    assert all(np.isfinite(values).all() and values.any() for values in points.features.values())


def test_its_own_photographs_show_the_points(plane: CondensePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = condensed(plane).agreement
    assert usual is not None and 0.5 < usual <= 1.0
    monkeypatch.setattr(TrainedScene, "world_to_nerf", lambda self: np.diag([2.0, 2.0, 2.0, 1.0]))
    again = condensed(plane).agreement  # any frame will do, if all is told in it
    assert again == pytest.approx(usual, abs=0.02)


def test_what_is_written_is_read_again(plane: CondensePipeline, tmp_path: Path) -> None:
    scene = condensed(plane)
    write_condensed_scene(scene, tmp_path / "plane")
    np.testing.assert_array_equal(read_condensed_scene(tmp_path / "plane").points.positions, scene.points.positions)


def test_condensing_again_gives_the_same(plane: CondensePipeline) -> None:
    first, second = condensed(plane).points, condensed(plane).points
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.features["clip"], second.features["clip"])


def test_fewer_points_are_fewer_and_more_than_there_are_is_all(plane: CondensePipeline) -> None:
    assert len(condensed(plane, 5).points) == 5
    everything = condensed(plane, 100_000).points
    assert 40 < len(everything) < 10_000


def test_progress_goes_from_nothing_to_all(plane: CondensePipeline) -> None:
    told: list[float] = []
    condense_scene(TrainedScene(plane), 10, "plane", progress=lambda what, share: told.append(share))
    assert told == sorted(told) and told[-1] == 1.0 and len(told) > 10


def test_key_points_are_drawn_where_the_view_shows_them(plane: CondensePipeline) -> None:
    scene = condensed(plane)
    camera, batch = next(iter(plane.datamanager.fixed_indices_eval_dataloader))
    pixels, visible = seen_points(scene, camera, torch.full((120, 160), 100.0))
    index = int(plane.datamanager.eval_dataset.image_filenames[batch["image_idx"]].stem)
    x = 60.0 * (scene.points.positions[:, 0] - 0.2 * index) / 3.0 + 80.0
    y = -60.0 * scene.points.positions[:, 1] / 3.0 + 60.0
    np.testing.assert_allclose(pixels, np.stack([x, y], axis=1), atol=0.5)
    np.testing.assert_array_equal(visible, (x >= 0) & (x < 160) & (y >= 0) & (y < 120))
    _, hidden = seen_points(scene, camera, torch.full((120, 160), 1e-3))
    assert visible.any() and not hidden.any()
    assert keypoint_sheet(plane, scene, camera).width == 5 * 160


def test_a_checkpoint_without_a_head_says_how_to_get_one(pipeline: CondensePipeline) -> None:
    heads, pipeline.model.keypoints = pipeline.model.keypoints, None
    try:
        with pytest.raises(UserError, match=r"no key-point head: train .*detector\.name xfeat"):
            condensed(pipeline)
    finally:
        pipeline.model.keypoints = heads


def test_a_scene_in_which_nothing_is_found_says_so(plane: CondensePipeline) -> None:
    with pytest.raises(UserError, match=r"No key points were found in .*capture"):
        condense_scene(TrainedScene(plane), 10, "plane", CondensationConfig(min_views=100))


def test_features_that_are_not_finite_are_named(plane: CondensePipeline) -> None:
    weight = plane.model.head("clip").decoder.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] = torch.nan
    try:
        with pytest.raises(UserError, match="clip features are not finite"):
            condensed(plane)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
