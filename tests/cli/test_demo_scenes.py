"""`condense demo-scenes`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from condense_nerfstudio.cli.demo_scenes import DemoScenes
from condense_nerfstudio.errors import UserError


def test_the_command_writes_scenes_and_says_what_can_be_asked(tmp_path, capsys):
    command = DemoScenes(output_dir=tmp_path, count=2, seed=7, num_views=3, width=16, height=16)
    result = command.run()
    assert [scene["scene"] for scene in result["scenes"]] == ["scene_000", "scene_001"]
    for scene in result["scenes"]:
        assert (tmp_path / scene["scene"] / "transforms.json").is_file()
        assert 3 <= len(scene["phrases"]) <= 4
    captured = capsys.readouterr()
    assert captured.out == "" and "Rendering demo scenes" in captured.err
    command.show(result)
    assert str(tmp_path / "scene_001") in capsys.readouterr().out


def test_collections_can_hold_photographs_and_solids_out(tmp_path: Path) -> None:
    command = DemoScenes(tmp_path, num_views=3, width=16, height=16, photographs=("cat", "moon"), solids=("cone",))
    command.run()
    truth = json.loads((tmp_path / "scene_000/ground_truth.json").read_text())
    kinds = {(entry["kind"], entry["class_name"]) for entry in truth["objects"]}
    assert {name for kind, name in kinds if kind == "photograph"} <= {"cat", "moon"}
    assert {name for kind, name in kinds if kind == "solid"} == {"cone"}
    with pytest.raises(UserError, match="no photograph dog"):
        DemoScenes(tmp_path / "other", photographs=("dog",)).run()
