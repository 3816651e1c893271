"""A process that works on a repository: `worker.py write URI NUMBER COUNT`, `read URI STOP`, or `index URI`.

Run by tests with tests/keypoints on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scenes import make_scene  # pyright: ignore[reportMissingImports]

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.repository import upkeep
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


def index(uri: str) -> None:
    """Builds indexes, even of few vectors; says when it begins."""
    upkeep.LEAST_INDEXED = 100
    own = Store(uri)
    print("begins", flush=True)
    upkeep.index(own)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1] == "index":
        index(sys.argv[2])
    else:
        read(sys.argv[2], Path(sys.argv[3]))
