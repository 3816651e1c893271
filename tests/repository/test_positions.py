"""Where key points are, by the numbers of their rows, or where these do not tell, by a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from condense_nerfstudio.repository.positions import Positions
from condense_nerfstudio.repository.runs import Runs
from condense_nerfstudio.repository.store import Store

from ..keypoints.scenes import make_scene


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([make_scene(20 + i, i, id=f"s{i}") for i in range(4)])
    return made


def test_key_points_are_read_in_the_order_that_was_asked_for(
    repository: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = list(repository.entries().values())
    reader = Positions(repository, entries)
    wanted = [np.array([7, 0, 7]), np.array([19])]
    for _ in range(2):
        found = reader.of([entries[2], entries[0]], wanted)
        for own, number, keypoints in zip(found, (2, 0), wanted, strict=True):
            assert own is not None
            np.testing.assert_array_equal(own, make_scene(20 + number, number).points.positions[keypoints])
        monkeypatch.setattr(Runs, "piece", lambda self, entry: None)  # as where files were joined
    assert reader.of([], []) == []


def test_a_scene_that_is_gone_has_none(repository: Store) -> None:
    entries = list(repository.entries().values())
    repository.remove("s1")
    gone, there = Positions(repository, entries).of(entries[1:3], [np.arange(3), np.arange(5)])
    assert gone is None and there is not None and len(there) == 5
