"""Portraits of made-up scenes."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.repository.portrait import GROUND, MARKS, SIZE, choose_view, portrait

from ..keypoints.scenes import make_scene

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (40, 60, 230), (128, 128, 128)
WALLS = ((1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0))
"""Normals of a room's walls, which point inwards."""


def wall(normal: tuple[float, float, float], count: int, random: np.random.Generator) -> np.ndarray:
    """Positions on a wall of a room four wide and two high."""
    inwards = np.array(normal)
    along = np.cross(inwards, (0.0, 0.0, 1.0))
    return -2.0 * inwards + random.uniform(-1.8, 1.8, (count, 1)) * along + random.uniform(0, 2, (count, 1)) * (0, 0, 1)


def room(count: int = 60) -> CondensedScene:
    """A room whose walls are red, green, blue and grey."""
    random = np.random.default_rng(0)
    return make_scene(
        4 * count,
        positions=np.concatenate([wall(normal, count, random) for normal in WALLS]).astype(np.float32),
        normals=np.repeat(np.array(WALLS, dtype=np.float32), count, axis=0),
        colors=np.repeat(np.array([RED, GREEN, BLUE, GREY], dtype=np.uint8), count, axis=0),
        scales=np.full(4 * count, 0.3, dtype=np.float32),
    )


def near(picture: np.ndarray, color: tuple[int, int, int], reach: int = 40) -> np.ndarray:
    """Which pixels have about a colour."""
    return (np.abs(picture.astype(int) - color) < reach).all(axis=2)


@pytest.mark.parametrize(("number", "color"), [(0, RED), (1, GREEN), (2, BLUE)])
def test_the_view_faces_the_answer_and_the_ring_is_around_it(number: int, color: tuple[int, int, int]) -> None:
    scene = room()
    answer = 60 * number + 7
    picture = np.asarray(portrait(scene, (answer,)))
    view = choose_view(scene, (answer,))
    assert scene.points.normals[answer] @ view.axes[2] > 0.7
    ((column, row),) = view.pixels(scene.points.positions[[answer]])
    rows, columns = np.nonzero(near(picture, MARKS[0]))
    assert abs(rows.mean() - row) < 3 and abs(columns.mean() - column) < 3
    distances = np.hypot(rows - row, columns - column)
    assert distances.min() > 10 and distances.max() < 22
    assert near(picture, color)[round(row) - 3 : round(row) + 4, round(column) - 3 : round(column) + 4].any()
    assert near(picture, color).sum() > 500


def test_a_room_is_seen_through_the_backs_of_its_walls() -> None:
    scene = room()
    picture = np.asarray(portrait(scene, (7,)))
    assert not near(picture, GREEN).any()  # it stands between the eye and the red wall, with its back to the eye
    assert near(picture, BLUE).any() or near(picture, GREY).any()


def test_each_answer_has_a_ring_of_its_own_colour() -> None:
    scene = room()
    picture = np.asarray(portrait(scene, (7, 127)))
    assert near(picture, MARKS[0]).sum() > 30 and near(picture, MARKS[1]).sum() > 30
    assert not near(np.asarray(portrait(scene)), MARKS[0]).any()


def test_up_is_up() -> None:
    scene = room()
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], dtype=np.float32)  # z to -y, as COLMAP's
    frame = scene.world_to_nerf.copy()
    frame[:3, :3] = frame[:3, :3] @ turn.T
    turned = make_scene(
        240,
        world_to_nerf=frame,
        positions=scene.points.positions @ turn.T,
        normals=scene.points.normals @ turn.T,
        colors=scene.points.colors,
        scales=scene.points.scales,
    )
    for one, up in ((scene, (0.0, 0.0, 1.0)), (turned, (0.0, -1.0, 0.0))):
        view = choose_view(one, (7,))
        low, high = view.pixels(np.stack([one.points.positions[7], one.points.positions[7] + up]))
        assert high[1] < low[1] - 10 and abs(high[0] - low[0]) < 15


def test_a_stray_point_does_not_shrink_the_others() -> None:
    scene = room()
    before = near(np.asarray(portrait(scene)), GROUND, 6).mean()
    scene.points.positions[3] = (90.0, 80.0, -70.0)
    after = near(np.asarray(portrait(scene)), GROUND, 6).mean()
    assert after < before + 0.1


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_no_scene_makes_an_empty_picture_and_the_picture_is_always_the_same(count: int, scale: float) -> None:
    made = make_scene(count, seed=count)
    scene = make_scene(
        count,
        seed=count,
        positions=(scale * made.points.positions).astype(np.float32),
        scales=(scale * made.points.scales).astype(np.float32),
    )
    first, again = portrait(scene), portrait(scene)
    assert first.size == SIZE and first.tobytes() == again.tobytes()
    assert (~near(np.asarray(first), GROUND, 12)).sum() > 20


def test_points_at_one_place_and_answers_that_face_nobody_are_drawn() -> None:
    alike = make_scene(5, positions=np.ones((5, 3), dtype=np.float32))
    assert (~near(np.asarray(portrait(alike, (0, 4))), GROUND, 12)).sum() > 20
    below = make_scene(5, normals=np.tile(np.array([0.0, 0.0, -1.0], dtype=np.float32), (5, 1)))
    assert near(np.asarray(portrait(below, (2,), (160, 120))), MARKS[0], 80).any()
