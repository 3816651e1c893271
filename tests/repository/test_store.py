"""The store of a repository: whole scenes or none, whoever else writes, reads or is killed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.keypoints.storage import as_files
from condense_nerfstudio.repository import migration, schema, store, upkeep
from condense_nerfstudio.repository.embedding import embedding_card
from condense_nerfstudio.repository.schema import LOG, POINTS, vectors_table
from condense_nerfstudio.repository.store import Store

from ..keypoints.scenes import make_scene
from .processes import worker


def scene(name: str, seed: int = 0, count: int = 20) -> CondensedScene:
    return make_scene(count, seed, id=name)


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([scene("a", 1), scene("b", 2, 30), scene("c", 3)])
    return made


def test_what_is_added_is_there_byte_by_byte(repository: Store) -> None:
    assert list(Store(repository.uri).entries()) == ["a", "b", "c"]
    for name, seed, count in (("a", 1, 20), ("b", 2, 30), ("c", 3, 20)):
        assert as_files(Store(repository.uri).scene(name)) == as_files(scene(name, seed, count))


def test_adding_again_replaces_and_removing_leaves_nothing(repository: Store) -> None:
    repository.add([scene("b", 9, 5)])
    assert as_files(repository.scene("b")) == as_files(scene("b", 9, 5))
    assert repository.table(POINTS).count_rows() == 45
    repository.remove("a")
    assert list(repository.entries()) == ["b", "c"] and repository.table(POINTS).count_rows() == 25
    embeddings = vectors_table(embedding_card(repository.entry("b").networks[0]))
    for name in repository.table_names() - {LOG}:
        assert repository.table(name).count_rows() == (2 if name == embeddings else 25)
    with pytest.raises(UserError, match="has no scene 'a'"):
        repository.scene("a")
    repository.add([scene("a", 4)])
    assert as_files(Store(repository.uri).scene("a")) == as_files(scene("a", 4))


def test_an_id_twice_in_one_go_ends_with_the_last(repository: Store) -> None:
    told: list[str] = []
    repository.add([scene("d", 1), scene("d", 2)], told.append)
    assert told == ["d", "d"] and as_files(repository.scene("d")) == as_files(scene("d", 2))


def test_networks_that_must_not_be_compared_have_tables_of_their_own(repository: Store) -> None:
    other = scene("other", 5)
    repository.add([replace(other, teachers=(replace(other.teachers[0], revision="newer"), other.teachers[1]))])
    tables = {vectors_table(card) for name in ("a", "other") for card in repository.entry(name).networks[1]}
    assert len(tables) == 3 and tables < repository.table_names()
    assert repository.table(vectors_table(other.teachers[1])).count_rows() == 90


def test_strange_ids_are_only_names(repository: Store) -> None:
    for name in ("it's; DROP", "a' OR '1'='1", "..x", "日本"):
        repository.add([scene(name)])
        assert as_files(repository.scene(name)) == as_files(scene(name))
        repository.remove(name)
    with pytest.raises(UserError, match="faulty"):
        repository.add([scene("../x")])
    assert list(repository.entries()) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["missing", "file", "folder", "full folder"])
def test_what_is_no_repository_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "place"
    if kind == "file":
        path.write_text("")
    elif kind != "missing":
        path.mkdir()
    if kind == "full folder":
        (path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="place"):
        Store(path)
    if kind in ("file", "full folder"):
        with pytest.raises(UserError, match="place"):
            Store(path, create=True)


def test_a_repository_of_the_first_version_gets_embeddings_once(repository: Store) -> None:
    (name,) = {vectors_table(embedding_card(entry.networks[0])) for entry in repository.entries().values()}
    before = repository.table(name).to_arrow().sort_by("generation")
    repository._database.drop_table(name)
    log = repository.table(LOG).to_arrow()
    repository._database.drop_table(LOG)
    old = pa.schema([log.schema.field(0).remove_metadata(), *list(log.schema)[1:]], {schema.VERSION_KEY: "1"})
    repository._database.create_table(LOG, log.cast(old))
    for _ in range(2):
        opened = Store(repository.uri)
        after = opened.table(name).to_arrow().sort_by("generation")
        assert after == before
    assert schema.checked_version("", opened.table(LOG).schema) == schema.VERSION == 2
    opened.add([scene("new", 7)])
    assert list(Store(repository.uri).entries()) == ["a", "b", "c", "new"] and opened.table(name).count_rows() == 4


def test_of_two_processes_that_migrate_at_once_both_go_on(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second cannot write the version, which is the new one already."""
    log = repository.table(LOG)
    log.update_field_metadata({"path": "id", "metadata": {schema.VERSION_KEY: "1"}})
    other = Store.__new__(Store)
    other.__dict__.update(repository.__dict__)
    other._tables = {}
    add_embeddings = migration.MIGRATIONS[1]

    def overtaken(store: Store) -> None:
        add_embeddings(store)
        log.update_field_metadata({"path": "id", "metadata": {schema.VERSION_KEY: "2"}})
        table = store.table(LOG)
        monkeypatch.setattr(type(table), "update_field_metadata", _fails)

    monkeypatch.setitem(migration.MIGRATIONS, 1, overtaken)
    migration.bring_up_to_date(other)
    assert list(other.entries()) == ["a", "b", "c"]
    monkeypatch.setitem(migration.MIGRATIONS, 1, add_embeddings)
    monkeypatch.setattr(migration, "checked_version", lambda uri, schema: 1)
    with pytest.raises(UserError, match="cannot be brought up to date"):
        migration.bring_up_to_date(other)


def _fails(*_: object) -> None:
    raise RuntimeError("UpdateConfig is incompatible with a concurrent one")


def test_a_newer_program_s_repository_is_refused(repository: Store) -> None:
    repository.table(LOG).update_field_metadata({"path": "id", "metadata": {schema.VERSION_KEY: "3"}})
    with pytest.raises(UserError, match="version 3, and this program reads up to 2"):
        Store(repository.uri)


def test_a_foreign_table_of_that_name_is_no_repository(tmp_path: Path) -> None:
    import lancedb
    import pyarrow as pa

    lancedb.connect(tmp_path / "other").create_table(LOG, schema=pa.schema([pa.field("id", pa.string())]))
    with pytest.raises(UserError, match="no repository"):
        Store(tmp_path / "other")


def test_rows_of_several_scenes_are_read_at_once(repository: Store) -> None:
    entries = repository.entries()
    rows = repository.rows_of(POINTS, [entries["c"], entries["a"]], ["generation", "index"])
    found = sorted(zip(rows["generation"].to_pylist(), rows["index"].to_pylist(), strict=True))
    assert found == sorted((entries[name].generation, i) for name in ("a", "c") for i in range(20))


def test_entries_that_stay_are_not_read_again(repository: Store) -> None:
    before = dict(repository.entries())
    other = Store(repository.uri)
    other.add([scene("b", 9, 5), scene("d", 4)])
    other.remove("c")
    after = repository.entries()
    assert list(after) == ["a", "b", "d"] and after["a"] is before["a"]
    assert after == Store(repository.uri).entries() and after["b"] != before["b"]


def test_rows_that_are_missing_are_noticed(repository: Store) -> None:
    generation = repository.entry("a").generation
    repository.table(POINTS).delete(f"generation = '{generation}' AND index = 3")
    with pytest.raises(UserError, match=r"'a' .*damaged"):
        repository.scene("a")
    assert repository.scene("b").id == "b"


def test_a_full_disk_is_a_sentence(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(repository.table(POINTS)), "add", full)
    with pytest.raises(UserError, match=r"cannot be written .*No space left"):
        repository.add([scene("d")])
    assert list(Store(repository.uri).entries()) == ["a", "b", "c"]


def test_rows_of_killed_writers_are_unseen_and_cleared(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # Killed between the points and the log.
        real = repository.table
        patched.setattr(repository, "table", lambda name: real(name) if name != LOG else _Dying(real(name), killed))
        with pytest.raises(KeyboardInterrupt):
            repository.add([scene("d")])
    fresh = Store(repository.uri)
    assert list(fresh.entries()) == ["a", "b", "c"]
    assert len(fresh.unowned()) == 1 and fresh.clear() == 0  # it may be at work still
    monkeypatch.setattr(store, "_ABANDONED", 0.0)
    assert fresh.clear() == 1 and not fresh.unowned()
    assert fresh.table(POINTS).count_rows() == 70


class _Dying:
    """A table to which nothing can be added."""

    def __init__(self, table: Any, add: Any) -> None:
        self._table, self.add = table, add

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


def test_eight_writers_and_eight_readers_lose_nothing(tmp_path: Path) -> None:
    uri, count, stop = str(tmp_path / "repo"), 3, tmp_path / "stop"
    Store(uri, create=True)
    readers = [worker("read", uri, stop) for _ in range(8)]
    writers = [worker("write", uri, i, count) for i in range(8)]
    said = [process.communicate(timeout=240)[1] for process in writers]
    stop.write_text("")
    said += [process.communicate(timeout=60)[1] for process in readers]
    assert [process.returncode for process in (*writers, *readers)] == [0] * 16, "".join(said)[-2000:]
    last = Store(uri)
    assert set(last.entries()) == {"shared", *(f"{i}-{j}" for i in range(8) for j in range(1, count))}
    for i in range(8):
        for j in range(1, count):
            assert as_files(last.scene(f"{i}-{j}")) == as_files(scene(f"{i}-{j}", 10 * i + j))
    last.scene("shared")
    last.clear()
    assert not last.unowned() and last.table(POINTS).count_rows() == 20 * len(last.entries())


def test_writers_killed_at_any_moment_leave_a_readable_store(tmp_path: Path) -> None:
    uri = str(tmp_path / "repo")
    Store(uri, create=True).add([scene("first")])
    random = np.random.default_rng(0)
    for i in range(3):
        process = worker("write", uri, i, 500)
        seen = len(Store(uri).entries())
        deadline = time.monotonic() + 60
        while len(Store(uri).entries()) < seen + 2:  # it is at work
            assert time.monotonic() < deadline
        time.sleep(float(random.uniform(0, 0.1)))
        process.kill()
        process.communicate()
        after = Store(uri)
        for name in after.entries():
            after.scene(name)
    after.add([scene("last")])
    assert {"first", "last"} <= set(after.entries())


def test_an_index_whose_building_was_killed_is_built_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "repo")
    Store(uri, create=True).add(scene(f"s{i}", i, 300) for i in range(4))
    for delay in (0.0, 0.05, 0.2):
        process = worker("index", uri)
        assert process.stdout is not None and process.stdout.readline() == "begins\n"
        time.sleep(delay)
        process.kill()
        process.communicate()
        after = Store(uri)
        assert [len(after.scene(name).points) for name in after.entries()] == [300] * 4
    monkeypatch.setattr(upkeep, "LEAST_INDEXED", 100)
    after = Store(uri)
    assert "indexed" in upkeep.index(after).tables.values() and upkeep.verify(after) == []
