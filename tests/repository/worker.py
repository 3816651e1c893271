"""A process that writes to a repository (`worker.py write URI NUMBER COUNT`) or reads from it (`... read URI STOP`).

Run by tests with tests/keypoints on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scenes import make_scene  # pyright: ignore[reportMissingImports]

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.repository.store import Store


def write(uri: str, writer: int, count: int) -> None:
    """Adds scenes of its own, replaces one that all share, and removes one."""
    own = Store(uri)
    for i in range(count):
        own.add([make_scene(20, 10 * writer + i, id=f"{writer}-{i}")])
        own.add([make_scene(20, 1000 * writer + i, id="shared")])
    own.remove(f"{writer}-0")


def read(uri: str, stop: Path) -> None:
    """Reads scenes until the file is there; every one must be whole."""
    own, looks = Store(uri), 0
    while not stop.exists() or not looks:
        for name in own.entries():
            try:
                own.scene(name)
            except UserError as error:
                if "has no scene" not in str(error):  # removed meanwhile
                    raise
        looks += 1


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        read(sys.argv[2], Path(sys.argv[3]))
