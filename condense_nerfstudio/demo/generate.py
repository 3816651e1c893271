"""Making a collection of demo scenes, or duplicates and near misses of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from condense_nerfstudio.demo.gallery import build_gallery
from condense_nerfstudio.demo.ground_truth import Origin, TrueObject, load_ground_truth
from condense_nerfstudio.demo.recipe import Recipe, as_matrix, duplicate_recipe, fresh_recipe, near_miss_recipe
from condense_nerfstudio.demo.write import check_replaceable, write_scene
from condense_nerfstudio.errors import UserError

MAX_COUNT, MAX_VIEWS, MIN_SIDE, MAX_SIDE = 1000, 2000, 16, 4096


@dataclass(frozen=True)
class Options:
    """What to make."""

    count: int = 1
    seed: int = 0
    num_views: int = 40
    width: int = 640
    height: int = 480
    duplicate_of: Path | None = None
    near_miss_of: Path | None = None
    photographs: Sequence[str] | None = None
    """Catalogue names to draw from, for collections that hold some out; None: all."""
    solids: Sequence[str] | None = None
    """Likewise."""

    def __post_init__(self):
        _check_range("--count", self.count, 1, MAX_COUNT)
        _check_range("--seed", self.seed, 0, 2**63)
        _check_range("--num-views", self.num_views, 3, MAX_VIEWS)
        _check_range("--width", self.width, MIN_SIDE, MAX_SIDE)
        _check_range("--height", self.height, MIN_SIDE, MAX_SIDE)
        if self.duplicate_of and self.near_miss_of:
            raise UserError("--duplicate-of and --near-miss-of exclude each other: give one of them.")


def generate_scenes(
    output_dir: Path, options: Options, overwrite: bool = False, on_view: Callable[[], None] = lambda: None
) -> dict[Path, list[TrueObject]]:
    """Writes `options.count` scenes to output_dir/scene_000, scene_001, ...

    The same options give byte-identical folders. Each scene is complete or absent.

    Args:
        output_dir: made if it does not exist.
        options: what to make.
        overwrite: whether demo scenes that are already there may be replaced.
        on_view: called after each of the count * num_views views.

    Returns:
        The objects of each scene, by its folder.

    Raises:
        UserError: a folder exists already or cannot be written, or the original scene is missing or broken.
    """
    folders = [output_dir / f"scene_{index:03d}" for index in range(options.count)]
    for folder in folders:
        check_replaceable(folder, overwrite)
    recipes = [_recipe(options, index) for index in range(options.count)]
    written = {}
    for index, (folder, (recipe, origin)) in enumerate(zip(folders, recipes, strict=True)):
        gallery = build_gallery(recipe, options.num_views, options.width, options.height)
        written[folder] = write_scene(folder, gallery, recipe, origin, options.seed, index, on_view)
    return written


def _recipe(options: Options, index: int) -> tuple[Recipe, Origin | None]:
    """The recipe of one scene, and where it comes from."""
    original_folder = options.duplicate_of or options.near_miss_of
    if original_folder is None:
        return fresh_recipe(options.seed, index, options.photographs, options.solids), None
    original, name = load_ground_truth(original_folder).recipe, original_folder.resolve().name
    if options.near_miss_of:
        return near_miss_recipe(original, options.seed, index), Origin("near miss", name, None)
    recipe = duplicate_recipe(original, options.seed, index)
    to_this = np.array(recipe.room_to_world) @ np.linalg.inv(np.array(original.room_to_world))
    return recipe, Origin("duplicate", name, as_matrix(to_this))


def _check_range(flag: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UserError(f"{flag} is {value}: give a number from {least} to {most}.")
