"""Keeping a repository fast and whole: indexes, clearing, checking."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import SCENE_FILE
from condense_nerfstudio.keypoints.storage import as_files
from condense_nerfstudio.repository.schema import LOG
from condense_nerfstudio.repository.store import Store

if TYPE_CHECKING:
    from lancedb.table import Table

LEAST_INDEXED = 50_000
"""Vectors below which every one of them is compared: as fast as an index, and exact."""
_PARTITION = 2048
"""Vectors of a partition: a search compares the query with the centres of all, and with all vectors of a few."""
_GENERATION, _VECTOR = "generation", "vector"


@dataclass(frozen=True)
class Indexed:
    """What :func:`index` did."""

    cleared: int
    """Additions without a scene whose rows were removed."""
    tables: Mapping[str, str]
    """How the vectors of each table are searched: "exact" or "indexed"."""


def index(store: Store, report: Callable[[str], None] = lambda table: None) -> Indexed:
    """Clears what no scene owns, joins small files, and builds or refreshes the indexes.

    An interrupted run leaves the indexes of before, or none, never half of one: searches go on meanwhile.

    Args:
        store: the repository.
        report: told of every table that is done.

    Raises:
        UserError: the repository cannot be written.
    """
    from lancedb.index import BTree, IvfSq

    cleared = store.clear()
    told: dict[str, str] = {}
    for name in sorted(store.table_names()):
        table = store.table(name)
        with store.writing():
            table.optimize()  # before an index is built, which would have to follow its rows
            if name != LOG and _GENERATION not in _indexed_columns(table) and table.count_rows():
                table.create_index(_GENERATION, config=BTree())
    for name in store.vector_tables():
        table = store.table(name)
        many = table.count_rows() >= LEAST_INDEXED
        if many and _VECTOR not in _indexed_columns(table):
            with store.writing():
                table.create_index(_VECTOR, config=IvfSq(distance_type="cosine", target_partition_size=_PARTITION))
        told[name] = "indexed" if many else "exact"
        report(name)
    return Indexed(cleared, told)


def _indexed_columns(table: Table) -> set[str]:
    return {column for one in table.list_indices() for column in one.columns}


def verify(store: Store, report: Callable[[str], None] = lambda scene: None) -> list[dict[str, Any]]:
    """Checks every scene and every table.

    Args:
        store: the repository.
        report: told of every scene that was looked at.

    Returns:
        The faults: "scene" or "table", and "fault" in words; none where all is well.
    """
    faults: list[dict[str, Any]] = []
    for name, entry in store.entries().items():
        try:
            files = as_files(store.scene(name))
            hashes = {file: hashlib.sha256(files[file]).hexdigest() for file in entry.told["files"]}
            if hashes != entry.told["files"] or files[SCENE_FILE].decode() != entry.header:
                faults.append({"scene": name, "fault": "its contents do not match their SHA-256"})
        except (UserError, ValueError, LookupError, TypeError) as error:
            faults.append({"scene": name, "fault": str(error)})
        report(name)
    unowned = store.unowned(older=0.0)
    if unowned:
        fault = (
            f"{len(unowned)} additions own rows but no scene: condense repo index clears them when they are an hour old"
        )
        faults.append({"table": LOG, "fault": fault})
    for name in store.vector_tables():
        for one in store.table(name).list_indices():
            behind = one.num_unindexed_rows or 0
            if behind:
                fault = f"its index misses {behind} of {store.table(name).count_rows()} rows: condense repo index"
                faults.append({"table": name, "fault": fault})
    return faults
