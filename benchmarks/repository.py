"""Questions to a repository of demo scenes and halves of real captures: are the answers right?

    python benchmarks/repository.py --data ../shared/data --output benchmarks/results/repository.json

The collection (collection.py) has single demo rooms, duplicates (other cameras, frame, scale, exposure), near misses
(the same objects elsewhere), NeRFs without features, and two halves of each of three demo rooms and of the real
captures. What is not there is trained and condensed; --only-present measures what is there:

text        phrases of every object, alone and two joined: does the first scene hold it, is the place in its box?
            "pictures" asks with the objects' photographs instead of words: the teacher's words' share of the errors
photographs held-out photographs of single rooms, and those of the halves b, asked of a repository without these halves
unknown     photographs of rooms and captures that are not there: are they refused?
duplicates  all pairs, ranked by score; error of the transforms

Baselines are what a user would write: the key point most similar to the phrase, and the most matches without geometry.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collection import Member, condensed, members
from repository_measures import asked_by_text, found_duplicates, located, over_photographs, refused

from condense_nerfstudio.demo.generate import Options, generate_scenes
from condense_nerfstudio.files import write_json
from condense_nerfstudio.keypoints.storage import read_condensed_scene
from condense_nerfstudio.repository.store import Store

UNKNOWN = Options(count=12, seed=800, num_views=6)
"""Demo rooms that are not in the collection; they share their photographs and textures with those that are."""


def repository(folder: Path, scenes: Sequence[Member], work: Path) -> Store:
    """A new repository of scenes."""
    store = Store(tempfile.mkdtemp(dir=folder), create=True)
    store.add(read_condensed_scene(condensed(member, work)) for member in scenes)
    return store


def measure(scenes: Sequence[Member], work: Path, folder: Path) -> dict[str, Any]:
    """All measures."""
    everything = repository(folder, scenes, work)
    rooms = [member for member in scenes if not member.real]
    without_b = [member for member in scenes if not member.name.endswith("_b")]
    unknown = work / "scenes/strangers"
    if not unknown.exists():
        generate_scenes(unknown, UNKNOWN)
    elsewhere = {
        member.place: [other for other in without_b if other.place != member.place]
        for member in scenes
        if member.real and member.name.endswith("_b")
    }
    known = located(repository(folder, without_b, work), scenes)
    strangers = refused(repository(folder, without_b, work), sorted(unknown.iterdir()), "demo")
    for member in scenes:
        if member.real and member.name.endswith("_b"):
            strangers += refused(repository(folder, elsewhere[member.place], work), [member.capture], member.place)
    return {
        "scenes": {"demo": len(rooms), "real": len(scenes) - len(rooms), "names": [member.name for member in scenes]},
        "text": asked_by_text(repository(folder, rooms, work), rooms),
        "photographs": summary(known, strangers),
        "duplicates": found_duplicates(everything, scenes),
    }


def summary(known: Sequence[dict[str, Any]], strangers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares and medians over photographs."""
    return {
        "demo": over_photographs([one for one in known if not one["real"]]),
        "real": {
            place: over_photographs([one for one in known if one["real"] and one["place"] == place])
            for place in sorted({one["place"] for one in known if one["real"]})
        },
        "unknown": {
            "photographs": len(strangers),
            "accepted": sum(one["accepted"] for one in strangers),
            "accepted_at_95_percent": sum(one["score"] >= _quantile(known) for one in strangers) / len(strangers),
            "accepted_places": [one["place"] for one in strangers if one["accepted"]],
        },
    }


def _quantile(known: Sequence[dict[str, Any]], share: float = 0.05) -> float:
    """The score that 95 % of the photographs of known places reach in the right scene."""
    scores = sorted(one["score"] if one["right"] else 0.0 for one in known)
    return scores[int(share * len(scores))]


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the real captures")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "condense_repository")
    parser.add_argument("--only-present", action="store_true", help="leave out scenes that are not condensed yet")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    scenes = members(arguments.work, arguments.data)
    if arguments.only_present:
        scenes = [one for one in scenes if (arguments.work / "condensed" / one.name / "scene.json").exists()]
    with tempfile.TemporaryDirectory() as folder:
        results = measure(scenes, arguments.work, Path(folder))
    print(json.dumps(results, indent=2))
    if arguments.output:
        write_json(arguments.output, results)


if __name__ == "__main__":
    main()
