"""Reading ground_truth.json, which anyone may have written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from condense_nerfstudio.demo.ground_truth import Origin, TrueObject, ground_truth_json, load_ground_truth
from condense_nerfstudio.demo.recipe import as_matrix, fresh_recipe
from condense_nerfstudio.errors import UserError

CAT = TrueObject(
    id=1,
    name="cat",
    class_name="cat",
    kind="photograph",
    phrase="a cat",
    box_min=(0.0, 0.0, 0.0),
    box_max=(1.0, 0.1, 1.0),
    centroid=(0.5, 0.05, 0.5),
    oriented_centre=(0.5, 0.05, 0.5),
    oriented_extents=(1.0, 0.1, 1.0),
    oriented_axes=as_matrix(np.eye(3)),
)


@pytest.fixture
def scene(tmp_path):
    origin = Origin("duplicate", "scene_007", as_matrix(np.diag([2.0, 2.0, 2.0, 1.0])))
    truth = ground_truth_json(5, 0, fresh_recipe(5, 0, photographs=("cat",)), origin, [CAT])
    frames = [
        {
            "file_path": f"images/{name}.png",
            "depth_file_path": f"depths/{name}.png",
            "instance_file_path": f"instances/{name}.png",
            "class_file_path": f"classes/{name}.png",
            "transform_matrix": np.eye(4).tolist(),
        }
        for name in ("b", "a")
    ]
    (tmp_path / "ground_truth.json").write_text(json.dumps(truth))
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    return tmp_path


def change(path, edit):
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def test_what_was_written_is_read(scene):
    truth = load_ground_truth(scene)
    assert truth.objects == (CAT,)
    assert truth.recipe == fresh_recipe(5, 0, photographs=("cat",))
    assert truth.origin == Origin("duplicate", "scene_007", as_matrix(np.diag([2.0, 2.0, 2.0, 1.0])))
    assert [frame.image.name for frame in truth.frames] == ["a.png", "b.png"]  # as nerfstudio sorts them
    assert truth.frames[0].depth == scene / "depths" / "a.png"


@pytest.mark.parametrize(
    "edit",
    [
        lambda values: values.update(format="something"),
        lambda values: values.update(generator_version=0),
        lambda values: values.pop("objects"),
        lambda values: values["objects"][0].update(box_min=[0, 0]),
        lambda values: values["objects"][0].update(box_min=[0, 0, float("nan")]),
        lambda values: values["objects"][0].update(class_name="dragon"),
        lambda values: values["objects"].append("cat"),
        lambda values: values.update(recipe="rm -rf"),
        lambda values: values["recipe"].update(content_seed=-1),
        lambda values: values["recipe"].update(content_seed=True),
        lambda values: values["recipe"].update(exposure=float("inf")),
        lambda values: values["recipe"].update(room_to_world=[[1, 2], [3, 4]]),
        lambda values: values["recipe"].update(room_to_world=np.diag([1.0, 2.0, 1.0, 1.0]).tolist()),
        lambda values: values["recipe"].update(photographs=["dragon"]),
        lambda values: values["recipe"].update(command="x"),
        lambda values: values["origin"].update(original_to_this=np.zeros((4, 4)).tolist()),
    ],
)
def test_a_broken_ground_truth_is_a_user_error_that_names_the_file(scene, edit):
    change(scene / "ground_truth.json", edit)
    with pytest.raises(UserError, match=r"ground_truth\.json"):
        load_ground_truth(scene)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd"])
def test_frames_cannot_point_outside_the_scene(scene, name):
    change(scene / "transforms.json", lambda values: values["frames"][0].update(depth_file_path=name))
    with pytest.raises(UserError, match="outside the scene"):
        load_ground_truth(scene)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe\x00"])
@pytest.mark.parametrize("file", ["ground_truth.json", "transforms.json"])
def test_files_that_are_no_json_object_are_user_errors(scene, file, content):
    (scene / file).write_bytes(content)
    with pytest.raises(UserError, match=file):
        load_ground_truth(scene)
