"""Condensed scenes as rows of tables, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from condense_nerfstudio.keypoints.condensed_scene import (
    SCENE_FILE,
    CondensedScene,
    DetectorCard,
    KeyPoints,
    NetworkCard,
    TeacherCard,
)
from condense_nerfstudio.keypoints.storage import as_files, from_files
from condense_nerfstudio.repository.embedding import embedding, embedding_card
from condense_nerfstudio.repository.schema import LOG, LOG_SCHEMA, POINTS, POINTS_SCHEMA, vectors_schema, vectors_table


def as_rows(scene: CondensedScene, generation: str, time: int) -> dict[str, pa.Table]:
    """The rows of a scene, by table.

    Args:
        scene: the scene.
        generation: names this addition.
        time: of the addition, in nanoseconds.

    Raises:
        ValueError: the scene has values that no reader takes.
    """
    files = as_files(scene)
    from_files(files)
    header = files[SCENE_FILE].decode()
    points, count = scene.points, len(scene.points)
    own = {"generation": pa.array([generation] * count), "index": pa.array(np.arange(count, dtype=np.int32))}
    columns = {
        "position": _lists(points.positions),
        "normal": _lists(points.normals),
        "color": _lists(points.colors),
        "scale": pa.array(points.scales),
        "score": pa.array(points.scores),
        "views": pa.array(points.views),
    }
    tables = {POINTS: pa.table({**own, **columns}, schema=POINTS_SCHEMA)}
    for card, values in vectors_of(scene):
        tables[vectors_table(card)] = pa.table({**own, "vector": _lists(values)}, schema=vectors_schema(card.dim))
    pooled = embedding_rows(scene.detector, embedding(points.descriptors), generation)
    tables[vectors_table(embedding_card(scene.detector))] = pooled
    entry = {"id": scene.id, "generation": generation, "time": time, "removed": False, "count": count, "header": header}
    tables[LOG] = pa.Table.from_pylist([entry], schema=LOG_SCHEMA)
    return tables


def embedding_rows(detector: DetectorCard, vector: Float[np.ndarray, " e"], generation: str) -> pa.Table:
    """The row of a scene's embedding.

    Args:
        detector: whose descriptors it was made of.
        vector: see :func:`embedding`.
        generation: of the scene.
    """
    columns = {"generation": pa.array([generation]), "index": pa.array([0], pa.int32())}
    card = embedding_card(detector)
    half = vector.astype(np.float16)[None]
    return pa.table({**columns, "vector": _lists(half)}, schema=vectors_schema(card.dim))


def vectors_of(scene: CondensedScene) -> list[tuple[NetworkCard, np.ndarray]]:
    """The networks of a scene and their vectors: the detector's descriptors, then each teacher's features."""
    features = [(card, scene.points.features[card.name]) for card in scene.teachers]
    return [(scene.detector, scene.points.descriptors), *features]


def networks(header: Mapping[str, object]) -> tuple[DetectorCard, tuple[TeacherCard, ...]]:
    """The detector and the teachers that scene.json names."""
    detector, teachers = header["detector"], header["teachers"]
    assert isinstance(detector, dict) and isinstance(teachers, list)
    return DetectorCard(**detector), tuple(TeacherCard(**card) for card in teachers)


def from_rows(header: str, points: pa.Table, vectors: Mapping[str, pa.Table]) -> CondensedScene:
    """The scene of an addition; the opposite of :func:`as_rows`.

    Args:
        header: scene.json.
        points: rows of the points' table, in any order.
        vectors: rows of the networks' tables, likewise.

    Raises:
        ValueError: rows are missing.
    """
    told = json.loads(header)
    detector, teachers = networks(told)
    points = points.sort_by("index")
    count = told["count"]
    if len(points) != count or any(len(vectors[vectors_table(card)]) != count for card in (detector, *teachers)):
        raise ValueError("rows are missing")

    def of(card: NetworkCard) -> np.ndarray:
        return array(vectors[vectors_table(card)].sort_by("index"), "vector")

    return CondensedScene(
        id=told["id"],
        name=told["name"],
        units=told["units"],
        world_to_nerf=np.array(told["world_to_nerf"], dtype=np.float32),
        teachers=teachers,
        detector=detector,
        creation=told["creation"],
        points=KeyPoints(
            positions=array(points, "position"),
            normals=array(points, "normal"),
            colors=array(points, "color"),
            scales=array(points, "scale"),
            scores=array(points, "score"),
            views=array(points, "views"),
            descriptors=of(detector),
            features={card.name: of(card) for card in teachers},
        ),
        agreement=told.get("agreement"),
    )


def array(table: pa.Table, column: str) -> np.ndarray:
    """A column as an array, (rows,) or (rows, width)."""
    values = table[column].combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        return np.ascontiguousarray(values.flatten().to_numpy(zero_copy_only=False)).reshape(-1, values.type.list_size)
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False))


def _lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """An array of (rows, width) as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
