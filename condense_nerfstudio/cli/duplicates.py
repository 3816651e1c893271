"""`condense duplicates`: scenes of a repository that are the same place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro


@dataclass(frozen=True)
class Duplicates:
    """Finds all pairs of scenes that show the same place, and the transform that lays one over the other."""

    repo: Annotated[str, tyro.conf.Positional]
    """The repository."""
    neighbours: int = 10
    """With how many scenes, those most like it, each is compared."""
    json: bool = False
    """Print one JSON object with the pairs, their score, number of inliers and similarity transform."""

    def run(self) -> dict[str, Any]:
        """Compares, with a progress bar on standard error."""
        from rich.console import Console
        from rich.progress import Progress

        from condense_nerfstudio.repository.duplicates import duplicates
        from condense_nerfstudio.repository.store import Store, reading

        store = Store(self.repo)
        with reading(self.repo), Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("Comparing scenes", total=None)
            found = duplicates(
                store, self.neighbours, report=lambda done, total: bar.update(task, completed=done, total=total)
            )
        return {
            "pairs": [
                {"a": one.a, "b": one.b, "score": one.score, "inliers": one.inliers, "a_to_b": one.a_to_b.tolist()}
                for one in found
            ]
        }

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints every pair, and the transform from the first's frame to the second's."""
        for pair in result["pairs"]:
            print(f"{pair['a']}  {pair['b']}  {pair['score']:.3f}  {pair['inliers']} inliers")
            for row in pair["a_to_b"]:
                print("  ".join(f"{value:10.5f}" for value in row))
        if not result["pairs"]:
            print("no duplicates")
