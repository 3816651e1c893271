"""What benchmarks/repository.py asks, and how answers are judged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from collection import Member
from rich.progress import track
from scipy.spatial.transform import Rotation

from condense_nerfstudio.demo.catalogue import PHOTOGRAPHS
from condense_nerfstudio.demo.ground_truth import TrueObject, load_ground_truth
from condense_nerfstudio.demo.textures import linear_to_srgb, photograph_texture
from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.repository import text_query
from condense_nerfstudio.repository.duplicates import duplicates
from condense_nerfstudio.repository.photo_query import PhotoHit, PhotoQuestions
from condense_nerfstudio.repository.photograph import read_photograph
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import TextQuestions
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.protocol import LanguageTeacher
from condense_nerfstudio.teachers.registry import load_language_teacher

MARGIN = 0.1
"""Share of an object's largest side by which a place may lie outside its box."""
_PAIRS = 40


def asked_by_text(store: Store, rooms: Sequence[Member]) -> dict[str, Any]:
    """Every phrase, and pairs of phrases of which only some rooms hold both.

    Of five phrases the first answers say little: "in right rooms" is where every room that holds the object puts it.

    "pictures" asks the same with the mean language feature of the object's own photograph in place of the phrase's
    embedding: how much of what goes wrong is the words' doing?
    """
    objects = {room.name: _objects(room) for room in rooms}
    phrases = sorted({phrase for own in objects.values() for phrase in own})
    pairs = [pair for pair in combinations(phrases, 2) if any(set(pair) <= set(own) for own in objects.values())]
    chosen = np.random.default_rng(0).permutation(len(pairs))[:_PAIRS]
    asked = [(phrase,) for phrase in phrases] + [pairs[i] for i in sorted(chosen)]
    with patch.object(text_query, "load_language_teacher", lambda *told: Picturing(load_language_teacher(*told))):
        pictured = TextQuestions(store)
    return {
        **_answered(TextQuestions(store), asked, objects),
        "pictures": _answered(pictured, asked, objects),
        "by hand": _by_hand(store, objects, phrases),
    }


class Picturing:
    """A language teacher to whom a phrase of the demo catalogue means the catalogue's photograph."""

    def __init__(self, teacher: LanguageTeacher) -> None:
        self._teacher = teacher
        self._pictures = {one.phrase: self._pictured(one.name) for one in PHOTOGRAPHS if one.phrase is not None}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._teacher, name)

    def encode_text(self, phrases: list[str]) -> torch.Tensor:
        """Unit vectors, (phrases, dim)."""
        words = zip(phrases, self._teacher.encode_text(phrases), strict=True)
        return torch.stack([self._pictures.get(phrase, vector) for phrase, vector in words])

    def _pictured(self, name: str) -> torch.Tensor:
        image = linear_to_srgb(photograph_texture(name, (0.0, 0.0, 1.0, 1.0)))
        features = self._teacher.encode_image(torch.from_numpy(image))
        return torch.nn.functional.normalize(features.mean(dim=(0, 1)), dim=0)


def _answered(
    questions: TextQuestions, asked: Sequence[tuple[str, ...]], objects: dict[str, dict[str, list[TrueObject]]]
) -> dict[str, Any]:
    """How the questions are answered, of one phrase and of two."""
    rows = []
    for one in asked:
        start = time.perf_counter()
        hits = questions.ask(one, top=len(objects)).hits
        seconds = time.perf_counter() - start
        ranked = [objects[hit.scene] for hit in hits]
        inside = [
            [_in_one_of(place.position, own.get(place.phrase, [])) for place in hit.places]
            for hit, own in zip(hits, ranked, strict=True)
        ]
        rows.append({
            "asked": one,
            "scene": hits[0].scene,
            "right": set(one) <= set(ranked[0]),
            "inside": inside[0],
            "inside_in_right": [places for places, own in zip(inside, ranked, strict=True) if set(one) <= set(own)],
            "seconds": seconds,
            "average_precision": average_precision([set(one) <= set(own) for own in ranked]),
        })  # fmt: skip
    return {
        kind: {
            "questions": len(kept),
            "recall_at_1": sum(row["right"] for row in kept) / len(kept),
            "position_inside": float(np.mean([inside for row in kept for inside in row["inside"]])),
            "position_inside_in_right_rooms": float(np.mean(np.concatenate([row["inside_in_right"] for row in kept]))),
            "average_precision": {", ".join(row["asked"]): row["average_precision"] for row in kept},
            "median_seconds": median(row["seconds"] for row in kept),
            "wrong": [[*row["asked"], row["scene"]] for row in kept if not (row["right"] and all(row["inside"]))],
        }
        for kind, kept in (
            ("one phrase", [row for row in rows if len(row["asked"]) == 1]),
            ("two phrases", [row for row in rows if len(row["asked"]) == 2]),
        )
    }


def average_precision(ranked: Sequence[bool]) -> float:
    """Of a ranking, the best first: mean of the precision at every right answer that it has."""
    right = np.flatnonzero(ranked)
    return float(np.mean((np.arange(len(right)) + 1) / (right + 1))) if len(right) else 0.0


def _by_hand(store: Store, objects: dict[str, dict[str, list[TrueObject]]], phrases: Sequence[str]) -> dict[str, Any]:
    """The baseline: a scene is as like a phrase as its most similar key point, which tells where."""
    scenes = {name: store.scene(name) for name in store.entries()}
    (config,) = {
        json.dumps(dict(card.config)) for one in scenes.values() for card in one.teachers if card.role == "language"
    }
    teacher = load_language_teacher(TeacherConfig(**json.loads(config)), "cpu")
    words = teacher.encode_text(list(phrases)).cpu().numpy()
    cosines, inside = np.full((len(phrases), len(scenes)), -1.0), np.zeros((len(phrases), len(scenes)), dtype=bool)
    for column, (name, one) in enumerate(scenes.items()):
        features = one.points.features[teacher.name].astype(np.float32)
        similar = words @ (features / np.linalg.norm(features, axis=1, keepdims=True)).T
        cosines[:, column] = similar.max(axis=1)
        for row, (phrase, best) in enumerate(zip(phrases, similar.argmax(axis=1), strict=True)):
            inside[row, column] = _in_one_of(one.points.positions[best], objects[name].get(phrase, []))
    right = np.array([[phrase in objects[name] for name in scenes] for phrase in phrases])
    order = np.argsort(-cosines, axis=1)
    ranked, first = np.take_along_axis(right, order, axis=1), order[:, :1]
    return {
        "recall_at_1": float(ranked[:, 0].mean()),
        "position_inside": float(np.take_along_axis(inside, first, axis=1).mean()),
        "position_inside_in_right_rooms": float(inside[right].mean()),
        "average_precision": {
            phrase: average_precision(row.tolist()) for phrase, row in zip(phrases, ranked, strict=True)
        },
    }


def _objects(room: Member) -> dict[str, list[TrueObject]]:
    """What a room holds, by phrase; a half's description lies beside the whole capture's photographs."""
    frame = json.loads((room.capture / "transforms.json").read_text())["frames"][0]
    folder = (room.capture / frame["file_path"]).parents[1]
    found: dict[str, list[TrueObject]] = {}
    for one in load_ground_truth(folder).objects:
        if one.phrase is not None:
            found.setdefault(one.phrase, []).append(one)
    return found


def _in_one_of(position: Sequence[float] | np.ndarray, boxes: Sequence[TrueObject]) -> bool:
    return any(_inside(position, box) for box in boxes)


def _inside(position: Sequence[float] | np.ndarray, box: TrueObject) -> bool:
    local = (np.array(position) - box.oriented_centre) @ np.array(box.oriented_axes)
    return bool((np.abs(local) <= np.array(box.oriented_extents) / 2 + MARGIN * max(box.oriented_extents)).all())


def located(store: Store, scenes: Sequence[Member]) -> list[dict[str, Any]]:
    """Held-out photographs asked of a repository that has their place."""
    questions, places = PhotoQuestions(store), {member.name: member.place for member in scenes}
    rows = []
    asking = [member for member in scenes if member.held_out or member.name.endswith("_b")]
    for member in track(asking, description="Photographs"):
        for file, focal, lens, pose in _held_out(member):
            start = time.perf_counter()
            answer = questions.ask(read_photograph(file), focal_length=focal, distortion=lens)
            seconds = time.perf_counter() - start
            unknown = questions.ask(read_photograph(file))
            rows.append({
                "place": member.place,
                "real": member.real,
                "first": bool(answer.hits) and places[answer.hits[0].scene] == member.place,
                "right": answer.found is not None and places[answer.found.scene] == member.place,
                "right_without_focal_length": unknown.found is not None
                and places[unknown.found.scene] == member.place,
                "score": answer.hits[0].score if answer.hits else 0.0,
                "most_votes": bool(answer.hits)
                and places[max(answer.hits, key=lambda hit: hit.votes).scene] == member.place,
                "error": _error(store, member, answer.found, pose),
                "seconds": seconds,
            })  # fmt: skip
    return rows


def refused(store: Store, captures: Sequence[Path], place: str) -> list[dict[str, Any]]:
    """Photographs asked of a repository that does not have their place."""
    questions = PhotoQuestions(store)
    rows = []
    for capture in captures:
        for file, focal, lens, _ in _frames(capture):
            answer = questions.ask(read_photograph(file), focal_length=focal, distortion=lens)
            score = answer.hits[0].score if answer.hits else 0.0
            rows.append({"place": place, "accepted": answer.found is not None, "score": score})
    return rows


def over_photographs(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares and medians."""
    errors = [row["error"] for row in rows if row["error"] is not None]
    return {
        "photographs": len(rows),
        "recall_at_1": float(np.mean([row["first"] for row in rows])),
        "found": float(np.mean([row["right"] for row in rows])),
        "found_without_focal_length": float(np.mean([row["right_without_focal_length"] for row in rows])),
        "most_votes": float(np.mean([row["most_votes"] for row in rows])),
        "median_degrees": median(error[0] for error in errors) if errors else None,
        "median_percent": median(error[1] for error in errors) if errors else None,
        "median_seconds": median(row["seconds"] for row in rows),
    }


def _held_out(member: Member) -> Iterator[tuple[Path, float, list[float], np.ndarray]]:
    """The photographs that a training did not see (nerfstudio's fractional split), or all of a half."""
    frames = list(_frames(member.capture))
    trained = (
        set(np.linspace(0, len(frames) - 1, int(np.ceil(0.8 * len(frames))), dtype=int)) if member.held_out else set()
    )
    return (frame for number, frame in enumerate(frames) if number not in trained)


def _frames(capture: Path) -> Iterator[tuple[Path, float, list[float], np.ndarray]]:
    """File, focal length, lens and camera-to-world of every photograph, by name."""
    meta = json.loads((capture / "transforms.json").read_text())
    for frame in sorted(meta["frames"], key=lambda frame: frame["file_path"]):
        lens = [frame.get(key, meta.get(key, 0.0)) for key in ("k1", "k2", "p1", "p2")]
        focal = frame.get("fl_x", meta.get("fl_x"))
        yield capture / frame["file_path"], float(focal), lens, np.array(frame["transform_matrix"])


def _error(store: Store, member: Member, found: PhotoHit | None, pose: np.ndarray) -> tuple[float, float] | None:
    """Degrees, and per cent of the scene's size; None where what was found has another frame."""
    if found is None or found.camera_to_world is None or found.scene not in (member.name, f"{member.place}_a"):
        return None
    turn = Rotation.from_matrix(found.camera_to_world[:3, :3].T @ pose[:3, :3])
    away = np.linalg.norm(found.camera_to_world[:3, 3] - pose[:3, 3])
    size = extent(store.scene(found.scene).points.positions)
    return float(np.degrees(turn.magnitude())), float(100 * away / size)


def found_duplicates(store: Store, scenes: Sequence[Member]) -> dict[str, Any]:
    """All pairs, ranked."""
    by_name = {member.name: member for member in scenes}
    truth = {
        (a.name, b.name) for a, b in combinations(sorted(scenes, key=lambda one: one.name), 2) if a.place == b.place
    }
    compared = 0

    def count(done: int, total: int) -> None:
        nonlocal compared
        compared = total

    start = time.perf_counter()
    ranked = duplicates(store, least=0.0, report=count)
    seconds = time.perf_counter() - start
    believed = duplicates(store)
    true = [(min(one.a, one.b), max(one.a, one.b)) in truth for one in ranked]
    errors = [
        _transform_error(one.a_to_b, by_name[one.a], by_name[one.b])
        for one, right in zip(ranked, true, strict=True)
        if right
    ]
    right = [(min(one.a, one.b), max(one.a, one.b)) in truth for one in believed]
    return {
        "true_pairs": len(truth),
        "average_precision": average_precision(true) * sum(true) / len(truth),
        "believed": len(believed),
        "believed_and_true": sum(right),
        "least_score_of_true": min(one.score for one, right in zip(ranked, true, strict=True) if right),
        "greatest_score_of_false": max(one.score for one, right in zip(ranked, true, strict=True) if not right),
        "compared": compared,
        "all_pairs": len(scenes) * (len(scenes) - 1) // 2,
        "seconds": seconds,
        "median_degrees": median(error[0] for error in errors),
        "median_scale_percent": median(error[1] for error in errors),
        "largest_degrees": max(error[0] for error in errors),
        "largest_scale_percent": max(error[1] for error in errors),
    }


def _transform_error(a_to_b: np.ndarray, a: Member, b: Member) -> tuple[float, float]:
    """Degrees and per cent of scale by which a transform is off."""
    true = _from_original(b) @ np.linalg.inv(_from_original(a))
    scale, expected = (float(np.cbrt(np.linalg.det(one[:3, :3]))) for one in (a_to_b, true))
    turn = Rotation.from_matrix((a_to_b[:3, :3] / scale).T @ (true[:3, :3] / expected))
    return float(np.degrees(turn.magnitude())), abs(scale / expected - 1.0) * 100


def _from_original(member: Member) -> np.ndarray:
    """From the frame of the capture that a duplicate was made of."""
    if not member.name.startswith("again_"):
        return np.eye(4)
    origin = load_ground_truth(member.capture).origin
    assert origin is not None and origin.original_to_this is not None
    return np.array(origin.original_to_this)
