"""Keeping a repository fast and whole: indexes, clearing, checking."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import SCENE_FILE
from condense_nerfstudio.keypoints.storage import as_files
from condense_nerfstudio.repository.embedding import embedding_card
from condense_nerfstudio.repository.schema import LOG, vectors_table
from condense_nerfstudio.repository.store import Store

if TYPE_CHECKING:
    from lancedb.table import Table

LEAST_INDEXED = 50_000
"""Vectors below which every one of them is compared: faster than an index once they are in memory, and exact."""
_LIST = 1024
"""Vectors of one of an index's lists. Phrases lie far from all features, so that many lists must be looked at: short
ones find more in the same time."""
_SAMPLES, _ROUNDS = 64, 20
"""Vectors for each list from which the lists' centres are found, and rounds: four times as many find no more."""
_GROWTH = 0.25
"""Share of rows that an index does not know from which it is built anew: its lists would become long."""
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

    An index is refreshed where little was added, and built anew where much was: minutes for 10,000 scenes. An
    interrupted run leaves the indexes of before, or none, never half of one: searches go on meanwhile.

    Args:
        store: the repository.
        report: told of every table that is done.

    Raises:
        UserError: the repository cannot be written.
    """
    from lancedb.index import BTree, IvfSq

    cleared = store.clear()
    told: dict[str, str] = {}
    vectors = store.vector_tables()
    for name in sorted(store.table_names()):
        table = store.table(name)
        unknown = _unindexed(table)
        with store.writing():
            table.optimize()  # before an index is built, which would have to follow its rows
            if name != LOG and _GENERATION not in unknown and table.count_rows():
                table.create_index(_GENERATION, config=BTree())
        if name not in vectors:
            continue
        many = table.count_rows() >= LEAST_INDEXED
        if many and unknown.get(_VECTOR, table.count_rows()) > _GROWTH * table.count_rows():
            lists = max(1, table.count_rows() // _LIST)
            config = IvfSq("cosine", num_partitions=lists, sample_rate=_SAMPLES, max_iterations=_ROUNDS)
            with store.writing():
                table.create_index(_VECTOR, config=config)
        told[name] = "indexed" if many else "exact"
        report(name)
    return Indexed(cleared, told)


def _unindexed(table: Table) -> dict[str, int]:
    """The indexed columns of a table, and how many rows each index does not know."""
    return {column: one.num_unindexed_rows or 0 for one in table.list_indices() for column in one.columns}


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
            if len(store.rows(vectors_table(embedding_card(entry.networks[0])), entry, ["index"])) != 1:
                faults.append({"scene": name, "fault": "it is not embedded: add it again"})
        except (UserError, ValueError, LookupError, TypeError, OSError, RuntimeError) as error:
            faults.append({"scene": name, "fault": str(error)})
        report(name)
    try:
        unowned = len(store.unowned(older=0.0))
    except (OSError, RuntimeError) as error:  # of files that are missing; the scenes that they held were told above
        return [*faults, {"table": LOG, "fault": f"what belongs to no scene cannot be told ({error})"}]
    if unowned:
        fault = f"{unowned} additions own rows but no scene: condense repo index clears them when they are an hour old"
        faults.append({"table": LOG, "fault": fault})
    for name in store.vector_tables():
        count = store.table(name).count_rows()
        behind = _unindexed(store.table(name)).get(_VECTOR, 0)
        if behind and count >= LEAST_INDEXED:  # below, all are compared
            faults.append({"table": name, "fault": f"its index misses {behind} of {count} rows: condense repo index"})
    return faults
