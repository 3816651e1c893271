"""Writing files whole or not at all, and folders for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condense_nerfstudio.errors import UserError


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON to a temporary name in the same folder and renames it.

    Args:
        path: the file.
        values: plain Python values.

    Raises:
        UserError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it; one that exists stays as it is.

    Raises:
        UserError: it cannot be made, because a file has its name for example.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Folder {folder} cannot be made ({error.strerror}): choose another.") from error
