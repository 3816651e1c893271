"""The tables of a repository, and what one version of them makes of another."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import NetworkCard

VERSION = 2
"""Of the tables; 1 had no embeddings of scenes. A program refuses repositories of a newer version, and brings older
ones up to its own: see :mod:`.migration`."""
VERSION_KEY = "condense_repository"
"""Under which the version stands in the metadata of the log's first field (in version 1, of its schema)."""
LOG, POINTS = "scenes", "points"

LOG_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False, metadata={VERSION_KEY: str(VERSION)}),
        # Names one addition: rows of all other tables belong to it, whatever becomes of the scene's id.
        pa.field("generation", pa.string(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("removed", pa.bool_(), nullable=False),
        pa.field("count", pa.int32(), nullable=False),
        # scene.json of the condensed scene, with the hashes of its files.
        pa.field("header", pa.string(), nullable=False),
    ]
)
POINTS_SCHEMA = pa.schema(
    [
        pa.field("generation", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("position", pa.list_(pa.float32(), 3), nullable=False),
        pa.field("normal", pa.list_(pa.float32(), 3), nullable=False),
        pa.field("color", pa.list_(pa.uint8(), 3), nullable=False),
        pa.field("scale", pa.float32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("views", pa.int32(), nullable=False),
    ]
)


def vectors_schema(dim: int) -> pa.Schema:
    """The schema of a table of one network's vectors."""
    return pa.schema(
        [
            pa.field("generation", pa.string(), nullable=False),
            pa.field("index", pa.int32(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
        ]
    )


def vectors_table(card: NetworkCard) -> str:
    """The table of a network's vectors. Networks that must not be compared have tables of their own.

    Names and revisions are anybody's text, so they enter as a hash.
    """
    told = f"{card.name}\0{card.revision}\0{card.dim}".encode()
    return f"vectors_{hashlib.sha256(told).hexdigest()[:24]}"


def checked_version(uri: str, log: pa.Schema) -> int:
    """The version of a repository's tables.

    Args:
        uri: of the repository, for messages.
        log: the schema of its log.

    Raises:
        UserError: it is no repository's, or a newer program's.
    """
    try:
        version = int({**(log.metadata or {}), **(log.field(0).metadata or {})}[VERSION_KEY.encode()])
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{uri} holds tables, but no repository of scenes: choose another folder.") from error
    if version > VERSION:
        raise UserError(
            f"Repository {uri} has version {version}, and this program reads up to {VERSION}: use a newer program."
        )
    return version
