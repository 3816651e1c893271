"""Writing safetensors files whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import make_folder, replace_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], kind: str) -> None:
    """Writes tensors and the texts in the file's header; folders are made.

    Args:
        path: the file.
        tensors: by name, on any device.
        metadata: texts by name.
        kind: what the file is called in messages.

    Raises:
        UserError: the file cannot be written.
    """
    make_folder(path.parent)
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        replace_file(path, save(plain, metadata=dict(metadata)))
    except OSError as error:
        raise UserError(
            f"{kind} {path} cannot be written ({error.strerror}): make room there, or choose another folder."
        ) from error
