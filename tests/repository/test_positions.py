"""Where key points are, read and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from condense_nerfstudio.repository import positions
from condense_nerfstudio.repository.positions import Positions
from condense_nerfstudio.repository.store import Store

from ..keypoints.scenes import make_scene


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([make_scene(20 + i, i, id=f"s{i}") for i in range(4)])
    return made


def test_scenes_are_read_in_the_order_that_was_asked_for(repository: Store) -> None:
    entries = list(repository.entries().values())
    asked = [entries[2], entries[0]]
    reader = Positions(repository, entries)
    for _ in range(2):  # read, and known
        found = reader.of(asked)
        for own, number in zip(found, (2, 0), strict=True):
            assert own is not None
            np.testing.assert_array_equal(own, make_scene(20 + number, number).points.positions)


def test_a_scene_that_is_gone_has_none(repository: Store) -> None:
    entries = list(repository.entries().values())
    repository.remove("s1")
    gone, there = Positions(repository, entries).of(entries[1:3])
    assert gone is None and there is not None and len(there) == 22


def test_those_that_were_asked_for_last_are_kept(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "_KEPT", 2)
    entries = list(repository.entries().values())
    reader = Positions(repository, entries)
    reader.of(entries[:2])
    reader.of(entries[:1])
    reader.of(entries[3:])
    assert list(reader._known) == [entries[0].generation, entries[3].generation]
