"""Loading Hugging Face weights without surprises, and telling weights apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.registry import option_flag

T = TypeVar("T")

_HUB_TIMEOUT = 5.0
"""Seconds that the hub has to answer; the download itself may take as long as it needs."""


def load_pretrained(load: Callable[..., T], model: str, teacher: str, slot: str) -> T:
    """Loads from a local folder or the local Hugging Face cache, and from the network only when it must.

    Without a network the hub's client repeats its requests for 20 seconds or more, so one short request comes first.

    Args:
        load: called as load(model, local_files_only=...), typically made with `strictly`.
        model: a Hugging Face id or a local folder.
        teacher: its name, for messages.
        slot: "visual" or "language", for the flag in messages.

    Raises:
        UserError: the model cannot be had.
    """
    from huggingface_hub import HfApi

    # transformers, safetensors and the hub's client (requests or httpx by version) raise a dozen unrelated types.
    try:
        with _no_progress_bar():
            return load(model, local_files_only=True)
    except Exception as error:
        if Path(model).exists():
            raise UserError(
                f"Teacher {teacher}: {model} is not a folder with a complete {teacher} model ({_first_line(error)}): "
                f"give {option_flag(slot, 'model')} another one."
            ) from error
    try:
        HfApi().model_info(model, timeout=_HUB_TIMEOUT)
        return load(model, local_files_only=False)
    except Exception as error:
        raise UserError(
            f"Teacher {teacher}: cannot load '{model}' ({_first_line(error)}): connect to the network once, or pass "
            f"{option_flag(slot, 'model')} FOLDER with a downloaded copy, or train condense-lite, which needs neither."
        ) from error


def strictly(from_pretrained: Callable[..., Any]) -> Callable[..., Any]:
    """A transformers `from_pretrained` that gives float32 weights and refuses to invent those a file lacks."""

    def load(*args: Any, **kwargs: Any) -> Any:
        model, report = from_pretrained(*args, dtype=torch.float32, output_loading_info=True, **kwargs)
        wrong = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
        if wrong:
            raise ValueError(f"{len(wrong)} weights are missing or of another size, {wrong[0]} the first")
        return model

    return load


def weights_revision(modules: Sequence[nn.Module], recipe: str) -> str:
    """A short hash of all weights and of `recipe`, which names every other choice that the features depend on."""
    digest = hashlib.sha256(recipe.encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Hides transformers' bar for reading local files, which takes moments; bars of downloads stay."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__
