"""LoRA (Hu et al., ICLR 2022, arXiv 2106.09685) on the last blocks of a teacher.

The corrections are one thing and the teacher another: what is learned is a small module that can be kept, trained and
sent without the teacher's weights, and the teacher itself stays as it is.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import ParameterList

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.protocol import TunableTeacher

_ADAPTER = "condense"
"""peft's name for the corrections."""


@dataclass(frozen=True)
class LoraShape:
    """What a teacher's corrections are made of."""

    rank: int
    """Of every correction."""
    blocks: int
    """Last blocks of the teacher that are corrected."""
    weights: tuple[tuple[int, ...], ...]
    """Shapes of the weights that are corrected: outputs, inputs, and 1, 1 for a convolution."""


class Lora(nn.Module):
    """The low-rank corrections: a weight W becomes W + up @ down, with down random and up zero at the start.

    There is no factor on the product (the paper's alpha is the rank): under Adam the learning rate does its work.

    Args:
        shape: of the corrections.
    """

    def __init__(self, shape: LoraShape) -> None:
        super().__init__()
        self.shape = shape
        self.down = ParameterList([torch.empty(shape.rank, *weight[1:]) for weight in shape.weights])
        self.up = ParameterList(
            [torch.zeros(weight[0], shape.rank, *(1 for _ in weight[2:])) for weight in shape.weights]
        )
        for matrix in self.down:
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))  # as nn.Linear starts, and peft


def lora_shape(teacher: TunableTeacher, rank: int, blocks: int) -> LoraShape:
    """The shape of corrections for a teacher.

    Args:
        teacher: the teacher.
        rank: of every correction.
        blocks: how many of its last blocks are corrected; all where it has fewer.
    """
    layers = (teacher.network.get_submodule(name) for name in teacher.tunable_layers(blocks))
    return LoraShape(rank, blocks, tuple(tuple(layer.get_parameter("weight").shape) for layer in layers))


class TunedTeacher:
    """A teacher with corrections, beside the frozen one, whose weights it shares.

    Args:
        teacher: the frozen one.
        lora: the corrections, on the teacher's device; what changes them later changes this teacher.

    Raises:
        UserError: peft is not installed.
        ValueError: the corrections were made for another network.
    """

    def __init__(self, teacher: TunableTeacher, lora: Lora) -> None:
        peft = import_peft()
        if lora_shape(teacher, lora.shape.rank, lora.shape.blocks) != lora.shape:
            raise ValueError(f"the corrections of {teacher.name} are for another network")
        names = teacher.tunable_layers(lora.shape.blocks)
        # The memory of deepcopy says that these are copied already: only the structure around them is.
        weights = [*teacher.network.parameters(), *teacher.network.buffers()]
        network = copy.deepcopy(teacher.network, {id(weight): weight for weight in weights})
        config = peft.LoraConfig(r=lora.shape.rank, lora_alpha=lora.shape.rank, target_modules=names)
        network = peft.inject_adapter_in_model(config, network, _ADAPTER)
        for name, down, up in zip(names, lora.down, lora.up, strict=True):
            layer = network.get_submodule(name)
            # The tensors themselves, so that what an optimizer does to them is done here.
            layer.lora_A[_ADAPTER].weight = down
            layer.lora_B[_ADAPTER].weight = up
        self._teacher = teacher
        self._network = network.eval()  # peft's layers, new ones, were in training mode

    def encode(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        """Features of a whole image with values in 0..1, as Teacher.encode_image, with gradient to the corrections."""
        return self._teacher.encode_with(self._network, image)


def import_peft() -> ModuleType:
    """Imports the package of the `lora` extra; raises UserError where it is not installed."""
    try:
        return import_module("peft")
    except ImportError as error:
        message = "LoRA on a teacher needs the package peft: run pip install 'condense_nerfstudio[lora]'."
        raise UserError(message) from error
