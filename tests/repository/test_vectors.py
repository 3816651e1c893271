"""Neighbours among the vectors of many scenes: an index answers like its exact twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from condense_nerfstudio.repository import upkeep, vectors
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.spaces import detector_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import index
from condense_nerfstudio.repository.vectors import candidates, nearest, scenes_of

from ..keypoints.scenes import DESCRIPTOR_DIM, make_scene, unit_vectors


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Of a thousand vectors, indexed."""
    for module in (upkeep, vectors):
        monkeypatch.setattr(module, "LEAST_INDEXED", 500)
    made = Store(tmp_path / "repo", create=True)
    made.add([make_scene(250, i, id=f"s{i}") for i in range(4)])
    index(made)
    return made


@pytest.mark.parametrize("count", [1, 7])
def test_the_index_finds_what_the_exact_twin_finds(repository: Store, count: int) -> None:
    (space,) = detector_spaces(repository)
    queries = unit_vectors(np.random.default_rng(count), count, DESCRIPTOR_DIM).astype(np.float32)
    exact = nearest(repository, space.card, space.entries, queries, 10, exact=True)
    found = nearest(repository, space.card, space.entries, queries, 10)
    np.testing.assert_allclose(found.similarities, exact.similarities, atol=1e-3)
    same = (found.scenes == exact.scenes) & (found.keypoints == exact.keypoints)
    assert same.mean() > 0.9 and same[:, 0].all()


def test_few_lists_miss_what_many_find(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_LIST", 20)
    repository.add([make_scene(500, 9, id="more")])
    index(repository)
    (space,) = detector_spaces(repository)
    queries = unit_vectors(np.random.default_rng(0), 20, DESCRIPTOR_DIM).astype(np.float32)
    exact = nearest(repository, space.card, space.entries, queries, 10, exact=True)

    def missed() -> float:
        found = nearest(repository, space.card, space.entries, queries, 10)
        return float((exact.similarities - found.similarities).max())

    assert missed() < 1e-3
    monkeypatch.setattr(vectors, "_PROBES", 1)
    assert missed() > 0.05


def test_candidates_are_of_the_scenes_that_were_asked_about(repository: Store) -> None:
    (space,) = detector_spaces(repository)
    queries = unit_vectors(np.random.default_rng(2), 2, DESCRIPTOR_DIM).astype(np.float32)
    for exact in (False, True):
        found = candidates(repository, space.card, space.entries[1:3], queries, 100, exact)
        assert set(found.scenes.tolist()) == {0, 1}
        assert len(set(zip(found.scenes.tolist(), found.keypoints.tolist(), strict=True))) == len(found.scenes)
        for place, number in ((0, 1), (1, 2)):
            own = found.scenes == place
            expected = make_scene(250, number).points.descriptors[found.keypoints[own]]
            np.testing.assert_array_equal(found.values[own], expected)
    assert len(found.scenes) == 500


def test_rows_know_their_scenes(repository: Store) -> None:
    entries = list(repository.entries().values())
    rows = repository.rows_of(vectors_table(entries[0].networks[0]), entries, ["generation"])
    found = scenes_of(rows, [entries[3], entries[0]])
    assert [int((found == place).sum()) for place in (-1, 0, 1)] == [500, 250, 250]
    expected = [
        {entries[3].generation: 0, entries[0].generation: 1}.get(one, -1) for one in rows["generation"].to_pylist()
    ]
    assert found.tolist() == expected
