"""Writing files whole or not at all, and folders for them."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from condense_nerfstudio.errors import UserError


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name in the same folder and renames it.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def as_json_bytes(values: Mapping[str, Any]) -> bytes:
    """Indented JSON as it stands in a file."""
    return (json.dumps(values, indent=2) + "\n").encode()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all.

    Args:
        path: the file.
        values: plain Python values.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        replace_file(path, as_json_bytes(values))
    except OSError as error:
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


def check_replaceable(folder: Path, marker: str, kind: str, overwrite: bool) -> None:
    """Refuses a folder that exists, unless it is of the right kind and may be overwritten.

    Args:
        folder: what is to be written.
        marker: the file by which folders of this kind are known.
        kind: what such a folder is called, for messages.
        overwrite: whether --overwrite was given.

    Raises:
        UserError: the folder may not be written.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise UserError(f"{folder} exists: choose another --output-dir, or replace the {kind} with --overwrite.")
    if not (folder / marker).is_file():
        raise UserError(f"{folder} is no {kind}, so --overwrite leaves it alone: choose another --output-dir.")


@contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place if all goes well, and is removed otherwise.

    A folder that is there already stays until the new one is complete, and comes back if that cannot take its place.

    Raises:
        UserError: the folder cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    former = partial.with_suffix(".old")
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rename(former)
        try:
            partial.rename(folder)
        except OSError:
            if former.exists():
                former.rename(folder)
            raise
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output-dir.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
