"""A linear probe for the classes of demo scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PER_SCENE = 3000
"""Patches of a scene that a probe learns from, or is asked."""


def class_labels(view: Any, shape: tuple[int, int]) -> Tensor:
    """The class at the middle of every patch of a view of a demo scene, row by row."""
    file = Path(view.dataset.image_filenames[view.index])
    classes = np.asarray(Image.open(file.parent.parent / "classes" / file.name))
    middles = [((np.arange(n) + 0.5) * size / n).astype(int) for n, size in zip(shape, classes.shape, strict=True)]
    return torch.from_numpy(classes[np.ix_(*middles)].astype(np.int64)).flatten()


def probe_accuracy(scenes: Sequence[tuple[Tensor, Sequence[Mapping[str, Tensor]]]]) -> dict[str, float]:
    """Balanced accuracy over the classes, learned on every other scene and asked on the rest, both ways round.

    Args:
        scenes: labels of all patches of a scene, and its features by kind, a view after another.
    """
    return {kind: float(np.mean([_one_way(scenes, kind, first) for first in (0, 1)])) for kind in scenes[0][1][0]}


def _one_way(scenes: Sequence[tuple[Tensor, Sequence[Mapping[str, Tensor]]]], kind: str, first: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    features, labels = [], []
    for truth, views in scenes:
        chosen = random.permutation(len(truth))[:PER_SCENE]
        features.append(torch.cat([view[kind] for view in views]).numpy()[chosen])
        labels.append(truth.numpy()[chosen])
    learned, asked = (slice(start, None, 2) for start in (first, 1 - first))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200, class_weight="balanced"))
    probe.fit(np.concatenate(features[learned]), np.concatenate(labels[learned]))
    truth = np.concatenate(labels[asked])
    right = probe.predict(np.concatenate(features[asked])) == truth
    known = np.intersect1d(np.unique(truth), np.concatenate(labels[learned]))
    return float(np.mean([right[truth == label].mean() for label in known]))
