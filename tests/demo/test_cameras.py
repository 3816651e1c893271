"""Camera paths."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.demo.cameras import held_out
from condense_nerfstudio.demo.gallery import build_gallery
from condense_nerfstudio.demo.recipe import fresh_recipe


@pytest.mark.parametrize("num_views", [3, 6, 10, 12, 40, 41, 100])
def test_held_out_frames_are_nerfstudios(num_views):
    from nerfstudio.data.utils.dataparsers_utils import get_train_eval_split_fraction

    expected = get_train_eval_split_fraction([str(k) for k in range(num_views)], 0.9)[1]
    assert held_out(num_views).tolist() == expected.tolist()


def test_the_path_is_smooth_upright_and_clear_of_everything():
    gallery = build_gallery(fresh_recipe(0, 0), num_views=40, width=32, height=24)
    poses = gallery.poses
    np.testing.assert_allclose(
        poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (40, 1, 1)), atol=1e-9
    )
    assert (np.linalg.det(poses[:, :3, :3]) > 0).all()
    assert (np.abs(poses[:, 2, 0]) < 1e-9).all()  # the horizon is level
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.min() > 0.1 and steps.max() < 0.9
    assert np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1).max() > 2  # wide baselines too
    for pose in poses:
        depth, _ = gallery.renderer.glance(pose, gallery.intrinsics)
        assert depth.min() > 0.3 and np.median(depth) > 1.2
