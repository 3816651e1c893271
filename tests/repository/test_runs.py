"""Whose key point a row is, by its number, wherever the scenes' rows lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from condense_nerfstudio.repository.positions import Positions
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.runs import ROW, Runs
from condense_nerfstudio.repository.schema import POINTS
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import index

from ..keypoints.scenes import make_scene


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([make_scene(20 + i, i, id=f"s{i}") for i in range(4)])
    return made


def assert_told(repository: Store, names: list[str]) -> None:
    """What numbers tell of all rows is what stands in them; and positions are found."""
    entries = [repository.entry(name) for name in names]
    rows = repository.table(POINTS).search().with_row_id(True).limit(None).to_arrow().to_pylist()
    np.random.default_rng(0).shuffle(rows)
    scenes, keypoints = Runs(repository, POINTS, entries).owners(np.array([row[ROW] for row in rows]))
    places = {entry.generation: place for place, entry in enumerate(entries)}
    for row, scene, keypoint in zip(rows, scenes.tolist(), keypoints.tolist(), strict=True):
        expected = (places[row["generation"]], row["index"]) if row["generation"] in places else (-1, -1)
        assert (scene, keypoint) == expected
    assert len(rows) > sum(entry.count for entry in entries) or -1 not in scenes
    everything = [np.arange(entry.count) for entry in entries]
    for entry, found in zip(entries, Positions(repository, entries).of(entries, everything), strict=True):
        assert found is not None
        np.testing.assert_array_equal(found, repository.scene(entry.id).points.positions)


def split(repository: Store, name: str, kept: int) -> None:
    """Lays the key points of a scene from one on into a fragment of their own."""
    table, entry = repository.table(POINTS), repository.entry(name)
    rows = repository.rows(POINTS, entry).sort_by("index")
    table.delete(f"generation = '{entry.generation}' AND index >= {kept}")
    table.add(rows.slice(kept))


def test_scenes_that_were_added_together_and_later(repository: Store) -> None:
    repository.add([make_scene(9, 7, id="later")])
    assert_told(repository, ["s3", "later", "s0", "s1", "s2"])


def test_scenes_that_are_not_asked_about_or_gone(repository: Store) -> None:
    repository.remove("s1")
    repository.add([make_scene(30, 8, id="s2")])
    assert_told(repository, ["s3", "s2"])


@pytest.mark.parametrize("name", ["s0", "s2", "s3"])
@pytest.mark.parametrize("joined", [False, True])
def test_a_scene_in_two_fragments(repository: Store, name: str, joined: bool) -> None:
    split(repository, name, 5)
    if joined:
        index(repository)
    assert_told(repository, ["s0", "s1", "s2", "s3"])


def test_fragments_that_were_joined_since(repository: Store) -> None:
    entries = list(repository.entries().values())
    runs = Runs(repository, POINTS, entries)
    rows = repository.table(POINTS).search().select(["index"]).with_row_id(True).limit(None).to_arrow()
    before = array(rows, ROW).astype(np.int64)
    assert (runs.owners(before)[0] >= 0).all()
    repository.add([make_scene(40, 5, id="more")])
    index(repository)
    scenes, keypoints = runs.owners(before)
    assert (scenes == -1).all() and (keypoints == -1).all()
    assert_told(repository, ["s0", "s1", "s2", "s3", "more"])


def test_no_rows_and_no_scenes(repository: Store) -> None:
    nothing = np.empty(0, dtype=np.int64)
    entries = list(repository.entries().values())
    assert [len(one) for one in Runs(repository, POINTS, entries).owners(nothing)] == [0, 0]
    scenes, _ = Runs(repository, POINTS, []).owners(np.arange(3))
    assert (scenes == -1).all()
