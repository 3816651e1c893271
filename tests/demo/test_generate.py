"""Whole scenes, small: what is written, that its geometry agrees, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import minimum_filter

from condense_nerfstudio.demo.generate import Options, generate_scenes
from condense_nerfstudio.demo.ground_truth import GroundTruth, TrueFrame, load_ground_truth
from condense_nerfstudio.errors import UserError

SMALL = {"seed": 3, "num_views": 12, "width": 96, "height": 72}


def make(folder: Path, **options) -> GroundTruth:
    generate_scenes(folder, Options(**{**SMALL, **options}))
    return load_ground_truth(folder / "scene_000")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> GroundTruth:
    return make(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def duplicate(scene, tmp_path_factory) -> GroundTruth:
    return make(tmp_path_factory.mktemp("duplicate"), duplicate_of=scene.folder)


@pytest.fixture(scope="module")
def near_miss(scene, tmp_path_factory) -> GroundTruth:
    return make(tmp_path_factory.mktemp("near_miss"), near_miss_of=scene.folder)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def intrinsics(scene: GroundTruth) -> tuple[float, float, float]:
    transforms = json.loads((scene.folder / "transforms.json").read_text())
    assert transforms["fl_x"] == transforms["fl_y"]
    return transforms["fl_x"], transforms["cx"], transforms["cy"]


def unproject(scene: GroundTruth, frame: TrueFrame) -> np.ndarray:
    """World points of a frame's pixels, (height * width, 3), from its depth map and transforms.json only."""
    depth = pixels(frame.depth) * 1e-3
    focal, cx, cy = intrinsics(scene)
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    points = np.stack([(x - cx) / focal * depth, -(y - cy) / focal * depth, -depth], axis=-1).reshape(-1, 3)
    return points @ frame.camera_to_world[:3, :3].T + frame.camera_to_world[:3, 3]


def project(scene: GroundTruth, frame: TrueFrame, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column, row and z-depth of world points; column and row are -1 outside the picture."""
    focal, cx, cy = intrinsics(scene)
    local = (points - frame.camera_to_world[:3, 3]) @ frame.camera_to_world[:3, :3]
    depth = -local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        column, row = np.floor(local[:, 0] / depth * focal + cx), np.floor(-local[:, 1] / depth * focal + cy)
    inside = (depth > 0) & (column >= 0) & (column < SMALL["width"]) & (row >= 0) & (row < SMALL["height"])
    return np.where(inside, column, -1).astype(int), np.where(inside, row, -1).astype(int), depth


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_byte_identical_folders(scene, tmp_path):
    assert tree(make(tmp_path).folder) == tree(scene.folder)


def test_every_frame_has_its_maps_in_the_promised_formats(scene):
    assert len(scene.frames) == SMALL["num_views"]
    for frame in scene.frames:
        image, depth, instances, classes = (
            pixels(path) for path in (frame.image, frame.depth, frame.instances, frame.classes)
        )
        assert image.shape == (SMALL["height"], SMALL["width"], 3) and image.dtype == np.uint8
        assert depth.dtype == np.uint16 and depth.min() > 300 and depth.max() < 12_000
        class_of = {entry.id: scene.class_names.index(entry.class_name) for entry in scene.objects}
        assert (np.vectorize(class_of.get)(instances) == classes).all()


@pytest.mark.parametrize("which", ["scene", "duplicate", "near_miss"])
def test_pixels_unproject_into_the_box_of_their_object(which, request):
    scene: GroundTruth = request.getfixturevalue(which)
    boxes = {entry.id: entry for entry in scene.objects}
    slack = 0.004 * scene.recipe.world_scale + 0.002
    for frame in scene.frames[::3]:
        points, instances = unproject(scene, frame), pixels(frame.instances).ravel()
        low, high, centre, half, axes = (
            np.array([value(boxes[identity]) for identity in instances])
            for value in (
                lambda entry: entry.box_min,
                lambda entry: entry.box_max,
                lambda entry: entry.oriented_centre,
                lambda entry: np.array(entry.oriented_extents) / 2,
                lambda entry: entry.oriented_axes,
            )
        )
        assert ((points > low - slack) & (points < high + slack)).all()
        assert (np.abs(np.einsum("nij,ni->nj", axes, points - centre)) < half + slack).all()


def test_views_agree_in_depth_and_colour(scene):
    compared = 0
    for first, second in zip(scene.frames, scene.frames[1:], strict=False):
        column, row, depth = project(scene, second, unproject(scene, first))
        inside = column >= 0
        column, row, depth = column[inside], row[inside], depth[inside]
        seen = pixels(second.depth)[row, column] * 1e-3
        # Nothing that one view sees floats in front of what another sees there, up to a pixel at silhouettes and the
        # depth of a frame, whose bars are about a pixel wide.
        nearest = minimum_filter(pixels(second.depth), 3)[row, column] * 1e-3
        assert (depth > nearest - 0.06).mean() > 0.995
        same_point = np.abs(depth - seen) < 0.01
        colour = pixels(first.image).reshape(-1, 3)[inside][same_point].astype(int)
        difference = np.abs(colour - pixels(second.image)[row, column][same_point]).mean(axis=1)
        assert np.median(difference) < 8 and np.median(np.abs(colour - colour.mean(axis=0))) > 16
        compared += same_point.sum()
    assert compared > 5000


def test_photographs_have_their_phrase_and_are_seen_often_also_in_the_held_out_views(tmp_path):
    scene = make(tmp_path, num_views=40, width=64, height=48, photographs=("cat", "rocket", "moon"))
    photographs = {entry.name: entry for entry in scene.objects if entry.kind == "photograph"}
    assert {name: entry.phrase for name, entry in photographs.items()} == {
        "cat": "a cat",
        "rocket": "a rocket",
        "moon": None,
    }
    held_out = nerfstudio_held_out([str(frame.image) for frame in scene.frames])
    instances = np.stack([pixels(frame.instances) for frame in scene.frames])
    for entry in photographs.values():
        share = (instances == entry.id).mean(axis=(1, 2))
        assert (share > 0.02).sum() >= 6
        assert share[held_out].max() > 0.02


def nerfstudio_held_out(names: list[str]) -> np.ndarray:
    from nerfstudio.data.utils.dataparsers_utils import get_train_eval_split_fraction

    return get_train_eval_split_fraction(names, 0.9)[1]


def test_photographs_keep_their_colours_on_the_wall(scene):
    """The mean colour of its pixels is near, and tinted like, that of the file it came from."""
    from condense_nerfstudio.demo.textures import linear_to_srgb, photograph_texture

    for entry in scene.objects:
        if entry.kind != "photograph":
            continue
        inside = [pixels(frame.image)[pixels(frame.instances) == entry.id] for frame in scene.frames]
        seen = np.concatenate(inside).mean(axis=0) / 255
        expected = linear_to_srgb(photograph_texture(entry.name, (0.0, 0.0, 1.0, 1.0))).mean(axis=(0, 1))
        assert np.abs(seen - expected).max() < 0.35
        assert np.corrcoef(seen - seen.mean(), expected - expected.mean())[0, 1] > 0 or np.ptp(expected) < 0.05


def test_a_duplicate_is_the_original_moved_by_the_stored_similarity(scene, duplicate):
    assert duplicate.origin is not None and duplicate.origin.relation == "duplicate"
    assert duplicate.origin.scene == "scene_000"
    similarity = np.array(duplicate.origin.original_to_this)
    assert [entry.name for entry in duplicate.objects] == [entry.name for entry in scene.objects]
    for before, after in zip(scene.objects, duplicate.objects, strict=True):
        moved = similarity[:3, :3] @ before.oriented_centre + similarity[:3, 3]
        np.testing.assert_allclose(moved, after.oriented_centre, atol=1e-9)
    # And what its cameras see, moved back, lies in the original's boxes.
    boxes = {entry.id: entry for entry in scene.objects}
    back = np.linalg.inv(similarity)
    for frame in duplicate.frames[::4]:
        points = unproject(duplicate, frame) @ back[:3, :3].T + back[:3, 3]
        for point, identity in zip(points[::7], pixels(frame.instances).ravel()[::7], strict=True):
            box = boxes[int(identity)]
            assert (point > np.array(box.box_min) - 0.005).all() and (point < np.array(box.box_max) + 0.005).all()
    brightness = [np.mean([pixels(frame.image).mean() for frame in each.frames]) for each in (scene, duplicate)]
    assert abs(brightness[0] - brightness[1]) > 4


def test_a_duplicate_of_a_duplicate_is_related_to_that_duplicate(duplicate, tmp_path):
    second = make(tmp_path, duplicate_of=duplicate.folder, seed=9)
    assert second.origin is not None
    similarity = np.array(second.origin.original_to_this)
    moved = similarity[:3, :3] @ duplicate.objects[-1].centroid + similarity[:3, 3]
    np.testing.assert_allclose(moved, second.objects[-1].centroid, atol=1e-9)


def test_a_near_miss_has_the_same_objects_at_other_places(scene, near_miss):
    assert near_miss.origin is not None and near_miss.origin.relation == "near miss"
    assert [entry.name for entry in near_miss.objects] == [entry.name for entry in scene.objects]
    exhibits = [
        (np.array(before.centroid), np.array(after.centroid), before, after)
        for before, after in zip(scene.objects, near_miss.objects, strict=True)
        if before.kind in ("photograph", "solid")
    ]
    assert np.median([np.linalg.norm(after - before) for before, after, *_ in exhibits]) > 0.5
    for _, _, before, after in exhibits:
        np.testing.assert_allclose(before.oriented_extents, after.oriented_extents, atol=1e-6)


def test_objects_stand_on_something(scene):
    solids = [entry for entry in scene.objects if entry.kind == "solid"]
    pedestals = {entry.name: entry for entry in scene.objects if entry.kind == "pedestal"}
    for solid in solids:
        pedestal = pedestals[f"pedestal of {solid.name}"]
        assert pedestal.box_min[2] == pytest.approx(0) and solid.box_min[2] == pytest.approx(pedestal.box_max[2])


def test_nerfstudio_reads_the_scene(scene):
    from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig

    parser = NerfstudioDataParserConfig(data=scene.folder).setup()
    train, held_out = (parser.get_dataparser_outputs(split=split) for split in ("train", "val"))
    assert len(train.image_filenames) == 11 and len(held_out.image_filenames) == 1
    assert train.cameras.camera_to_worlds.shape == (11, 3, 4)
    assert len(train.metadata["depth_filenames"]) == 11
    assert not train.cameras.distortion_params.any()  # pyright: ignore[reportOptionalMemberAccess]


def test_an_existing_scene_is_kept_unless_overwrite_is_given(tmp_path):
    former = tmp_path / "scene_000"
    (former / "images").mkdir(parents=True)
    for name in ("ground_truth.json", "images/frame_00099.png"):
        (former / name).write_text("former")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="--overwrite"):
        generate_scenes(tmp_path, Options(num_views=3, width=16, height=16))
    assert tree(tmp_path) == before
    generate_scenes(tmp_path, Options(num_views=3, width=16, height=16), overwrite=True)
    assert len(load_ground_truth(former).frames) == 3 and not (former / "images/frame_00099.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["scene_000"]


def test_overwrite_never_removes_a_folder_that_is_no_demo_scene(tmp_path):
    (tmp_path / "scene_000").mkdir()
    (tmp_path / "scene_000" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="no demo scene"):
        generate_scenes(tmp_path, Options(), overwrite=True)
    assert (tmp_path / "scene_000" / "thesis.txt").read_text() == "precious"


def test_an_interrupted_scene_leaves_nothing_behind(tmp_path):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_scenes(tmp_path, Options(num_views=3, width=16, height=16), on_view=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_output_dir_that_is_a_file_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output-dir"):
        generate_scenes(tmp_path / "file", Options(num_views=3, width=16, height=16))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"count": 0}, "--count"),
        ({"seed": -1}, "--seed"),
        ({"num_views": 2}, "--num-views"),
        ({"width": 1}, "--width"),
        ({"height": 100_000}, "--height"),
        ({"duplicate_of": Path("a"), "near_miss_of": Path("b")}, "--duplicate-of"),
    ],
)
def test_options_out_of_range_name_their_flag(options, flag):
    with pytest.raises(UserError, match=flag):
        Options(**options)


def test_the_original_must_be_a_demo_scene(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        generate_scenes(tmp_path / "out", Options(duplicate_of=tmp_path))
    assert not (tmp_path / "out").exists()


def test_photographs_and_solids_can_be_held_out(tmp_path):
    scene = make(tmp_path, num_views=3, width=16, height=16, photographs=("cat", "moon"), solids=("torus",))
    names = {entry.class_name for entry in scene.objects if entry.kind in ("photograph", "solid")}
    assert names == {"cat", "moon", "torus"}
    with pytest.raises(UserError, match="no photograph dragon"):
        generate_scenes(tmp_path / "out", Options(photographs=("dragon",)))
