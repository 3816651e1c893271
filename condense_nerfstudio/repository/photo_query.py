"""Which scenes a photograph shows, and from where it was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints import agreement
from condense_nerfstudio.keypoints.agreement import Sight
from condense_nerfstudio.keypoints.condensed_scene import DetectorCard
from condense_nerfstudio.keypoints.confidence import among
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detector, load_detector
from condense_nerfstudio.keypoints.focal_length import TRIED, locate_uncalibrated
from condense_nerfstudio.keypoints.localisation import Intrinsics, Location, locate
from condense_nerfstudio.keypoints.matching import match
from condense_nerfstudio.repository.local_points import local_points, triple
from condense_nerfstudio.repository.photograph import Photograph
from condense_nerfstudio.repository.spaces import Space, detector_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.vectors import VectorSearch
from condense_nerfstudio.repository.votes import votes

_VERIFIED = 5
"""Scenes, those with the most votes, in which a photograph's pose is looked for."""


@dataclass(frozen=True)
class PhotoHit:
    """A scene that a photograph may show."""

    scene: str
    score: float
    """How much of the scene and the photograph agrees, compared with the scene's own photographs, in 0..1, times the
    confidence in the pose; from TAKEN_HERE the photograph was taken there. See :func:`agreement.of_photograph`."""
    votes: float
    """How much its key points look like the photograph's, beyond those of other scenes; see :func:`votes`."""
    inliers: int
    """Matches that agree on the pose."""
    camera_to_world: Float[np.ndarray, "4 4"] | None
    """In the data set's world frame, OpenGL axes; None where no pose was found."""
    focal_length: float | None
    """In pixels of the photograph as it was asked about; None where no pose was found."""
    position: tuple[float, float, float]
    """Of the key point."""
    keypoint: int
    """The key point that agrees with the pose and is nearest to the middle of the photograph; without a pose, the one
    that looks most like something in it."""


@dataclass(frozen=True)
class PhotoAnswer:
    """What a repository says to a photograph."""

    hits: tuple[PhotoHit, ...]
    """The best first: by their score, those without a pose by votes."""
    left_out: tuple[str, ...]
    """Scenes with another detector's descriptors, or another revision's: they were not searched."""

    @property
    def found(self) -> PhotoHit | None:
        """Where the photograph was taken; None if nowhere here."""
        return next((hit for hit in self.hits[:1] if hit.score >= agreement.TAKEN_HERE), None)


class PhotoQuestions:
    """Asks one repository about photographs; the detector is loaded once.

    Args:
        store: the repository.

    Raises:
        UserError: it is empty, or its detector cannot be loaded, or is not the one that made the descriptors.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._space, self._detector = _with_detector(store, detector_spaces(store))
        self._search = VectorSearch(store, self._space.card, self._space.entries)

    def ask(
        self,
        photograph: Photograph,
        top: int = 5,
        focal_length: float | None = None,
        distortion: Sequence[float] = (),
        exact: bool = False,
    ) -> PhotoAnswer:
        """The scenes that the photograph shows.

        Args:
            photograph: what to look for.
            top: how many scenes are wanted.
            focal_length: in pixels of the photograph's file; by default what its EXIF data tell, or else estimated.
            distortion: k1, k2, p1, p2 (k3, ...) of OpenCV.
            exact: compare all descriptors, even of a large repository.

        Raises:
            UserError: there is nothing in the photograph to be recognised, or the focal length is not positive.
        """
        focal_length = photograph.focal_length if focal_length is None else focal_length
        if focal_length is not None and not focal_length > 0:
            raise UserError(f"A focal length of {focal_length} pixels is impossible: give a positive number.")
        seen = self._detector.detect(photograph.pixels)
        if not len(seen):
            raise UserError("The photograph has no features: it is black or of one colour, so choose another.")
        camera = None if focal_length is None else photograph.camera(focal_length, distortion)
        pixels, descriptors = seen.pixels[: agreement.BEST], seen.descriptors[: agreement.BEST].astype(np.float32)
        counted = votes(self._search, descriptors, exact)
        ranked = np.argsort(-counted, kind="stable")[: max(_VERIFIED, top)]
        ranked = [int(scene) for scene in ranked if counted[scene] > 0]
        found = (
            self._hit(scene, float(counted[scene]), pixels, descriptors, photograph, camera, len(ranked))
            for scene in ranked
        )
        hits = [hit for hit in found if hit is not None]
        hits.sort(key=lambda hit: (-hit.score, -hit.votes))
        return PhotoAnswer(tuple(hits[:top]), self._space.left_out)

    def _hit(
        self,
        place: int,
        counted: float,
        seen: Float[np.ndarray, "_ 2"],
        descriptors: Float[np.ndarray, "n d"],
        photograph: Photograph,
        camera: Intrinsics | None,
        tried: int,
    ) -> PhotoHit | None:
        """What a scene has to do with the photograph; None where it is no longer there."""
        entry = self._space.entries[place]
        scene = local_points(self._store, self._space.card, entry)
        if scene is None:
            return None
        pairs = match(descriptors, scene.descriptors)
        pixels, points = seen[pairs[:, 0]], scene.positions[pairs[:, 1]]
        located = _located(points, pixels, photograph, camera)
        if located is None:
            keypoint = int((scene.descriptors @ descriptors.T).max(axis=1).argmax())
            return PhotoHit(entry.id, 0.0, counted, 0, None, None, triple(scene.positions[keypoint]), keypoint)
        location, used = located
        middle = np.array([used.width / 2, used.height / 2])
        gaps = np.linalg.norm(pixels[location.inliers] - middle, axis=1)
        keypoint = int(pairs[location.inliers[gaps.argmin()], 1])
        poses = tried * (1 if camera else len(TRIED))
        sight = Sight(used.fx * used.undistorted(seen), descriptors, used.fx, (used.width, used.height))
        found = agreement.of_photograph(scene, sight, location.camera_to_world)
        return PhotoHit(
            scene=entry.id,
            score=among(location.confidence, poses) * agreement.as_usual(found, entry.told.get("agreement")),
            votes=counted,
            inliers=len(location.inliers),
            camera_to_world=location.camera_to_world,
            focal_length=used.fx * photograph.factor,
            position=triple(scene.positions[keypoint]),
            keypoint=keypoint,
        )


def _located(
    points: Float[np.ndarray, "n 3"],
    pixels: Float[np.ndarray, "n 2"],
    photograph: Photograph,
    camera: Intrinsics | None,
) -> tuple[Location, Intrinsics] | None:
    """The pose and the camera."""
    if camera is None:
        height, width = photograph.pixels.shape[:2]
        return locate_uncalibrated(points, pixels, width, height)
    location = locate(points, pixels, camera)
    return None if location is None else (location, camera)


def _with_detector(store: Store, found: Sequence[Space[DetectorCard]]) -> tuple[Space[DetectorCard], Detector]:
    """The space whose descriptors the detector made as it is here."""
    detector = load_detector(DetectorConfig(**found[0].card.config))
    for space in found:
        if space.card.name == detector.name and space.card.revision == detector.revision:
            return space, detector
    told = ", ".join(f"{space.card.name} {space.card.revision}" for space in found)
    raise UserError(
        f"The scenes of {store.uri} were condensed with another revision of the detector ({told}; here "
        f"{detector.name} {detector.revision}): condense them again, or use its weights."
    )
