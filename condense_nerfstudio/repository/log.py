"""The log of a repository: which scenes are there.

Every row is an addition or a removal, and the newest row of an id counts. An addition has a generation, the name under
which the scene's rows stand in all other tables.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import DetectorCard, TeacherCard
from condense_nerfstudio.repository.rows import networks

if TYPE_CHECKING:
    from lancedb.table import Table

_GENERATION = re.compile(r"[0-9a-f]{48}")
_NAMED = ["id", "generation", "time", "removed", "count"]
"""Columns that say which scenes are there."""


@dataclass(frozen=True)
class Entry:
    """A scene that is there."""

    id: str
    generation: str
    time: int
    """When it was added, in nanoseconds since 1970."""
    count: int
    """Key points."""
    header: str
    """scene.json."""

    @cached_property
    def networks(self) -> tuple[DetectorCard, tuple[TeacherCard, ...]]:
        """What made its descriptors and features."""
        return networks(self.told)

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """scene.json, parsed."""
        return json.loads(self.header)


class Log:
    """Reads a log, again when it has changed.

    Args:
        uri: of the repository, for messages.
        table: gives the log's table as it is now.
    """

    def __init__(self, uri: str, table: Callable[[], Table]) -> None:
        self._uri, self._table = uri, table
        self._live: tuple[int, dict[str, Entry]] | None = None

    def entries(self) -> Mapping[str, Entry]:
        """The scenes that are there, by id.

        Raises:
            UserError: a row is damaged.
        """
        table = self._table()
        version = table.version
        if self._live is None or self._live[0] != version:
            newest: dict[str, dict[str, Any]] = {}
            for row in table.search().select(_NAMED).limit(None).to_arrow().to_pylist():
                known = newest.get(row["id"])
                if known is None or _order(row) > _order(known):
                    newest[row["id"]] = row
            rows = [row for _, row in sorted(newest.items()) if not row["removed"]]
            for row in rows:
                if not _GENERATION.fullmatch(row["generation"]):  # it goes into conditions
                    raise UserError(f"Repository {self._uri} is damaged: its log names {row['generation'][:60]!r}.")
            self._live = version, {entry.id: entry for entry in self._entries_of(table, rows)}
        return self._live[1]

    def _entries_of(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
        """The entries of additions. Those that are known stay, with what was parsed of them: headers are long."""
        known = {} if self._live is None else {entry.generation: entry for entry in self._live[1].values()}
        news = [row for row in rows if row["generation"] not in known]
        if news:
            since = f"NOT removed AND time >= {min(row['time'] for row in news)}"
            told = table.search().where(since).select(["generation", "header"]).limit(None).to_arrow()
            headers = dict(zip(told["generation"].to_pylist(), told["header"].to_pylist(), strict=True))
            for row in news:
                own = {name: row[name] for name in ("id", "generation", "time", "count")}
                known[row["generation"]] = Entry(**own, header=headers[row["generation"]])
        return [known[row["generation"]] for row in rows]


def generation_of(stamp: int) -> str:
    """A new generation: when it was begun, and a random number."""
    return f"{stamp:016x}{uuid.uuid4().hex}"


def time_of(generation: str) -> int:
    """When a generation was begun, in nanoseconds since 1970."""
    return int(generation[:16], 16)


def _order(row: Mapping[str, Any]) -> tuple[int, bool, str]:
    """Of two rows of an id, the larger counts; the same for all readers."""
    return row["time"], row["removed"], row["generation"]
