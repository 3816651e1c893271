"""Writing files whole or not at all."""

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
