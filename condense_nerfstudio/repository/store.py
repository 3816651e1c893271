"""The store of a repository: scenes come and go whole, whoever else reads and writes.

Lance tables take appends of many writers at once, but no transaction spans two tables. So an addition first appends its
rows to all other tables, under a generation of its own, and then one row to the log; from that moment it is there. The
newest row of an id counts; older generations are invisible from then on, and their rows are cleared away afterwards. A
writer that is killed leaves rows that no log row names: nobody sees them, and :meth:`Store.clear` removes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.repository.log import Entry, Log, generation_of, time_of
from condense_nerfstudio.repository.migration import bring_up_to_date
from condense_nerfstudio.repository.rows import as_rows, from_rows
from condense_nerfstudio.repository.schema import (
    LOG,
    LOG_SCHEMA,
    POINTS,
    POINTS_SCHEMA,
    vectors_table,
)

if TYPE_CHECKING:
    from lancedb.db import DBConnection
    from lancedb.table import Table

_BATCH = 64
"""Scenes that are committed together: a commit costs milliseconds, and leaves a file that every reader opens."""
_TRIES = 20
"""How often a deletion is tried that meets another writer's."""
_ABANDONED = 3600.0
"""Seconds after which rows that no log row names are taken for those of a killed writer."""


class Store:
    """A repository; a folder, or what else LanceDB connects to (an object store's URI).

    Args:
        uri: where it is.
        create: whether a missing repository is made.

    Raises:
        UserError: there is none, something else is there, or a newer program made it.
    """

    def __init__(self, uri: str | Path, create: bool = False) -> None:
        import lancedb

        self.uri = str(uri)
        local = "://" not in self.uri
        if local and Path(self.uri).exists() and not Path(self.uri).is_dir():
            raise UserError(f"{self.uri} is a file: a repository is a folder.")
        if local and not create and not Path(self.uri).is_dir():
            raise UserError(f"There is no repository {self.uri}: make one with condense repo add.")
        if local and create and Path(self.uri).is_dir() and self._is_foreign(Path(self.uri)):
            raise UserError(f"{self.uri} is a folder of something else: choose another for the repository.")
        try:
            self._database: DBConnection = lancedb.connect(self.uri, read_consistency_interval=timedelta(0))
            names = self.table_names()
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"Repository {self.uri} cannot be opened ({_first_line(error)}).") from error
        if LOG not in names:
            if not create:
                raise UserError(f"{self.uri} is no repository: make one with condense repo add.")
            self._create()
        self._tables: dict[str, Table] = {}
        self._log = Log(self.uri, lambda: self.table(LOG))
        bring_up_to_date(self)

    @staticmethod
    def _is_foreign(folder: Path) -> bool:
        """Whether a folder holds anything but tables."""
        return any(not child.name.endswith(".lance") and not child.name.startswith(".") for child in folder.iterdir())

    def _create(self) -> None:
        """Makes the tables that every repository has; another process may do the same."""
        for name, schema in ((POINTS, POINTS_SCHEMA), (LOG, LOG_SCHEMA)):
            self._made(name, schema)

    def _made(self, name: str, schema: pa.Schema) -> None:
        with self.writing():
            self._database.create_table(name, schema=schema, exist_ok=True)

    def table_names(self) -> set[str]:
        """The names of all tables."""
        names: set[str] = set()
        page: str | None = None
        while True:
            answer = self._database.list_tables(page_token=page)
            names |= set(answer.tables)
            page = answer.page_token
            if not page:
                return names

    def vector_tables(self) -> list[str]:
        """The tables of all networks' vectors."""
        return sorted(self.table_names() - {LOG, POINTS})

    def writing(self) -> AbstractContextManager[None]:
        """Turns a write that fails into one sentence."""
        return _writing(self.uri)

    def table(self, name: str) -> Table:
        """A table as it is now."""
        if name not in self._tables:
            self._tables[name] = self._database.open_table(name)
        return self._tables[name]

    def entries(self) -> Mapping[str, Entry]:
        """The scenes that are there, by id."""
        return self._log.entries()

    def entry(self, scene_id: str) -> Entry:
        """One scene that is there.

        Raises:
            UserError: it is not.
        """
        try:
            return self.entries()[scene_id]
        except KeyError as error:
            raise UserError(f"Repository {self.uri} has no scene {scene_id!r}: see condense repo list.") from error

    def scene(self, scene_id: str) -> CondensedScene:
        """A scene as it was added.

        Raises:
            UserError: it is not there, or its rows are missing.
        """
        while True:
            entry = self.entry(scene_id)
            try:
                return self._read(entry)
            except ValueError as error:
                # Somebody may have replaced it while its rows were read.
                if self.entry(scene_id).generation == entry.generation:
                    raise UserError(f"Scene {scene_id!r} of {self.uri} is damaged ({error}): add it again.") from error

    def _read(self, entry: Entry) -> CondensedScene:
        detector, teachers = entry.networks
        vectors = {name: self.rows(name, entry) for name in map(vectors_table, (detector, *teachers))}
        return from_rows(entry.header, self.rows(POINTS, entry), vectors)

    def rows(self, table: str, entry: Entry, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of an addition in a table, in any order."""
        return self.rows_of(table, [entry], columns)

    def rows_of(self, table: str, entries: Sequence[Entry], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one or more additions in a table, in any order; faster than asking for one after another."""
        query = self.table(table).search().where(_among([entry.generation for entry in entries]))
        query = query.limit(sum(entry.count for entry in entries))
        return (query if columns is None else query.select(list(columns))).to_arrow()

    def add(self, scenes: Iterable[CondensedScene], report: Callable[[str], None] = lambda name: None) -> None:
        """Adds scenes; one whose id is there is replaced. Each is there in whole or not at all.

        Args:
            scenes: what to add; they are taken one after another.
            report: told the id of every scene that is there from now on.

        Raises:
            UserError: a scene cannot be written, or the disk is full; those reported before are there.
        """
        batch: list[CondensedScene] = []
        for scene in scenes:
            if any(other.id == scene.id for other in batch):
                self._commit(batch, report)
                batch = []
            batch.append(scene)
            if len(batch) == _BATCH:
                self._commit(batch, report)
                batch = []
        self._commit(batch, report)

    def _commit(self, scenes: Sequence[CondensedScene], report: Callable[[str], None]) -> None:
        if not scenes:
            return
        before = self.entries()
        parts: dict[str, list[pa.Table]] = {}
        for scene in scenes:
            stamp = time.time_ns()
            try:
                rows = as_rows(scene, generation_of(stamp), stamp)
            except ValueError as error:
                raise UserError(f"Scene {scene.id!r} is not added, since it is faulty: {error}.") from error
            for name, table in rows.items():
                parts.setdefault(name, []).append(table)
        log = parts.pop(LOG)
        for name, tables in parts.items():
            self.append(name, tables)
        self.append(LOG, log)  # from here on they are there
        for scene in scenes:
            report(scene.id)
        self._erase([before[scene.id].generation for scene in scenes if scene.id in before])

    def append(self, name: str, rows: Sequence[pa.Table]) -> None:
        """Appends rows to a table, which is made where there is none.

        Raises:
            UserError: it cannot be written.
        """
        if name not in self._tables:
            self._made(name, rows[0].schema)
        with self.writing():
            self.table(name).add(pa.concat_tables(rows))

    def remove(self, scene_id: str) -> None:
        """Removes a scene.

        Raises:
            UserError: it is not there, or the disk is full.
        """
        entry = self.entry(scene_id)
        row = {"id": scene_id, "generation": entry.generation, "time": max(time.time_ns(), entry.time + 1),
               "removed": True, "count": 0, "header": ""}  # fmt: skip
        self.append(LOG, [pa.Table.from_pylist([row], schema=LOG_SCHEMA)])
        self._erase([entry.generation])

    def clear(self) -> int:
        """Removes rows that no scene owns: of killed writers, and of additions whose clearing was cut off.

        Returns:
            How many additions these were.
        """
        dead = self.unowned(older=_ABANDONED)
        self._erase(sorted(dead))
        return len(dead)

    def generations(self, table: str) -> set[str]:
        """The additions that have rows in a table."""
        rows = self.table(table).search().select(["generation"]).limit(None).to_arrow()
        return set(rows["generation"].unique().to_pylist())

    def unowned(self, older: float = 0.0) -> set[str]:
        """Generations that have rows, but no scene.

        Args:
            older: seconds that must have passed since the log should have named them: their writer may be at work.
        """
        found: set[str] = set()
        for name in self.table_names() - {LOG}:
            found |= self.generations(name)
        live = {entry.generation for entry in self.entries().values()}
        named = set(self.table(LOG).to_arrow()["generation"].to_pylist())
        limit = time.time_ns() - int(older * 1e9)
        return {one for one in found - live if one in named or time_of(one) < limit}

    def _erase(self, generations: Sequence[str]) -> None:
        """Deletes rows that nobody sees any more. That may fail without harm: they stay unseen."""
        for start in range(0, len(generations), _BATCH):
            condition = _among(generations[start : start + _BATCH])
            for name in self.table_names() - {LOG}:
                _retried(lambda name=name, condition=condition: self.table(name).delete(condition))


def _among(generations: Sequence[str]) -> str:
    """The condition under which a row belongs to one of several additions."""
    listed = ", ".join(f"'{generation}'" for generation in generations)
    return f"generation IN ({listed})"


def _retried(work: Callable[[], object]) -> None:
    """Tries again what another writer's commit has made impossible; gives up quietly."""
    for attempt in range(_TRIES):
        try:
            work()
            return
        except (RuntimeError, OSError) as error:
            if "conflict" not in str(error).lower():
                return
            time.sleep(0.01 * (attempt + 1))


@contextmanager
def _writing(uri: str) -> Iterator[None]:
    """Turns a write that fails into one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"Repository {uri} cannot be written ({_first_line(error)}): make room there, or mend its rights."
        ) from error


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turns a read that fails, since files of the repository are missing or damaged, into one sentence.

    Args:
        uri: of the repository.

    Raises:
        UserError: LanceDB cannot read what should be there.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if "lance" not in str(error).lower():
            raise
        raise UserError(
            f"Repository {uri} is damaged ({_first_line(error)}): add its scenes to a new one; condense repo verify "
            "tells which of them are lost."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
