"""A condensed scene with arbitrary bytes or values changed is refused, or is still sane."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import (
    SCENE_FILE,
)
from condense_nerfstudio.keypoints.storage import read_condensed_scene

from .scene_files import FILES, all_finite, contents


def mutated_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """Flips, cuts, inserts, deletes or duplicates."""
    start, end = sorted(int(i) for i in random.integers(0, len(content) + 1, 2))
    kind = random.integers(5)
    if kind == 0:
        flipped = bytearray(content)
        for i in random.integers(0, len(content), random.integers(1, 9)):
            flipped[i] ^= int(random.integers(1, 256))
        return bytes(flipped)
    if kind == 1:
        return content[:start]
    if kind == 2:
        return content[:start] + random.bytes(int(random.integers(1, 40))) + content[start:]
    if kind == 3:
        return content[:start] + content[end:]
    return content[:end] + content[start:end] + content[end:]


def mutated_json(content: bytes, random: np.random.Generator) -> bytes:
    """Replaces one value, wherever it stands, by another of any type."""
    header = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            places.append((value, key))
            collect(inner)

    collect(header)
    values = (
        None, True, False, 0, 1, -1, 3, 2**31, 10**19, 10**400, 0.0, 1.5, 1e39, 1e308, float("nan"), float("inf"),
        "", "a/b", "clip", "x" * 5000, "\ud800", [], [1], [[]], {}, {"a": 1}, {"a": {"b": []}},
    )  # fmt: skip
    parent, key = places[random.integers(len(places))]
    parent[key] = values[random.integers(len(values))]
    return json.dumps(header).encode()


def mutate(original: dict[str, bytes], random: np.random.Generator) -> dict[str, bytes]:
    name = FILES[random.integers(3)]
    as_json = name == SCENE_FILE and random.integers(6) >= 3
    changed = (mutated_json if as_json else mutated_bytes)(original[name], random)
    mutant = {**original, name: changed}
    if name != SCENE_FILE and random.random() < 0.5:
        header = json.loads(original[SCENE_FILE])
        header["files"][name] = hashlib.sha256(changed).hexdigest()
        mutant[SCENE_FILE] = json.dumps(header).encode()
    return mutant


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_a_thousand_mutations_are_refused_or_sane(folder: Path) -> None:
    original, random = contents(folder), np.random.default_rng(0)
    start, refused, failures = time.perf_counter(), 0, []
    for i in range(1000):
        mutant = mutate(original, random)
        for name, content in mutant.items():
            (folder / name).write_bytes(content)
        try:
            scene = read_condensed_scene(folder)
            assert all_finite(scene) and len(scene.points)
        except UserError as error:
            assert any(name in str(error) for name in FILES), i
            refused += 1
        except Exception as error:
            changed = [name for name in FILES if mutant[name] != original[name]]
            failures.append(f"{i} {changed}: {type(error).__name__}: {error}"[:500])
    assert not failures, "\n".join(failures)
    assert 800 < refused < 1000
    assert time.perf_counter() - start < 30
