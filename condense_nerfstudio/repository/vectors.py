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
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.store import Entry, Store
from condense_nerfstudio.repository.upkeep import LEAST_INDEXED

if TYPE_CHECKING:
    from lancedb.query import LanceVectorQueryBuilder
    from lancedb.table import Table


_PROBES = 80
"""Lists of an index that are looked at for a query: those whose centres are nearest to it."""
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


def candidates(
    store: Store,
    card: NetworkCard,
    entries: Sequence[Entry],
    queries: Float[np.ndarray, "q c"],
    most: int,
    exact: bool = False,
) -> Vectors:
    """The vectors that may matter for queries: all of a small repository, of a large one those nearest to a query.

    Args:
        store: the repository.
        card: the network whose vectors are searched.
        entries: the scenes among which is searched.
        queries: in the network's space.
        most: how many are wanted for each query.
        exact: compare all, however many there are: what the index is measured against.
    """
    table = store.table(vectors_table(card))
    columns = ["generation", "index", "vector"]
    if exact or table.count_rows() < LEAST_INDEXED:
        rows = table.search().select(columns).limit(None).to_arrow()
    else:
        found = [_search(table, query.astype(np.float32)).select([*columns, "_distance"]) for query in queries]
        rows = pa.concat_tables([search.limit(most).to_arrow() for search in found])
    scenes, keypoints = scenes_of(rows, entries), array(rows, "index").astype(np.int64)
    # Rows of what was replaced or removed, and what several queries found.
    _, first = np.unique(scenes << 32 | keypoints, return_index=True)
    kept = first[scenes[first] >= 0]
    return Vectors(scenes[kept], keypoints[kept], array(rows, "vector")[kept].astype(np.float32))


def scenes_of(rows: pa.Table, entries: Sequence[Entry]) -> Int[np.ndarray, " n"]:
    """Whose rows these are: the scenes' places in a list of entries, -1 where they belong to none of them.

    Args:
        rows: of any table but the log.
        entries: the scenes.
    """
    places = {entry.generation: place for place, entry in enumerate(entries)}
    codes = rows["generation"].combine_chunks().dictionary_encode()  # a scene's rows share one long string
    own = [places.get(generation, -1) for generation in codes.dictionary.to_pylist()]
    return np.array(own, dtype=np.int64)[codes.indices.to_numpy()]


def nearest(
    store: Store,
    card: NetworkCard,
    entries: Sequence[Entry],
    queries: Float[np.ndarray, "q c"],
    count: int,
    exact: bool = False,
) -> Neighbours:
    """The vectors nearest to each query, by cosine.

    Args:
        store: the repository.
        card: the network whose vectors are searched.
        entries: the scenes among which is searched.
        queries: unit vectors in the network's space, at least one.
        count: how many are wanted for each.
        exact: compare all, however many there are: what the index is measured against.
    """
    table = store.table(vectors_table(card))
    if exact or table.count_rows() < LEAST_INDEXED:
        return exactly_nearest(candidates(store, card, entries, queries, count, exact=True), queries, count)
    batch: Any = [query.astype(np.float32) for query in queries]
    search = _search(table, batch).refine_factor(_REFINED).select(["generation", "index", "_distance"])
    rows = search.limit(count).to_arrow()
    # LanceDB numbers queries only where there are several.
    asked = rows["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(rows), dtype=np.int64)
    found = Neighbours.nothing(len(queries), count)
    order = np.lexsort((rows["_distance"].to_numpy(), asked))
    asked = asked[order]
    ranks = np.arange(len(order)) - np.searchsorted(asked, asked)
    found.scenes[asked, ranks] = scenes_of(rows, entries)[order]
    found.keypoints[asked, ranks] = array(rows, "index")[order]
    found.similarities[asked, ranks] = 1.0 - rows["_distance"].to_numpy()[order]
    return found


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
    lengths = np.linalg.norm(vectors.values, axis=1, keepdims=True)
    similarities = queries.astype(np.float32) @ (vectors.values / np.maximum(lengths, 1e-12)).T
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
