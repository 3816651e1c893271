"""Indexes, clearing and checking of repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condense_nerfstudio.repository import store as store_module
from condense_nerfstudio.repository import upkeep
from condense_nerfstudio.repository.embedding import embedding_card
from condense_nerfstudio.repository.log import generation_of
from condense_nerfstudio.repository.schema import LOG, POINTS, vectors_table
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import index, verify

from ..keypoints.scenes import make_scene


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([make_scene(300, i, id=f"s{i}") for i in range(4)])
    return made


def test_a_whole_repository_has_no_faults(repository: Store) -> None:
    told: list[str] = []
    assert verify(repository, told.append) == [] and told == ["s0", "s1", "s2", "s3"]
    index(repository)
    assert verify(Store(repository.uri)) == []


def test_altered_contents_are_found(repository: Store) -> None:
    generation = repository.entry("s1").generation
    table = repository.table(POINTS)
    table.update(where=f"generation = '{generation}' AND index = 0", values={"score": 0.123})
    repository.table(vectors_table(repository.entry("s2").networks[0])).delete(
        f"generation = '{repository.entry('s2').generation}' AND index = 5"
    )
    faults = {fault["scene"]: fault["fault"] for fault in verify(Store(repository.uri))}
    assert set(faults) == {"s1", "s2"}
    assert "SHA-256" in faults["s1"] and "rows are missing" in faults["s2"]


def test_a_scene_without_its_embedding_is_told(repository: Store) -> None:
    name = vectors_table(embedding_card(repository.entry("s1").networks[0]))
    repository.table(name).delete(f"generation = '{repository.entry('s1').generation}'")
    assert verify(repository) == [{"scene": "s1", "fault": "it is not embedded: add it again"}]


def test_rows_without_a_scene_are_found_and_cleared(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    table = repository.table(POINTS)
    rows = repository.rows(POINTS, repository.entry("s0"))
    strays = rows.set_column(0, rows.schema.field(0), [[generation_of(1)] * len(rows)])
    table.add(strays)
    (fault,) = verify(repository)
    assert fault["table"] == LOG and "1 additions own rows but no scene" in fault["fault"]
    monkeypatch.setattr(store_module, "_ABANDONED", 1.0)
    assert index(repository).cleared == 1 and verify(repository) == []


def test_many_vectors_are_indexed_and_an_index_that_is_behind_is_told(
    repository: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LEAST_INDEXED", 1000)
    told: list[str] = []
    done = index(repository, told.append)
    of_scenes = {vectors_table(embedding_card(entry.networks[0])) for entry in repository.entries().values()}
    assert {name for name, how in done.tables.items() if how == "exact"} == of_scenes
    assert told == repository.vector_tables()
    repository.add([make_scene(300, 9, id="late")])
    faults = verify(repository)
    assert {fault["table"] for fault in faults} == set(repository.vector_tables()) - of_scenes
    assert all("misses 300 of 1500 rows" in fault["fault"] for fault in faults)
    index(repository)
    assert verify(repository) == [] and repository.scene("late").id == "late"


def test_an_index_is_built_anew_when_much_was_added(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LEAST_INDEXED", 1000)
    index(repository)
    built: list[str] = []
    kind = type(repository.table(POINTS))
    build = kind.create_index

    def watched(table: Any, column: str, **options: Any) -> None:
        built.append(column)
        build(table, column, **options)

    monkeypatch.setattr(kind, "create_index", watched)
    repository.add([make_scene(300, 8, id="little")])
    index(repository)
    assert built == [] and verify(repository) == []
    repository.add([make_scene(800, 9, id="much")])
    index(repository)
    many = [name for name in repository.vector_tables() if repository.table(name).count_rows() >= 1000]
    assert len(many) == 3 and built == ["vector"] * 3 and verify(repository) == []


def test_points_of_a_scene_are_found_by_an_index(repository: Store) -> None:
    index(repository)
    for name in repository.table_names() - {LOG}:
        plan = repository.table(name).search().where("generation = 'x'").explain_plan()
        assert "ScalarIndexQuery" in plan
