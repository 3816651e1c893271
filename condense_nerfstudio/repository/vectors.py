"""The vectors of many scenes, and which of them are near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from condense_nerfstudio.keypoints.condensed_scene import NetworkCard
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.store import Entry, Store
from condense_nerfstudio.repository.upkeep import LEAST_INDEXED

if TYPE_CHECKING:
    from lancedb.query import LanceVectorQueryBuilder
    from lancedb.table import Table


@dataclass(frozen=True)
class Vectors:
    """Vectors of key points, and whose they are."""

    scenes: Int[np.ndarray, " n"]
    """Place of the scene in the list of entries that was asked about."""
    keypoints: Int[np.ndarray, " n"]
    """Place of the key point in its scene."""
    values: Float[np.ndarray, "n c"]


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
    places = {entry.generation: place for place, entry in enumerate(entries)}
    columns = ["generation", "index", "vector"]
    if exact or table.count_rows() < LEAST_INDEXED:
        found = [table.search().select(columns).limit(None).to_arrow()]
    else:
        # Named, since without an index LanceDB would take the Euclidean distance.
        found = [
            _nearest(table, query).distance_type("cosine").select(columns).limit(most).to_arrow() for query in queries
        ]
    parts = []
    for rows in found:
        scenes = np.array([places.get(one, -1) for one in rows["generation"].to_pylist()], dtype=np.int64)
        parts.append((scenes, array(rows, "index").astype(np.int64), array(rows, "vector")))
    scenes, keypoints, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    # Rows of what was replaced or removed, and what several queries found.
    _, first = np.unique(np.stack([scenes, keypoints]), axis=1, return_index=True)
    kept = first[scenes[first] >= 0]
    return Vectors(scenes[kept], keypoints[kept], values[kept].astype(np.float32))


def _nearest(table: Table, query: Float[np.ndarray, " c"]) -> LanceVectorQueryBuilder:
    """A search for a vector."""
    builder: Any = table.search(query.astype(np.float32))
    return builder
