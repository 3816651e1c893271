"""Neighbours among the vectors of many scenes: an index answers like its exact twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condense_nerfstudio.repository import upkeep, vectors
from condense_nerfstudio.repository.runs import places_of, scenes_of
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.spaces import detector_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import index
from condense_nerfstudio.repository.vectors import VectorSearch

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
    search = VectorSearch(repository, space.card, space.entries)
    exact, found = search.nearest(queries, 10, exact=True), search.nearest(queries, 10)
    np.testing.assert_allclose(found.similarities, exact.similarities, atol=1e-3)
    same = (found.scenes == exact.scenes) & (found.keypoints == exact.keypoints)
    assert same.mean() > 0.9 and same[:, 0].all()


def test_few_lists_miss_what_many_find(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_LIST", 20)
    repository.add([make_scene(500, 9, id="more")])
    index(repository)
    (space,) = detector_spaces(repository)
    queries = unit_vectors(np.random.default_rng(0), 20, DESCRIPTOR_DIM).astype(np.float32)
    search = VectorSearch(repository, space.card, space.entries)
    exact = search.nearest(queries, 10, exact=True)

    def missed() -> float:
        found = search.nearest(queries, 10)
        return float((exact.similarities - found.similarities).max())

    assert missed() < 1e-3
    monkeypatch.setattr(vectors, "_PROBES", 1)
    assert missed() > 0.05


def test_candidates_are_of_the_scenes_that_were_asked_about(repository: Store) -> None:
    (space,) = detector_spaces(repository)
    queries = unit_vectors(np.random.default_rng(2), 2, DESCRIPTOR_DIM).astype(np.float32)
    for exact in (False, True):
        found = VectorSearch(repository, space.card, space.entries[1:3]).candidates(queries, 100, exact)
        assert set(found.scenes.tolist()) == {0, 1}
        assert len(set(zip(found.scenes.tolist(), found.keypoints.tolist(), strict=True))) == len(found.scenes)
        for place, number in ((0, 1), (1, 2)):
            own = found.scenes == place
            expected = make_scene(250, number).points.descriptors[found.keypoints[own]]
            np.testing.assert_allclose(
                found.values[own], expected, atol=1e-3
            )  # half numbers are not quite of length one
    assert len(found.scenes) == 500


def test_of_the_foremost_scenes_the_nearest_are_read(repository: Store) -> None:
    (space,) = detector_spaces(repository)
    search = VectorSearch(repository, space.card, space.entries)
    query = make_scene(250, 2).points.descriptors[:1].astype(np.float32)
    everything, few = search.candidates(query, 300), search.candidates(query, 300, scenes=2)
    cosines = everything.values @ query[0]
    means = [np.sort(cosines[everything.scenes == scene])[::-1][:8].mean() for scene in range(4)]
    assert set(few.scenes.tolist()) == set(np.argsort(means)[-2:].tolist()) and 2 in few.scenes
    for scene in set(few.scenes.tolist()):
        kept, own = few.keypoints[few.scenes == scene], everything.scenes == scene
        nearest = everything.keypoints[own][np.argsort(-cosines[own])]
        assert len(kept) == 8 and len(set(kept.tolist()) & set(nearest[:8].tolist())) >= 7


def test_rows_know_their_scenes(repository: Store) -> None:
    entries = list(repository.entries().values())
    rows = repository.rows_of(vectors_table(entries[0].networks[0]), entries, ["generation"])
    found = scenes_of(rows, places_of([entries[3], entries[0]]))
    assert [int((found == place).sum()) for place in (-1, 0, 1)] == [500, 250, 250]
    expected = [
        {entries[3].generation: 0, entries[0].generation: 1}.get(one, -1) for one in rows["generation"].to_pylist()
    ]
    assert found.tolist() == expected


def test_a_small_repository_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "repo", create=True)
    store.add([make_scene(50, i, id=f"s{i}") for i in range(3)])
    (space,) = detector_spaces(store)
    search = VectorSearch(store, space.card, space.entries)
    query = make_scene(50, 1).points.descriptors[:1].astype(np.float32)
    reads: list[int] = []
    original = VectorSearch._of
    monkeypatch.setattr(VectorSearch, "_of", lambda self, rows: reads.append(len(rows)) or original(self, rows))
    for _ in range(2):
        found = search.nearest(query, 1)
        assert (found.scenes.item(), found.keypoints.item()) == (1, 0) and reads == [150]
    store.remove("s1")
    assert search.nearest(query, 1).scenes.item() != 1 and reads == [150, 100]


def test_rows_that_are_moved_while_an_index_answers_are_found(
    repository: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joining files gives rows other numbers, so the index is asked again."""
    (space,) = detector_spaces(repository)
    repository.add([make_scene(250, 7, id="s7")])
    search = VectorSearch(repository, space.card, space.entries)
    query = make_scene(250, 2).points.descriptors[:1].astype(np.float32)
    asked, original = [], vectors._search

    def moved(table: Any, query: Any) -> Any:
        builder = original(table, query)
        asked.append(query)
        if len(asked) == 1:
            answer = builder.with_row_id(True).select(["_distance"]).limit(20).to_arrow()
            repository.remove("s7")
            table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
            return Answered(answer)
        return builder

    monkeypatch.setattr(vectors, "_search", moved)
    found = search.candidates(query, 20)
    assert len(asked) == 2 and len(found.scenes) == 20
    best = (found.values @ query[0]).argmax()
    assert (found.scenes[best], found.keypoints[best]) == (2, 0)


class Answered:
    """A search whose answer is there."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self._answer if name == "to_arrow" else self
