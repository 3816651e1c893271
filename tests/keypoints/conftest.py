"""What tests of key points share."""

from __future__ import annotations

from pathlib import Path

import pytest

from condense_nerfstudio.keypoints.storage import write_condensed_scene

from .scenes import make_scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A condensed scene on disk, alone in a folder."""
    (tmp_path / "scenes").mkdir()
    write_condensed_scene(make_scene(), tmp_path / "scenes" / "fox")
    return tmp_path / "scenes" / "fox"
