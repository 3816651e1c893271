"""`condense query`: which scenes of a repository answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
    from condense_nerfstudio.repository.photo_query import PhotoHit
    from condense_nerfstudio.repository.photograph import Photograph
    from condense_nerfstudio.repository.scene_query import SceneHit
    from condense_nerfstudio.repository.store import Store
    from condense_nerfstudio.repository.text_query import TextHit


@dataclass(frozen=True)
class Query:
    """Asks a repository for scenes, the best first, with the place in each that answers."""

    repo: Annotated[str, tyro.conf.Positional]
    """The repository."""
    text: tuple[str, ...] = ()
    """Phrases to look for; with several, a scene must answer all of them."""
    image: Path | None = None
    """A photograph: which scenes show what it shows."""
    scene: Path | None = None
    """A condensed scene's folder, or an id in the repository: which scenes are the same place, or look like it."""
    top: int = 5
    """How many scenes to name."""
    negatives: tuple[str, ...] = ()
    """With --text: phrases that what is looked for must beat, and the language teacher's neutral ones with them.
    Without any, nothing has to be beaten."""
    teacher: str | None = None
    """With --text: name of the teacher whose features are searched, where scenes have several."""
    focal: float | None = None
    """With --image: its focal length in pixels; by default what its EXIF data tell, or else it is estimated."""
    picture: Path | None = None
    """A PNG file to draw the ranking into: a portrait of every scene, the best sixty at most, the answer marked."""
    json: bool = False
    """Print one JSON object with the query, its results, and the scenes that could not be searched."""

    def run(self) -> dict[str, Any]:
        """Asks."""
        from condense_nerfstudio.errors import UserError

        if self.top < 1:
            raise UserError(f"--top is {self.top}: give a positive number.")
        asked = [flag for flag in ("text", "image", "scene") if getattr(self, flag)]
        if not asked:
            raise UserError("Nothing was asked: pass --text 'a cat', --image FILE or --scene FOLDER.")
        if len(asked) > 1:
            raise UserError(f"Both --{asked[0]} and --{asked[1]} were given: ask one after the other.")
        for flag, kind in (("negatives", "text"), ("teacher", "text"), ("focal", "image")):
            if getattr(self, flag) and kind != asked[0]:
                raise UserError(f"--{flag} goes with --{kind}, and --{asked[0]} was given: leave one of them out.")
        if self.picture is not None:
            from condense_nerfstudio.repository.ranking_picture import check_picture

            check_picture(self.picture)
        from condense_nerfstudio.repository.store import Store, reading

        ask = {"text": self._by_text, "image": self._by_image, "scene": self._by_scene}[asked[0]]
        with reading(self.repo):
            return ask(Store(self.repo))

    def _by_text(self, store: Store) -> dict[str, Any]:
        from condense_nerfstudio.repository.text_query import TextQuestions

        answer = TextQuestions(store, self.teacher).ask(self.text, self.top, self.negatives)
        self._draw(store, ", ".join(self.text), answer.hits)
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

    def _by_image(self, store: Store) -> dict[str, Any]:
        from condense_nerfstudio.repository.photo_query import PhotoQuestions
        from condense_nerfstudio.repository.photograph import read_photograph

        assert self.image is not None
        photograph = read_photograph(self.image)
        answer = PhotoQuestions(store).ask(photograph, self.top, self.focal)
        self._draw(store, self.image.name, answer.hits, photograph)
        results = [_told(hit) for hit in answer.hits]
        return {"query": {"image": str(self.image)}, "results": results, "left_out": list(answer.left_out)}

    def _by_scene(self, store: Store) -> dict[str, Any]:
        from condense_nerfstudio.keypoints.storage import read_condensed_scene
        from condense_nerfstudio.repository.scene_query import similar_scenes

        assert self.scene is not None
        own = not self.scene.exists() and str(self.scene) in store.entries()
        scene = store.scene(str(self.scene)) if own else read_condensed_scene(self.scene)
        answer = similar_scenes(store, scene, self.top)
        self._draw(store, f"Scenes like {scene.id}", answer.hits, scene)
        results = [_told(hit) for hit in answer.hits]
        return {"query": {"scene": str(self.scene)}, "results": results, "left_out": list(answer.left_out)}

    def _draw(
        self,
        store: Store,
        question: str,
        hits: Sequence[TextHit | PhotoHit | SceneHit],
        asked: Photograph | CondensedScene | None = None,
    ) -> None:
        """Draws the ranking where that is wanted."""
        if self.picture is not None:
            from condense_nerfstudio.repository.ranking_picture import Ranked, ranking_picture, write_picture

            write_picture(self.picture, ranking_picture(store, question, [Ranked.of(hit) for hit in hits], asked))

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints a line for every scene, and with several phrases for every place."""
        from condense_nerfstudio.keypoints.agreement import TAKEN_HERE

        for hit in result["results"]:
            for place in hit.get("places", [hit]):
                x, y, z = place["position"]
                if "text" in place or hit["inliers"]:
                    told = f"{place.get('text') or str(hit['inliers']) + ' inliers'}  at {x:.3f} {y:.3f} {z:.3f}"
                else:
                    told = "nothing agrees"
                print(f"{hit['scene']}  {place['score']:.3f}  {told}")
        if "image" in result["query"] and not any(hit["score"] >= TAKEN_HERE for hit in result["results"]):
            print(f"taken in none of them: a photograph of a scene scores {TAKEN_HERE} or more")
        if result["left_out"]:
            print(f"not searched (other networks or revisions): {', '.join(result['left_out'])}")


def _told(hit: PhotoHit | SceneHit) -> dict[str, Any]:
    """A hit as plain numbers."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in vars(hit).items()}
