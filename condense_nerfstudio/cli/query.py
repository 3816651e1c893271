"""`condense query`: which scenes of a repository answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro


@dataclass(frozen=True)
class Query:
    """Asks a repository for scenes, the best first, with the place in each that answers."""

    repo: Annotated[str, tyro.conf.Positional]
    """The repository."""
    text: tuple[str, ...] = ()
    """Phrases to look for; with several, a scene must answer all of them."""
    negatives: tuple[str, ...] = ()
    """Phrases that what is looked for must beat, beside the language teacher's neutral ones ("an object", ...)."""
    top: int = 5
    """How many scenes to name."""
    teacher: str | None = None
    """Name of the teacher whose features are searched, where scenes have several."""
    json: bool = False
    """Print one JSON object with the query, its results, and the scenes that could not be searched."""

    def run(self) -> dict[str, Any]:
        """Asks."""
        from condense_nerfstudio.errors import UserError

        if self.top < 1:
            raise UserError(f"--top is {self.top}: give a positive number.")
        if not self.text:
            raise UserError("Nothing was asked: pass --text with phrases such as 'a cat'.")
        from condense_nerfstudio.repository.store import Store
        from condense_nerfstudio.repository.text_query import TextQuestions

        store = Store(self.repo)
        answer = TextQuestions(store, self.teacher).ask(self.text, self.top, self.negatives)
        results = [
            {
                "scene": hit.scene,
                "score": hit.score,
                "position": list(hit.places[0].position),
                "keypoint": hit.places[0].keypoint,
                "places": [
                    {"text": p.phrase, "score": p.score, "position": list(p.position), "keypoint": p.keypoint}
                    for p in hit.places
                ],
            }
            for hit in answer.hits
        ]
        query = {"text": list(self.text), "teacher": answer.teacher, "revision": answer.revision}
        return {"query": query, "results": results, "left_out": list(answer.left_out)}

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints a line for every place."""
        for hit in result["results"]:
            for place in hit["places"]:
                x, y, z = place["position"]
                print(f"{hit['scene']}  {place['score']:.3f}  {place['text']}  at {x:.3f} {y:.3f} {z:.3f}")
        if result["left_out"]:
            print(f"not searched (another teacher or revision): {', '.join(result['left_out'])}")
