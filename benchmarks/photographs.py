"""Are photographs of known places believed, and those of unknown ones refused?

    python benchmarks/photographs.py --condensed FOLDER --captures FOLDER... --real FOLDER... --strangers FOLDER \\
        --output benchmarks/results/photographs.json

Every folder SCENE of --condensed is a condensed scene of the capture SCENE in one of --captures or --real, whose
training left out every fifth photograph (`--train-split-fraction 0.8`). One repository holds all of them. Photographs
that were left out are asked of it; of the captures in --real also all photographs, with their scene removed: strangers,
as are those in --strangers, rooms that share posters and textures with the known ones. benchmarks/repository.py asks
the same of a collection that it trains itself, and more.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from collection import Member
from repository_measures import located, over_photographs, refused
from rich.progress import track

from condense_nerfstudio.files import write_json
from condense_nerfstudio.keypoints.storage import read_condensed_scene
from condense_nerfstudio.repository.store import Store

ACCEPTED = 0.02
"""Share of strangers that a limit may accept."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--condensed", type=Path, required=True)
    parser.add_argument("--captures", type=Path, nargs="+", default=[], help="folders of demo rooms")
    parser.add_argument("--real", type=Path, nargs="+", default=[], help="folders of real captures")
    parser.add_argument("--strangers", type=Path, required=True, help="a folder of demo rooms that are not there")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "photographs.json")
    options = parser.parse_args()
    members = [member(scene.parent, options) for scene in sorted(options.condensed.glob("*/scene.json"))]
    with tempfile.TemporaryDirectory() as folder:
        everything = Store(Path(folder) / "all", create=True)
        everything.add(read_condensed_scene(options.condensed / one.name) for one in members)
        known = located(everything, members)
        strangers = refused(everything, sorted(options.strangers.iterdir()), "demo")
        for one in track([one for one in members if one.real], description="Real strangers"):
            everything.remove(one.name)
            strangers += refused(everything, [one.capture], one.place)
            everything.add([read_condensed_scene(options.condensed / one.name)])
    groups = {"demo": [row for row in known if not row["real"]]}
    groups |= {one.place: [row for row in known if row["place"] == one.place] for one in members if one.real}
    scores = np.sort([row["score"] for row in strangers])[::-1]
    limit = float(scores[int(ACCEPTED * len(scores))])
    write_json(
        options.output,
        {
            "scenes": [one.name for one in members],
            "known": {place: over_photographs(rows) for place, rows in groups.items() if rows},
            "found": float(np.mean([row["right"] for row in known])),
            "strangers": {
                place: {
                    "photographs": len(rows),
                    "accepted": sum(row["accepted"] for row in rows),
                    "highest_scores": sorted((row["score"] for row in rows), reverse=True)[:5],
                }
                for place in sorted({row["place"] for row in strangers})
                for rows in [[row for row in strangers if row["place"] == place]]
            },
            "at_two_per_cent_of_strangers": {"limit": limit, "found": found_from(limit, known)},
            "by_limit": {
                f"{one:.2f}": {"found": found_from(one, known), "accepted": float((scores >= one).mean())}
                for one in np.arange(0.5, 0.81, 0.02)
            },
        },
    )


def found_from(limit: float, known: Sequence[dict[str, Any]]) -> float:
    """Share of the photographs of known places that are believed from a score on."""
    return float(np.mean([row["first"] and row["score"] >= limit for row in known]))


def member(condensed: Path, options: argparse.Namespace) -> Member:
    """The condensed scene's capture."""
    for folder in (*options.captures, *options.real):
        if (folder / condensed.name / "transforms.json").exists():
            return Member(condensed.name, condensed.name, folder / condensed.name, True, folder in options.real)
    raise SystemExit(f"None of the folders of captures has {condensed.name}.")


if __name__ == "__main__":
    main()
