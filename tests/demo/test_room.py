"""Layouts over many seeds: nothing overlaps, everything is inside."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.demo.catalogue import photograph_named
from condense_nerfstudio.demo.room import draw_arrangement, draw_content
from condense_nerfstudio.demo.surfaces import build_objects


def draw(seed: int):
    content = draw_content(np.random.default_rng([seed, 0]))
    return content, draw_arrangement(np.random.default_rng([seed, 1]), content)


@pytest.mark.parametrize("seed", range(30))
def test_pictures_hang_apart_on_the_wall_and_every_wall_has_one(seed):
    content, arrangement = draw(seed)
    assert {wall for wall, _, _ in arrangement.picture_places} == {0, 1, 2, 3}
    for wall in range(4):
        spans = sorted(
            (along - picture.outer_size[0] / 2, along + picture.outer_size[0] / 2)
            for picture, (where, along, _) in zip(content.pictures, arrangement.picture_places, strict=True)
            if where == wall
        )
        ends = [
            -arrangement.size[wall % 2] / 2,
            *(end for span in spans for end in span),
            arrangement.size[wall % 2] / 2,
        ]
        assert all(right - left > 0.15 for left, right in zip(ends[::2], ends[1::2], strict=True))
    for picture, (_, _, height) in zip(content.pictures, arrangement.picture_places, strict=True):
        half = picture.outer_size[1] / 2
        assert height - half > 0.3 and height + half < arrangement.size[2] - 0.1


@pytest.mark.parametrize("seed", range(30))
def test_pedestals_stand_apart_and_inside_the_room(seed):
    content, arrangement = draw(seed)
    objects = build_objects(content, arrangement)
    pedestals = [entry.vertices for entry in objects if entry.kind == "pedestal"]
    centres = [vertices.mean(axis=0)[:2] for vertices in pedestals]
    reach = [
        np.linalg.norm(vertices[:, :2] - centre, axis=1).max()
        for vertices, centre in zip(pedestals, centres, strict=True)
    ]
    for k, centre in enumerate(centres):
        assert (np.abs(pedestals[k][:, :2]).max(axis=0) < np.array(arrangement.size[:2]) / 2 - 0.02).all()
        for other in range(k):
            assert np.linalg.norm(centre - centres[other]) > reach[k] + reach[other]


@pytest.mark.parametrize("seed", range(10))
def test_names_are_unique_and_phrases_are_asked_for_what_is_there(seed):
    content, arrangement = draw(seed)
    objects = build_objects(content, arrangement)
    assert len({entry.name for entry in objects}) == len(objects) < 256
    for entry in objects:
        assert entry.phrase == (photograph_named(entry.name).phrase if entry.kind == "photograph" else None)
    assert 3 <= sum(entry.phrase is not None for entry in objects) <= 4


def test_scenes_differ_in_content_and_size():
    drawn = [draw(seed) for seed in range(20)]
    assert len({frozenset(picture.photograph for picture in content.pictures) for content, _ in drawn}) > 10
    assert len({frozenset(solid.name for solid in content.solids) for content, _ in drawn}) == 20
    assert len({arrangement.size for _, arrangement in drawn}) == 20
