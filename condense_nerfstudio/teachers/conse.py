"""ConSE (Norouzi et al., ICLR 2014) applied to every cell: an offline language teacher.

It can say what mixtures of the 1000 ImageNet class names can say; it is no replacement for CLIP.
"""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.efficientnet_network import PIXEL_MEAN, PIXEL_STD, EfficientNetLite0
from condense_nerfstudio.teachers.preprocessing import network_input
from condense_nerfstudio.teachers.sentence_encoder import SentenceEncoder
from condense_nerfstudio.teachers.weights import weights_revision

_NUM_CLASSES = 30
"""Most probable classes that a cell's vector is mixed from."""
_TEMPERATURE = 2.0
"""Divides the classifier's outputs: a cell sees part of an object only, and is less sure than of a whole picture."""
_STRIDE = 32
_DEFAULT_RESOLUTION = 896
_WINDOWS = (3, 7)
"""Sides, in cells, of the neighbourhoods whose classifier outputs are averaged, for small things and for large ones."""
_PROMPT = "a photo of {}"
"""Class names and queries are embedded in the same words, so that what these words say cancels out."""
_RECIPE_VERSION = 4
"""Raise it when a change of code changes the features."""


class ConseTeacher:
    """Image features in the space of MiniLM's sentence embeddings; see the LanguageTeacher protocol.

    The vector of a neighbourhood of cells is the mean of the sentence embeddings of its most probable ImageNet classes,
    weighted with their probabilities; that of a cell is the mean over neighbourhoods of several sizes around it.

    Raises:
        UserError: a package of the `lite` extra is missing.
    """

    name = "conse"
    relevancy_temperature = 10.0
    relevancy_threshold = 0.12  # benchmarks/relevancy.py
    canonical_phrases = ("an object", "things", "stuff", "texture", "background")

    def __init__(self, config: TeacherConfig, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._classifier = EfficientNetLite0(self.name).to(self._device)
        self._sentences = SentenceEncoder(self.name).to(self._device)
        self._resolution = config.resolution or _DEFAULT_RESOLUTION
        self.dim = self._sentences.dim
        self.patch_size = _STRIDE

    @cached_property
    def revision(self) -> str:
        recipe = f"conse {_RECIPE_VERSION} classes {_NUM_CLASSES} resolution {self._resolution}"
        return weights_revision([self._classifier, self._sentences], recipe)

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        pixels = network_input(image.to(self._device), self._resolution, _STRIDE, PIXEL_MEAN, PIXEL_STD)
        logits = self._classifier.class_logits(pixels)[0]
        mixtures = torch.stack([self._mixtures(_averaged(logits, window)) for window in _WINDOWS])
        return functional.normalize(mixtures.mean(dim=0), dim=-1)

    def _mixtures(self, logits: Float[Tensor, "hp wp 1000"]) -> Float[Tensor, "hp wp dim"]:
        """Mixtures of class names, as unit vectors."""
        probabilities, classes = (logits / _TEMPERATURE).softmax(-1).topk(_NUM_CLASSES)
        # Normalising makes dividing the probabilities by their sum unnecessary.
        return functional.normalize((self._class_vectors[classes] * probabilities[..., None]).sum(-2), dim=-1)

    @torch.no_grad()
    def encode_text(self, phrases: list[str]) -> Float[Tensor, "n dim"]:
        return self._sentences([_PROMPT.format(phrase) for phrase in phrases])

    @cached_property
    def _class_vectors(self) -> Float[Tensor, "1000 dim"]:
        """Built on first use: text queries do without it."""
        from torchvision.models import EfficientNet_B0_Weights

        names = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
        return self._sentences([_PROMPT.format(f"a {name}") for name in names])


def _averaged(cells: Float[Tensor, "hp wp c"], window: int) -> Float[Tensor, "hp wp c"]:
    """Mean over a square neighbourhood of cells, of those inside the picture."""
    pooled = functional.avg_pool2d(
        cells.permute(2, 0, 1)[None], window, stride=1, padding=window // 2, count_include_pad=False
    )
    return pooled[0].permute(1, 2, 0)
