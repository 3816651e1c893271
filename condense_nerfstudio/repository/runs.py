"""Where in a table the key points of scenes lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from condense_nerfstudio.repository.log import Entry
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.store import Store

ROW = "_rowid"
"""The column of rows' numbers."""
_FRAGMENT = 32
"""The bits of a row's number above these name the fragment in which it lies; no fragment ever changes."""


class Runs:
    """Tells whose key point a row is by the row's number alone, which spares reading it.

    A scene is appended in one piece, in the order of its key points, and so it lies in a fragment: the number of its
    first row tells the others. Only where fragments were joined, which keeps the order of rows, a scene may lie in two;
    rows of its second part are read.

    Args:
        store: the repository.
        table: one with a row for each key point.
        entries: the scenes.
    """

    def __init__(self, store: Store, table: str, entries: Sequence[Entry]) -> None:
        self._store, self._name = store, table
        self._places = places_of(entries)
        self._counts = np.array([entry.count for entry in entries], dtype=np.int64)
        self._version: int | None = None
        self._scenes = self._firsts = np.empty(0, dtype=np.int64)

    def owners(self, numbers: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """The places of rows' scenes in the list of entries, and of key points in their scenes; -1 where in none.

        Args:
            numbers: of rows.
        """
        self._refresh()
        found = self._told(numbers)
        untold = np.flatnonzero(found[0] < 0)
        if len(untold):
            taken = self._store.table(self._name).take_row_ids(numbers[untold].tolist())
            rows = taken.with_row_id().select(["generation", "index"]).to_arrow()
            # They come in any order, and without those that are gone.
            at = dict(zip(numbers[untold].tolist(), untold.tolist(), strict=True))
            read = [at[number] for number in rows[ROW].to_pylist()]
            found[:, read] = scenes_of(rows, self._places), array(rows, "index")
            found[1, found[0] < 0] = -1
        return found[0], found[1]

    def _told(self, numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, "2 n"]:
        """What the numbers tell; -1 where nothing."""
        found = np.full((2, len(numbers)), -1, dtype=np.int64)
        run = np.searchsorted(self._firsts, numbers, side="right") - 1
        some = np.flatnonzero(run >= 0)
        scenes, firsts = self._scenes[run[some]], self._firsts[run[some]]
        keypoints = numbers[some] - firsts
        told = (keypoints < self._counts[scenes]) & (numbers[some] >> _FRAGMENT == firsts >> _FRAGMENT)
        found[:, some[told]] = scenes[told], keypoints[told]
        return found

    def piece(self, entry: Entry) -> Int[np.ndarray, " n"] | None:
        """The numbers of a scene's rows, in the order of its key points; None where it is not there.

        Where it does not lie in one piece, some of them are numbers of no row, or of another scene's.

        Args:
            entry: the scene.
        """
        self._refresh()
        at = np.flatnonzero(self._scenes == self._places[entry.generation])
        return self._firsts[at[0]] + np.arange(entry.count) if len(at) else None

    def _refresh(self) -> None:
        """Reads where scenes begin, if the table has changed."""
        table = self._store.table(self._name)
        version = table.version
        if version == self._version:
            return
        rows = table.search().where("index = 0").select(["generation"]).with_row_id(True).limit(None).to_arrow()
        scenes, firsts = scenes_of(rows, self._places), array(rows, ROW).astype(np.int64)
        order = np.argsort(firsts)
        order = order[scenes[order] >= 0]
        self._scenes, self._firsts, self._version = scenes[order], firsts[order], version


def places_of(entries: Sequence[Entry]) -> dict[str, int]:
    """The place of each scene in a list of entries, by generation."""
    return {entry.generation: place for place, entry in enumerate(entries)}


def scenes_of(rows: pa.Table, places: Mapping[str, int]) -> Int[np.ndarray, " n"]:
    """Whose rows these are: the scenes' places, -1 where they belong to none of them.

    Args:
        rows: of any table but the log.
        places: see :func:`places_of`.
    """
    codes = rows["generation"].combine_chunks().dictionary_encode()  # a scene's rows share one long string
    own = [places.get(generation, -1) for generation in codes.dictionary.to_pylist()]
    return np.array(own, dtype=np.int64)[codes.indices.to_numpy()]
