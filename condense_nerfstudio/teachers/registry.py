"""From a TeacherConfig to a loaded teacher. Implementations are imported when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig

if TYPE_CHECKING:
    import torch

    from condense_nerfstudio.teachers.protocol import LanguageTeacher, Teacher


@dataclass(frozen=True)
class _Implementation:
    class_name: str
    speaks: bool
    """Whether it is a language teacher."""
    options: tuple[str, ...]
    """The fields of TeacherConfig that it takes, beside resolution."""
    tunable: bool = False
    """Whether it can be given LoRA."""


_IMPLEMENTATIONS = {
    "dinov2": _Implementation("Dinov2Teacher", speaks=False, options=("model", "layer"), tunable=True),
    "clip": _Implementation("ClipTeacher", speaks=True, options=("model",)),
    "efficientnet": _Implementation("EfficientNetTeacher", speaks=False, options=("layer",), tunable=True),
    "conse": _Implementation("ConseTeacher", speaks=True, options=()),
}

TEACHER_NAMES = tuple(_IMPLEMENTATIONS)
LANGUAGE_TEACHER_NAMES = tuple(name for name, implementation in _IMPLEMENTATIONS.items() if implementation.speaks)
TUNABLE_TEACHER_NAMES = tuple(name for name, implementation in _IMPLEMENTATIONS.items() if implementation.tunable)

_SMALLEST_RESOLUTION = 32


def load_teacher(config: TeacherConfig, device: torch.device | str = "cpu") -> Teacher:
    """Loads a teacher's weights onto a device.

    Raises:
        UserError: the name is unknown or "none", an option does not fit, or the weights cannot be loaded.
    """
    implementation = _IMPLEMENTATIONS.get(config.name)
    if implementation is None:
        raise UserError(f"Teacher '{config.name}' cannot be loaded: choose one of {', '.join(TEACHER_NAMES)}.")
    slot = "language" if implementation.speaks else "visual"
    for option in ("model", "layer"):
        if getattr(config, option) is not None and option not in implementation.options:
            raise UserError(f"Teacher {config.name} has no choice of {option}: leave out {option_flag(slot, option)}.")
    if config.resolution is not None and config.resolution < _SMALLEST_RESOLUTION:
        raise UserError(
            f"A resolution of {config.resolution} pixels is too small for teacher {config.name}: "
            f"give {option_flag(slot, 'resolution')} at least {_SMALLEST_RESOLUTION}."
        )
    module = import_module(f"condense_nerfstudio.teachers.{config.name}")
    return getattr(module, implementation.class_name)(config, device)


def load_language_teacher(config: TeacherConfig, device: torch.device | str = "cpu") -> LanguageTeacher:
    """Loads a teacher that understands text; raises UserError as load_teacher does, and for one that does not."""
    if config.name not in LANGUAGE_TEACHER_NAMES:
        raise UserError(
            f"Teacher '{config.name}' does not understand text: "
            f"set {option_flag('language', 'name')} to {' or '.join(LANGUAGE_TEACHER_NAMES)}."
        )
    return load_teacher(config, device)  # pyright: ignore[reportReturnType] (the names above all are)


def teacher_role(name: str) -> Literal["visual", "language"]:
    """What a teacher is for: "language" where text can be compared with its features."""
    return "language" if name in LANGUAGE_TEACHER_NAMES else "visual"


def option_flag(slot: str, option: str) -> str:
    """The ns-train flag of an option of the "visual" or "language" teacher."""
    return f"--pipeline.datamanager.{slot}.{option}"
