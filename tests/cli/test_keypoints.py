"""What `condense keypoints` refuses before it loads anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from condense_nerfstudio.cli.keypoints import Keypoints
from condense_nerfstudio.errors import UserError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_keypoints": 0}, "--num-keypoints is 0"),
        ({"id": "../x"}, "pass --id with a name without slashes"),
        ({"id": ""}, "cannot be a scene's id"),
        ({"id": "a\nb"}, "cannot be a scene's id"),
    ],
)
def test_options_out_of_range_are_one_sentence(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Keypoints(tmp_path / "config.yml", tmp_path / "scene", **options).run()


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    with pytest.raises(UserError, match="scene exists: choose another"):
        Keypoints(tmp_path / "config.yml", tmp_path / "scene").run()
    with pytest.raises(UserError, match="is no condensed scene, so --overwrite leaves it alone"):
        Keypoints(tmp_path / "config.yml", tmp_path / "scene", overwrite=True).run()
