"""Pixels of all training images in one flat array, from which batches of rays are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from condense_nerfstudio.scene.dataset import CondenseDataset


@dataclass
class PixelBatch:
    """Pixels drawn for one training step.

    The first `feature_counts.sum()` pixels come from few images, in runs: the 2D branch has to look at the whole
    feature map of every image it is asked about, so features are compared on a few images a step.
    """

    indices: Int[Tensor, "n 3"]
    """Image, row and column of each pixel."""
    colors: Float[Tensor, "n c"]
    """RGB or RGBA in 0..1."""
    feature_images: list[int]
    """The images of the runs."""
    feature_counts: list[int]
    """Length of each run."""


class PixelBank:
    """Draws training pixels uniformly over all images, whatever their sizes.

    Kept as 8-bit values: a quarter of the memory of nerfstudio's cache. RGB images are given an opaque alpha channel
    where other images of the capture have one.

    Args:
        dataset: the training images.
        num_rays_per_batch: pixels a batch.
        feature_images: images a batch from which feature pixels come.
        feature_fraction: share of the batch that are feature pixels.
        seed: of the random draws.
    """

    def __init__(
        self,
        dataset: CondenseDataset,
        num_rays_per_batch: int,
        feature_images: int,
        feature_fraction: float,
        seed: int,
    ) -> None:
        self.num_rays_per_batch = num_rays_per_batch
        self._dataset = dataset
        self.feature_images = min(feature_images, len(dataset))
        self.feature_fraction = feature_fraction
        self._random = np.random.default_rng(seed)
        self._loaded = False

    def load(self) -> None:
        """Reads all images; the first :meth:`sample` does so where nobody did before.

        Raises:
            UserError: an image or mask cannot be read or does not fit its camera.
        """
        dataset = self._dataset
        images = [dataset.get_numpy_image(i) for i in range(len(dataset))]
        channels = max(image.shape[2] for image in images)
        self._colors = np.concatenate([_with_channels(image, channels).reshape(-1, channels) for image in images])
        self._widths = np.array([image.shape[1] for image in images])
        self._starts = np.concatenate([[0], np.cumsum([image.shape[0] * image.shape[1] for image in images])])
        self._allowed = self._allowed_pixels(dataset)
        self._loaded = True

    def _allowed_pixels(self, dataset: CondenseDataset) -> np.ndarray | None:
        """Flat indices of the pixels that masks leave, in order; None where nothing is masked."""
        masks = [dataset.get_mask(i) for i in range(len(dataset))]
        if all(mask is None for mask in masks):
            return None
        return np.flatnonzero(np.concatenate([mask.reshape(-1) for mask in masks if mask is not None]))

    def sample(self) -> PixelBatch:
        """Draws one batch."""
        if not self._loaded:
            self.load()
        per_image = int(self.num_rays_per_batch * self.feature_fraction) // self.feature_images
        chosen = self._random.choice(len(self._widths), self.feature_images, replace=False)
        bounds = self._starts.tolist()
        runs = [self._draw(bounds[i], bounds[i + 1], per_image) for i in chosen]
        counts = [len(run) for run in runs]
        rest = self._draw(0, bounds[-1], self.num_rays_per_batch - sum(counts))
        flat = np.concatenate([*runs, rest])
        image = np.searchsorted(self._starts, flat, side="right") - 1
        row, column = np.divmod(flat - self._starts[image], self._widths[image])
        return PixelBatch(
            indices=torch.from_numpy(np.stack([image, row, column], axis=1)),
            colors=torch.from_numpy(self._colors[flat].astype(np.float32) / 255.0),
            feature_images=chosen.tolist(),
            feature_counts=counts,
        )

    def _draw(self, start: int, end: int, count: int) -> np.ndarray:
        """Flat indices of `count` allowed pixels in a range; none where the range is masked out wholly."""
        if self._allowed is None:
            return self._random.integers(start, end, count)
        low, high = np.searchsorted(self._allowed, [start, end])
        return self._allowed[self._random.integers(low, high, count)] if high > low else np.empty(0, dtype=np.int64)


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Adds an opaque alpha channel where one is missing."""
    if image.shape[2] == channels:
        return image
    return np.concatenate([image, np.full((*image.shape[:2], 1), 255, dtype=np.uint8)], axis=2)
