"""A trained backbone as one safetensors file with a card: what `condense embed` opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from condense_nerfstudio.backbone.joint import JointConfig, JointModel
from condense_nerfstudio.backbone.network import SIZES, NetworkConfig
from condense_nerfstudio.backbone.tensor_file import write_tensors
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.teachers.lora import LoraShape

VERSION = 2
"""Of the file's format and of what its network computes."""
_FORMAT = "condense backbone"
_LARGEST = 1 << 30
"""Bytes; base has 60 million."""


@dataclass(frozen=True)
class BackboneCard:
    """What a backbone is and where it comes from."""

    size: str
    """Name of the network's size."""
    resolution: int
    """Of the volumes that it was trained on."""
    teachers: tuple[TeacherCard, ...]
    """What it learned from."""
    detector: Mapping[str, Any] | None
    """Configuration of the detector of key points; None without."""
    training: Mapping[str, Any]
    """Data, recipe, seed, metrics and licence, as plain JSON."""


def write_backbone(model: JointModel, card: BackboneCard, path: Path) -> None:
    """Writes a backbone in half precision, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    state = model.state_dict()
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    content = {"format": _FORMAT, "version": VERSION, "model": asdict(model.config), "card": asdict(card)}
    write_tensors(path, tensors, {"card": json.dumps(content)}, "Backbone")


def find_backbone(name: str) -> Path:
    """The file of a backbone that ships, by its name, or else the file that is meant."""
    shipped = Path(str(resources.files("condense_nerfstudio.backbone"))) / "weights" / f"{name}.safetensors"
    return shipped if name in SIZES and shipped.is_file() and not Path(name).exists() else Path(name)


def open_backbone(path: Path, device: torch.device | str = "cpu") -> tuple[JointModel, BackboneCard]:
    """Opens a backbone, in evaluation mode.

    If it has LoRA, its 2D branch needs the teachers too (:meth:`JointModel.tune`); its 3D branch needs nothing else.

    Args:
        path: the file.
        device: where the network is wanted.

    Raises:
        UserError: there is no such file, or it is broken or of another version.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        with safe_open(path, framework="pt") as opened:
            content = json.loads((opened.metadata() or {})["card"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if content["format"] != _FORMAT:
            raise ValueError("another kind of file")
        if content["version"] != VERSION:
            raise UserError(
                f"Backbone {path} has version {content['version']}, and this program reads {VERSION}: train it again."
            )
        model = JointModel(_joint_config(content["model"]))
        model.load_state_dict({name: _single(value) for name, value in tensors.items()})
        card = _card(content["card"])
    except OSError as error:
        raise UserError(f"Backbone {path} cannot be read ({error.strerror or error}): check the path.") from error
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, RecursionError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Backbone {path} is broken ({reason}): download or train it again.") from error
    return model.to(device).eval().requires_grad_(False), card


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _joint_config(values: Mapping[str, Any]) -> JointConfig:
    network = values["network"]
    widths, blocks, up_blocks = (tuple(map(int, network[name])) for name in ("widths", "blocks", "up_blocks"))
    dims = int(network["output_dim"]), int(network["lifted_dim"])
    lora = {name: _lora_shape(shape) for name, shape in values.get("lora", {}).items()}
    return JointConfig(**{**values, "network": NetworkConfig(widths, blocks, up_blocks, *dims), "lora": lora})


def _lora_shape(values: Mapping[str, Any]) -> LoraShape:
    weights = tuple(tuple(map(int, weight)) for weight in values["weights"])
    return LoraShape(int(values["rank"]), int(values["blocks"]), weights)


def _card(values: Mapping[str, Any]) -> BackboneCard:
    teachers = tuple(TeacherCard(**teacher) for teacher in values["teachers"])
    return BackboneCard(**{**values, "teachers": teachers})
