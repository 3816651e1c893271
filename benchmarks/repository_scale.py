"""How a repository grows: adding, indexing and asking 100, 1,000 and 10,000 scenes of 256 key points.

    python benchmarks/repository_scale.py --scenes 100 1000 10000 --work FOLDER --output RESULTS.json

Scenes are made up after real ones of condense-lite: 64 numbers a descriptor, 112 a visual and 384 a language feature,
whose directions have a common mean and a spectrum that falls off. Every scene shows a dozen of 3000 concepts, each at a
place of its own; a key point's features are its concept, something of the whole scene, and noise; its descriptor is one
of 20,000 words and noise. A phrase is a vector near a concept, never that concept, and costs no encoding here: the real
teacher's time comes on top. A photograph is 64 descriptors of one scene, seen anew, for which eleven neighbours each
are found, and then the points of five scenes are read: geometry comes on top.

Recalls are against the exact twin, which compares everything. The baseline is what one would do by hand: all vectors in
memory, and one product of matrices. Every measurement has a process of its own. Times are medians unless they say p99.
Repositories are kept in --work and not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from shutil import rmtree
from statistics import median
from typing import Any

import numpy as np
import torch
from cache_memory import anonymous_megabytes

from condense_nerfstudio.files import write_json
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene, DetectorCard, KeyPoints, TeacherCard
from condense_nerfstudio.repository import text_query
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.schema import POINTS, vectors_table
from condense_nerfstudio.repository.spaces import detector_spaces, teacher_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import TextQuestions
from condense_nerfstudio.repository.upkeep import index
from condense_nerfstudio.repository.vectors import VectorSearch

KEYPOINTS, CONCEPTS, WORDS, SHOWN, AT_ONCE = 256, 3000, 20_000, 12, 320
DETECTOR = DetectorCard("xfeat", "made up", 64, {"name": "xfeat"})
VISUAL = TeacherCard("efficientnet", "made up", 112, "visual", {"name": "efficientnet"})
LANGUAGE = TeacherCard("conse", "made up", 384, "language", {"name": "conse"})


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length one."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class Directions:
    """Unit vectors as networks make them: a common mean, a spectrum that falls off, and as many words."""

    def __init__(self, dim: int, words: int, mean: float, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._spectrum = ((1.0 + np.arange(dim)) ** -0.5).astype(np.float32)
        self._spectrum /= np.linalg.norm(self._spectrum)
        self._axes = np.linalg.qr(random.normal(size=(dim, dim)))[0].astype(np.float32)
        self.words = unit(self.noise(random, words) + mean * self._axes[0])

    def noise(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Vectors of about unit length, (count, dim)."""
        return (random.standard_normal((count, len(self._spectrum)), np.float32) * self._spectrum) @ self._axes


LOCAL = Directions(DETECTOR.dim, WORDS, 0.9, 1)
SEEN = Directions(VISUAL.dim, CONCEPTS, 0.5, 2)
SAID = Directions(LANGUAGE.dim, CONCEPTS, 1.0, 3)
COMMON = SAID.words.mean(axis=0)


class Speaker:
    """A language teacher whose phrases are "NUMBER of a concept, NUMBER of a wording"; others are near the mean."""

    name, dim, patch_size, revision = LANGUAGE.name, LANGUAGE.dim, 16, LANGUAGE.revision
    relevancy_temperature, relevancy_threshold = 10.0, 0.5
    canonical_phrases = ("object", "things", "stuff", "texture")

    def encode_text(self, phrases: list[str]) -> torch.Tensor:
        """Unit vectors, (phrases, dim)."""
        return torch.from_numpy(np.stack([spoken(phrase) for phrase in phrases]))


@cache
def spoken(phrase: str) -> np.ndarray:
    """A phrase's unit vector."""
    noise = SAID.noise(np.random.default_rng(list(phrase.encode())), 1)[0]
    concept, _, wording = phrase.partition(" of ")
    return unit(SAID.words[int(concept)] + 0.5 * noise if wording else COMMON + 0.3 * noise)


def made_up(number: int) -> CondensedScene:
    """One scene; the same number gives the same."""
    random = np.random.default_rng([4, number])
    shown = random.choice(CONCEPTS, SHOWN, replace=False)
    own = random.integers(SHOWN, size=KEYPOINTS)
    places = random.uniform(-1, 1, (SHOWN, 3))
    features = {}
    for card, directions in ((VISUAL, SEEN), (LANGUAGE, SAID)):
        words = directions.words[shown]
        noise = 0.1 * directions.noise(random, KEYPOINTS) + 0.15 * directions.noise(random, SHOWN)[own]
        features[card.name] = unit(0.6 * words[own] + 0.4 * words.mean(axis=0) + noise).astype(np.float16)
    words = LOCAL.words[random.choice(random.integers(WORDS, size=150), KEYPOINTS)]
    points = KeyPoints(
        positions=(places[own] + random.normal(0, 0.05, (KEYPOINTS, 3))).astype(np.float32),
        normals=unit(random.normal(size=(KEYPOINTS, 3))).astype(np.float32),
        colors=random.integers(0, 256, (KEYPOINTS, 3), dtype=np.uint8),
        scales=random.uniform(0.01, 0.1, KEYPOINTS).astype(np.float32),
        scores=np.sort(random.random(KEYPOINTS))[::-1].astype(np.float32),
        views=random.integers(2, 50, KEYPOINTS, dtype=np.int32),
        descriptors=unit(words + 0.35 * LOCAL.noise(random, KEYPOINTS)).astype(np.float16),
        features=features,
    )
    own_id, frame, creation = f"scene-{number:05}", np.eye(4, dtype=np.float32), {"program": "repository_scale.py"}
    return CondensedScene(own_id, "Made up", "dataset", frame, (VISUAL, LANGUAGE), DETECTOR, creation, points)


def phrases(count: int, seed: int) -> list[str]:
    """Phrases that are near concepts; their vectors are made now, so that asking costs no encoding."""
    random = np.random.default_rng(seed)
    made = [f"{random.integers(CONCEPTS)} of {random.integers(1 << 30)}" for _ in range(count)]
    for phrase in made:
        spoken(phrase)
    return made


def photographs(count: int, scenes: int, seed: int) -> list[np.ndarray]:
    """Descriptors of 64 points of a scene each, seen anew; (64, dim)."""
    random = np.random.default_rng(seed)
    shown = [made_up(int(number)).points.descriptors for number in random.integers(scenes, size=count)]
    return [unit(random.permutation(one)[:64].astype(np.float32) + 0.3 * LOCAL.noise(random, 64)) for one in shown]


def speaking_store(repository: Path) -> Store:
    """The repository, whose teacher is the made-up one."""
    text_query.load_language_teacher = lambda config, device: Speaker()
    return Store(repository)


def timed(calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of the first of several calls, of those after a few more, and of processors at work for each."""
    milliseconds, begun = [], time.process_time()
    for call in calls:
        start = time.perf_counter()
        call()
        milliseconds.append(1000 * (time.perf_counter() - start))
    used = 1000 * (time.process_time() - begun) / len(calls)
    warm = milliseconds[len(calls) // 10 :]
    told = {"first": milliseconds[0], "least": min(warm), "p50": median(warm), "p99": float(np.quantile(warm, 0.99))}
    return {**told, "processor": used}


def made(repository: Path, scenes: int) -> dict[str, Any]:
    """Adds the scenes and indexes them; what making them up takes does not count."""
    store, making, start = Store(repository, create=True), 0.0, time.perf_counter()
    for first in range(0, scenes, AT_ONCE):
        begun = time.perf_counter()
        batch = [made_up(number) for number in range(first, min(first + AT_ONCE, scenes))]
        making += time.perf_counter() - begun
        store.add(batch)
    adding, added = time.perf_counter() - start - making, kilobytes(repository)
    start = time.perf_counter()
    index(store)
    return {
        "load_average": os.getloadavg(),
        "scenes_per_second": scenes / adding,
        "kilobytes_a_scene": added / scenes,
        "index_seconds": time.perf_counter() - start,
        "kilobytes_a_scene_indexed": kilobytes(repository) / scenes,
    }


def kilobytes(folder: Path) -> float:
    """What a folder holds."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1000


def asked(repository: Path, scenes: int) -> dict[str, Any]:
    """Opens the repository and asks it, without geometry."""
    before = anonymous_megabytes()
    start = time.perf_counter()
    store = speaking_store(repository)
    questions = TextQuestions(store)
    space = detector_spaces(store)[0]
    opening = time.perf_counter() - start

    search = VectorSearch(store, space.card, space.entries)

    def photo(queries: np.ndarray) -> None:
        found = search.nearest(queries, 11)
        votes = np.bincount(found.scenes[found.scenes >= 0], minlength=len(space.entries))
        entries = [space.entries[place] for place in np.argsort(-votes)[:5]]
        for table, column in ((POINTS, "position"), (vectors_table(space.card), "vector")):
            store.rows_of(table, entries, ["generation", "index", column])

    both = zip(phrases(100, 6), phrases(100, 7), strict=True)
    return {
        "opening_seconds": opening,
        "text_ms": timed([lambda one=one: questions.ask([one]) for one in phrases(300, 5)]),
        "two_phrases_ms": timed([lambda two=two: questions.ask(two) for two in both]),
        "photo_ms": timed([lambda one=one: photo(one) for one in photographs(50, scenes, 8)]),
        "memory_mb": {"started": before, "asked": anonymous_megabytes()},
    }


def recalled(repository: Path, scenes: int) -> dict[str, float]:
    """The share of the exact twin's ten best that is found: key points near phrases and photographs, and scenes."""
    store = speaking_store(repository)
    questions, told = TextQuestions(store), {}
    words = Speaker().encode_text(phrases(60, 9)).numpy()
    for name, space, queries in (
        ("language", teacher_spaces(store, "language", None)[0], words),
        ("descriptors", detector_spaces(store)[0], photographs(1, scenes, 10)[0]),
    ):
        search = VectorSearch(store, space.card, space.entries)
        some, right = (search.nearest(queries, 10, exact) for exact in (False, True))
        told[name] = overlap(some.scenes * KEYPOINTS + some.keypoints, right.scenes * KEYPOINTS + right.keypoints)
    some, right = (
        [[hit.scene for hit in questions.ask([one], top=10, exact=exact).hits] for one in phrases(40, 11)]
        for exact in (False, True)
    )
    return {**told, "scenes": overlap(some, right)}


def overlap(some: Iterable[Iterable[Any]], right: Iterable[Iterable[Any]]) -> float:
    """The mean share of what is right that was found."""
    pairs = [(set(a), set(b)) for a, b in zip(some, right, strict=True)]
    return float(np.mean([len(a & b) / len(b) for a, b in pairs]))


def by_hand(repository: Path, scenes: int) -> dict[str, Any]:
    """The baseline: all vectors in memory, and one product of matrices."""
    before = anonymous_megabytes()
    start = time.perf_counter()
    store = Store(repository)
    tables = [store.table(vectors_table(card)).search().select(["vector"]).limit(None) for card in (LANGUAGE, DETECTOR)]
    words, seen = (array(table.to_arrow(), "vector").astype(np.float32) for table in tables)
    loading = time.perf_counter() - start

    def ten_best(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
        return np.argpartition(-(queries @ vectors.T), 10, axis=1)[:, :10]

    one = [Speaker().encode_text([phrase]).numpy() for phrase in phrases(20, 5)]
    return {
        "loading_seconds": loading,
        "text_ms": timed([lambda query=query: ten_best(words, query) for query in one]),
        "photo_ms": timed([lambda query=query: ten_best(seen, query) for query in photographs(3, scenes, 8)]),
        "memory_mb": {"started": before, "asked": anonymous_megabytes()},
    }


def alone(measure: Callable[[Path, int], dict[str, Any]], repository: Path, scenes: int) -> dict[str, Any]:
    """What a measurement says that runs in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, repository, scenes).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--work", type=Path, required=True, help="a folder on a disk with 10 GB of room")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "repository_scale.json")
    options = parser.parse_args()
    runs = []
    for scenes in options.scenes:
        repository = options.work / f"scenes_{scenes}"
        if not (kept := repository.with_suffix(".json")).exists():
            rmtree(repository, ignore_errors=True)
            write_json(kept, alone(made, repository, scenes))
        run = {"scenes": scenes, "load_average": os.getloadavg(), "made": json.loads(kept.read_text())}
        runs.append(run | {one.__name__: alone(one, repository, scenes) for one in (asked, recalled, by_hand)})
        about = {
            "keypoints_a_scene": KEYPOINTS,
            "processors": os.cpu_count(),
            "machine": "shared and noisy: see the load averages",
        }
        write_json(options.output, {**about, "runs": runs})


if __name__ == "__main__":
    main()
