"""Where key points of scenes are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from condense_nerfstudio.repository.log import Entry
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.runs import ROW, Runs, places_of, scenes_of
from condense_nerfstudio.repository.schema import POINTS
from condense_nerfstudio.repository.store import Store


class Positions:
    """Reads positions of key points.

    Args:
        store: the repository.
        entries: the scenes that may be asked about.
    """

    def __init__(self, store: Store, entries: Sequence[Entry]) -> None:
        self._store = store
        self._runs = Runs(store, POINTS, entries)

    def of(
        self, entries: Sequence[Entry], keypoints: Sequence[Int[np.ndarray, " _"]]
    ) -> list[Float[np.ndarray, "_ 3"] | None]:
        """The positions of some key points of scenes, in the data set's world frame.

        Args:
            entries: the scenes.
            keypoints: of each scene, by their numbers.

        Returns:
            None for a scene that has just been replaced or removed.
        """
        if not entries:
            return []
        taken = self._taken(entries, keypoints)
        return self._searched(entries, keypoints) if taken is None else taken

    def _taken(
        self, entries: Sequence[Entry], keypoints: Sequence[Int[np.ndarray, " _"]]
    ) -> list[Float[np.ndarray, "_ 3"] | None] | None:
        """Those of scenes that all lie in one piece, by the numbers of their rows: three times as fast as a search."""
        pieces = [self._runs.piece(entry) for entry in entries]
        wanted = [piece[own] for piece, own in zip(pieces, keypoints, strict=True) if piece is not None]
        if len(wanted) < len(entries):
            return None
        numbers, at = np.unique(np.concatenate(wanted), return_inverse=True)
        if (self._runs.owners(numbers)[1][at] != np.concatenate(keypoints)).any():
            return None
        rows = self._store.table(POINTS).take_row_ids(numbers.tolist()).with_row_id().select(["position"]).to_arrow()
        if len(rows) < len(numbers):
            return None
        positions = array(rows, "position")[np.argsort(array(rows, ROW))][at]
        return list(np.split(positions, np.cumsum([len(own) for own in wanted])[:-1]))

    def _searched(
        self, entries: Sequence[Entry], keypoints: Sequence[Int[np.ndarray, " _"]]
    ) -> list[Float[np.ndarray, "_ 3"] | None]:
        """Those of scenes that are there in whole."""
        rows = self._store.rows_of(POINTS, entries, ["generation", "index", "position"])
        scenes, positions = scenes_of(rows, places_of(entries)), array(rows, "position")
        order = np.lexsort((array(rows, "index"), scenes))
        parts = np.split(positions[order], np.searchsorted(scenes[order], np.arange(1, len(entries))))
        found = zip(entries, parts, keypoints, strict=True)
        return [part[own] if len(part) == entry.count else None for entry, part, own in found]
