"""`condense locate`: where a photograph was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro


@dataclass(frozen=True)
class Locate:
    """Tells in which scene of a repository a photograph was taken, and the camera's pose there; or that in none."""

    repo: Annotated[str, tyro.conf.Positional]
    """The repository."""
    image: Path
    """The photograph."""
    focal: float | None = None
    """Its focal length in pixels; by default what its EXIF data tell, or else it is estimated."""
    distortion: tuple[float, ...] = ()
    """Its lens: k1 k2 p1 p2 (k3 ...) of OpenCV; needs --focal. By default none."""
    json: bool = False
    """Print one JSON object with the scene, the confidence, the number of inliers and the pose."""

    def run(self) -> dict[str, Any]:
        """Looks for the photograph; one that was taken nowhere here is an answer too."""
        from condense_nerfstudio.errors import UserError

        if self.distortion and self.focal is None:
            raise UserError("--distortion was given without --focal: a lens is told in focal lengths, so give both.")
        if len(self.distortion) not in (0, 4, 5, 8):
            raise UserError(f"--distortion has {len(self.distortion)} numbers: give k1 k2 p1 p2, or OpenCV's 5 or 8.")
        from condense_nerfstudio.repository.photo_query import PhotoQuestions
        from condense_nerfstudio.repository.photograph import read_photograph
        from condense_nerfstudio.repository.store import Store, reading

        photograph = read_photograph(self.image)
        with reading(self.repo):
            answer = PhotoQuestions(Store(self.repo)).ask(photograph, 1, self.focal, self.distortion)
        found, best = answer.found, next(iter(answer.hits), None)
        pose = None if found is None or found.camera_to_world is None else found.camera_to_world.tolist()
        return {
            "scene": None if found is None else found.scene,
            "score": 0.0 if best is None else best.score,
            "inliers": 0 if best is None else best.inliers,
            "camera_to_world": pose,
            "focal_length": None if found is None else found.focal_length,
            "left_out": list(answer.left_out),
        }

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints the scene and the pose."""
        if result["scene"] is None:
            print("not found")
        else:
            print(f"{result['scene']}  {result['inliers']} inliers  focal length {result['focal_length']:.0f} pixels")
            for row in result["camera_to_world"]:
                print("  ".join(f"{value:10.5f}" for value in row))
        if result["left_out"]:
            print(f"not searched (another detector or revision): {', '.join(result['left_out'])}")
