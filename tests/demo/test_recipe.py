"""Recipes: which numbers stay and which change."""

from __future__ import annotations

import json

import numpy as np
import pytest

from condense_nerfstudio.demo.recipe import Recipe, duplicate_recipe, fresh_recipe, near_miss_recipe, similarity_scale


def test_every_scene_of_every_collection_has_seeds_of_its_own():
    recipes = [fresh_recipe(seed, index) for seed in range(4) for index in range(10)]
    seeds = [seed for recipe in recipes for seed in (recipe.content_seed, recipe.layout_seed, recipe.camera_seed)]
    assert len(set(seeds)) == len(seeds)


def test_a_duplicate_keeps_the_room_and_changes_cameras_exposure_and_world():
    original = fresh_recipe(0, 0)
    copy = duplicate_recipe(original, 0, 0)
    assert (copy.content_seed, copy.layout_seed) == (original.content_seed, original.layout_seed)
    assert copy.camera_seed != original.camera_seed
    assert abs(np.log2(copy.exposure / original.exposure)) >= 0.25


def test_a_near_miss_keeps_the_content_and_changes_the_layout():
    original = fresh_recipe(0, 0)
    other = near_miss_recipe(original, 0, 0)
    assert other.content_seed == original.content_seed and other.layout_seed != original.layout_seed


def test_worlds_of_duplicates_are_similarities_that_fit_a_16_bit_depth_map():
    scales = []
    for seed in range(50):
        matrix = np.array(duplicate_recipe(fresh_recipe(0, 0), seed, 0).room_to_world)
        scales.append(similarity_scale(matrix))
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(scales[-1] ** 3)
    assert 0.6 <= min(scales) < 0.8 and 1.3 < max(scales) <= 1.7


def test_json_round_trip():
    recipe = duplicate_recipe(fresh_recipe(1, 2, photographs=("cat", "moon"), solids=("box",)), 3, 4)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
