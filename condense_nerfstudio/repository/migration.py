"""What this version of the program makes of repositories of older ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import DetectorCard
from condense_nerfstudio.repository.embedding import embedding, embedding_card
from condense_nerfstudio.repository.rows import array, embedding_rows
from condense_nerfstudio.repository.schema import LOG, VERSION, VERSION_KEY, checked_version, vectors_table

if TYPE_CHECKING:
    from condense_nerfstudio.repository.store import Store


def bring_up_to_date(store: Store) -> None:
    """Migrates a repository, version by version; one that is cut off goes on at the next opening.

    Raises:
        UserError: it is no repository, a newer program's, or cannot be written.
    """
    log = store.table(LOG)
    for version in range(checked_version(store.uri, log.schema), VERSION):
        MIGRATIONS[version](store)
        try:
            log.update_field_metadata({"path": "id", "metadata": {VERSION_KEY: str(version + 1)}})
        except (OSError, RuntimeError) as error:
            if checked_version(store.uri, log.schema) <= version:  # no other process has done it meanwhile
                raise UserError(
                    f"Repository {store.uri} cannot be brought up to date: make room there, or mend its rights."
                ) from error


def add_embeddings(store: Store) -> None:
    """From 1 to 2: embeds every scene that is not embedded yet."""
    embedded: dict[str, set[str]] = {}
    missing: dict[str, list[pa.Table]] = {}
    for entry in store.entries().values():
        detector: DetectorCard = entry.networks[0]
        name = vectors_table(embedding_card(detector))
        if name not in embedded:
            embedded[name] = store.generations(name) if name in store.table_names() else set()
        if entry.generation not in embedded[name]:
            descriptors = array(store.rows(vectors_table(detector), entry, ["vector"]), "vector")
            missing.setdefault(name, []).append(embedding_rows(detector, embedding(descriptors), entry.generation))
    for name, rows in missing.items():
        store.append(name, rows)


MIGRATIONS: dict[int, Callable[[Store], None]] = {1: add_embeddings}
"""By the version from which each leads to the next. They may run twice, and in two processes at once."""
