"""The vectors of many scenes, and which of them are near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int

from condense_nerfstudio.keypoints.condensed_scene import NetworkCard
from condense_nerfstudio.repository.log import Entry
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.runs import ROW, Runs, places_of, scenes_of
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import LEAST_INDEXED

if TYPE_CHECKING:
    from lancedb.query import LanceVectorQueryBuilder
    from lancedb.table import Table


_COLUMNS = ["generation", "index", "vector"]
_SHORTEST = 1e-12
_TRIES = 3
"""How often an index is asked whose rows somebody else moves."""
_PROBES = 100
"""Lists of an index that are looked at for a query: those whose centres are nearest to it."""
_EACH = 8
"""Vectors of a scene that are read where only the foremost scenes are wanted."""
_REFINED = 2
"""Times as many neighbours as are wanted are compared once more by their own numbers: an index keeps bytes."""


@dataclass(frozen=True)
class Vectors:
    """Vectors of key points, and whose they are."""

    scenes: Int[np.ndarray, " n"]
    """Place of the scene in the list of entries that was asked about."""
    keypoints: Int[np.ndarray, " n"]
    """Place of the key point in its scene."""
    values: Float[np.ndarray, "n c"]
    """Of length one; zeros stay zeros."""


@dataclass(frozen=True)
class Neighbours:
    """For each query the vectors nearest to it, the nearest first."""

    scenes: Int[np.ndarray, "q k"]
    """Place of the scene in the list of entries that was asked about; -1 where there is none."""
    keypoints: Int[np.ndarray, "q k"]
    similarities: Float[np.ndarray, "q k"]
    """Cosines; -1 where there is none."""

    @staticmethod
    def nothing(queries: int, count: int) -> Neighbours:
        """None for any query."""
        places = np.full((2, queries, count), -1, dtype=np.int64)
        return Neighbours(places[0], places[1], np.full((queries, count), -1.0, dtype=np.float32))


class VectorSearch:
    """Searches one network's vectors of some scenes.

    All vectors of a small repository are compared; they stay in memory until the table changes. A large one's index is
    asked.

    Args:
        store: the repository.
        card: the network whose vectors are searched.
        entries: the scenes among which is searched.
    """

    def __init__(self, store: Store, card: NetworkCard, entries: Sequence[Entry]) -> None:
        self._store = store
        self._name = vectors_table(card)
        self._places = places_of(entries)
        self._runs = Runs(store, self._name, entries)
        self._kept: tuple[int, Vectors] | None = None

    @property
    def scenes(self) -> int:
        """How many scenes are searched."""
        return len(self._places)

    @property
    def large(self) -> bool:
        """Whether the index is asked."""
        return self._table.count_rows() >= LEAST_INDEXED

    def candidates(
        self, queries: Float[np.ndarray, "q c"], most: int, exact: bool = False, scenes: int | None = None
    ) -> Vectors:
        """The vectors that may matter for queries: all of a small repository, of a large one those nearest to a query.

        Args:
            queries: in the network's space.
            most: how many are wanted for each query.
            exact: compare all, however many there are: what the index is measured against.
            scenes: of how many scenes for each query, those that have the nearest by the index's own distances, which
                spares reading the others; None for all that are found.
        """
        return self._near(queries, most, scenes) if self.large and not exact else self.all()

    def nearest(self, queries: Float[np.ndarray, "q c"], count: int, exact: bool = False) -> Neighbours:
        """The vectors nearest to each query, by cosine.

        Args:
            queries: unit vectors in the network's space, at least one.
            count: how many are wanted for each.
            exact: compare all, however many there are: what the index is measured against.
        """
        if exact or not self.large:
            return exactly_nearest(self.all(), queries, count)
        batch: Any = [query.astype(np.float32) for query in queries]
        search = _search(self._table, batch).refine_factor(_REFINED).select(["generation", "index", "_distance"])
        rows = search.limit(count).to_arrow()
        # LanceDB numbers queries only where there are several.
        asked = rows["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(rows), dtype=np.int64)
        found = Neighbours.nothing(len(queries), count)
        order = np.lexsort((rows["_distance"].to_numpy(), asked))
        asked = asked[order]
        ranks = np.arange(len(order)) - np.searchsorted(asked, asked)
        found.scenes[asked, ranks] = scenes_of(rows, self._places)[order]
        found.keypoints[asked, ranks] = array(rows, "index")[order]
        found.similarities[asked, ranks] = 1.0 - rows["_distance"].to_numpy()[order]
        return found

    @property
    def _table(self) -> Table:
        return self._store.table(self._name)

    def all(self) -> Vectors:
        """All vectors of the scenes."""
        version = self._table.version
        if self._kept is not None and self._kept[0] == version:
            return self._kept[1]
        vectors = self._of(self._table.search().select(_COLUMNS).limit(None).to_arrow())
        if not self.large:
            self._kept = version, vectors
        return vectors

    def _near(self, queries: Float[np.ndarray, "q c"], most: int, foremost: int | None) -> Vectors:
        """The vectors nearest to a query, by the index."""
        for _ in range(_TRIES):
            version = self._table.version
            # Rows are read by their numbers, which is three times as fast as letting the search return them.
            searches = [_search(self._table, query.astype(np.float32)).with_row_id(True) for query in queries]
            answers = [search.select(["_distance"]).limit(most).to_arrow() for search in searches]
            numbers = [array(answer, ROW).astype(np.int64) for answer in answers]
            if foremost is not None:
                numbers = [
                    own[_foremost(self._runs.owners(own)[0], array(answer, "_distance"), foremost)]
                    for own, answer in zip(numbers, answers, strict=True)
                ]
            wanted = np.unique(np.concatenate(numbers))
            rows = self._table.take_row_ids(wanted.tolist()).with_row_id().select(["vector"]).to_arrow()
            scenes, keypoints = self._runs.owners(array(rows, ROW).astype(np.int64))
            whole = len(rows) == len(wanted) and (scenes >= 0).all()
            if whole or self._table.version == version:  # else somebody has deleted or joined rows in between
                break
        return _unit_vectors(scenes, keypoints, array(rows, "vector"))

    def _of(self, rows: pa.Table) -> Vectors:
        """The vectors of rows, without those that were replaced or removed."""
        return _unit_vectors(scenes_of(rows, self._places), array(rows, "index"), array(rows, "vector"))


def _foremost(scenes: Int[np.ndarray, " n"], distances: Float[np.ndarray, " n"], count: int) -> Int[np.ndarray, " k"]:
    """Which vectors are the nearest of the scenes whose nearest ones are the nearest, in the mean of a few.

    Those of no scene are among them: rows may have been moved meanwhile.
    """
    order = np.lexsort((distances, scenes))
    found, first, own = np.unique(scenes[order], True, True)
    rank = np.arange(len(order)) - first[own]
    few = rank < _EACH
    table = np.full((len(found), _EACH), distances.max(initial=0.0))
    table[own[few], rank[few]] = distances[order[few]]
    place = np.argsort(np.argsort(np.where(found < 0, -np.inf, table.mean(axis=1)), kind="stable"))
    return order[few & (place[own] < count)]


def _unit_vectors(
    scenes: Int[np.ndarray, " n"], keypoints: Int[np.ndarray, " n"], values: Float[np.ndarray, "n c"]
) -> Vectors:
    """Those that belong to a scene, scaled to length one."""
    own = scenes >= 0
    values = values[own].astype(np.float32)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), _SHORTEST)
    return Vectors(scenes[own], keypoints[own].astype(np.int64), values)


def exactly_nearest(vectors: Vectors, queries: Float[np.ndarray, "q c"], count: int) -> Neighbours:
    """The same by comparing every vector.

    Args:
        vectors: what is searched.
        queries: unit vectors.
        count: how many are wanted for each.
    """
    found = Neighbours.nothing(len(queries), count)
    if not len(vectors.values):
        return found
    similarities = queries.astype(np.float32) @ vectors.values.T
    few = min(count, similarities.shape[1])
    values, best = (one.numpy() for one in torch.from_numpy(similarities).topk(few))  # NumPy sorts all of them
    found.scenes[:, :few] = vectors.scenes[best]
    found.keypoints[:, :few] = vectors.keypoints[best]
    found.similarities[:, :few] = values
    return found


def _search(table: Table, query: Any) -> LanceVectorQueryBuilder:
    """A search for a vector, or several; the distance is named, since without an index LanceDB takes the Euclidean."""
    builder: Any = table.search(query, vector_column_name="vector")
    return builder.distance_type("cosine").nprobes(_PROBES)
