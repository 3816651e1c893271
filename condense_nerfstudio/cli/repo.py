"""`condense repo`: a collection of condensed scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from rich.progress import Progress

    from condense_nerfstudio.keypoints.condensed_scene import CondensedScene

Uri = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class Answering:
    """What all of these have."""

    json: bool = False
    """Print the answer as one JSON object."""


@dataclass(frozen=True)
class Add(Answering):
    """Adds condensed scenes; one whose id is there is replaced."""

    repo: Uri
    """The repository: a folder, which is made, or an object store's URI."""
    scenes: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Condensed scenes, or folders of condensed scenes."""

    def run(self) -> dict[str, Any]:
        """Adds all that can be added; ends with a sentence about the others."""
        from condense_nerfstudio.errors import UserError
        from condense_nerfstudio.keypoints.storage import read_condensed_scene
        from condense_nerfstudio.repository.store import Store

        folders = condensed_folders(self.scenes)
        failed: list[str] = []
        added: list[str] = []
        seen: dict[str, Path] = {}

        def readable() -> Iterator[CondensedScene]:
            """The scenes that can be read, one after another."""
            for folder in folders:
                try:
                    scene = read_condensed_scene(folder)
                    if scene.id in seen:
                        raise UserError(f"{folder} and {seen[scene.id]} are both called {scene.id}: use --id for one.")
                    seen[scene.id] = folder
                    yield scene
                except UserError as error:
                    failed.append(str(error))

        with _progress() as bar:
            task = bar.add_task("Adding", total=len(folders))

            def report(name: str) -> None:
                added.append(name)
                bar.advance(task)

            waiting = readable()
            if (first := next(waiting, None)) is not None:  # else an empty repository would be made
                Store(self.repo, create=True).add(chain([first], waiting), report)
        if failed:
            raise UserError(f"{len(added)} scenes were added, {len(failed)} were not: {' '.join(failed)}")
        return {"added": added}


@dataclass(frozen=True)
class List(Answering):
    """Lists the scenes."""

    repo: Uri
    """The repository."""

    def run(self) -> dict[str, Any]:
        """Looks at the log alone."""
        from condense_nerfstudio.repository.store import Store

        rows = []
        for name, entry in Store(self.repo).entries().items():
            _, teachers = entry.networks
            rows.append(
                {
                    "scene": name,
                    "name": entry.told["name"],
                    "keypoints": entry.count,
                    "teachers": [f"{card.name} {card.revision}" for card in teachers],
                }
            )
        return {"scenes": rows}


@dataclass(frozen=True)
class Remove(Answering):
    """Removes scenes."""

    repo: Uri
    """The repository."""
    ids: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Which."""

    def run(self) -> dict[str, Any]:
        """Removes all of them, or none where one is not there."""
        from condense_nerfstudio.errors import UserError
        from condense_nerfstudio.repository.store import Store

        if not self.ids:
            raise UserError("No scene was named: pass ids; condense repo list tells them.")
        store = Store(self.repo)
        for name in self.ids:
            store.entry(name)
        for name in self.ids:
            store.remove(name)
        return {"removed": list(self.ids)}


@dataclass(frozen=True)
class Index(Answering):
    """Builds or refreshes the indexes, and clears what killed writers left."""

    repo: Uri
    """The repository."""

    def run(self) -> dict[str, Any]:
        """Clears and indexes."""
        from condense_nerfstudio.repository.store import Store
        from condense_nerfstudio.repository.upkeep import index

        store = Store(self.repo)
        with _progress() as bar:
            task = bar.add_task("Indexing", total=len(store.vector_tables()))
            done = index(store, lambda table: bar.advance(task))
        return {"cleared": done.cleared, "tables": dict(done.tables)}


@dataclass(frozen=True)
class Verify(Answering):
    """Checks every scene's contents, and that nothing is left over or out of date."""

    repo: Uri
    """The repository."""

    def run(self) -> dict[str, Any]:
        """Looks at everything."""
        from condense_nerfstudio.repository.store import Store
        from condense_nerfstudio.repository.upkeep import verify

        store = Store(self.repo)
        with _progress() as bar:
            task = bar.add_task("Verifying", total=len(store.entries()))
            faults = verify(store, lambda name: bar.advance(task))
        return {"scenes": len(store.entries()), "faults": faults}


@dataclass(frozen=True)
class Repo:
    """A collection of condensed scenes: adds, lists, removes, indexes and checks them."""

    action: Annotated[
        Annotated[Add, tyro.conf.subcommand("add")]
        | Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Remove, tyro.conf.subcommand("remove")]
        | Annotated[Index, tyro.conf.subcommand("index")]
        | Annotated[Verify, tyro.conf.subcommand("verify")],
        tyro.conf.arg(name=""),
    ]

    @property
    def json(self) -> bool:
        """Whether the answer is wanted as JSON."""
        return self.action.json

    def run(self) -> Mapping[str, Any]:
        """Does what was asked for."""
        from condense_nerfstudio.repository.store import reading

        with reading(self.action.repo):
            return self.action.run()

    def status(self, result: Mapping[str, Any]) -> int:
        """The exit status: 1 where faults were found."""
        return int(bool(result.get("faults")))

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints a line for every scene, table or fault."""
        for key, value in result.items():
            for one in value if isinstance(value, list) else [value]:
                if not isinstance(one, Mapping):
                    print(f"{key}  {one}")
                elif key == "tables":
                    print("\n".join(f"{table}  {how}" for table, how in one.items()))
                else:
                    print("  ".join(", ".join(told) if isinstance(told, list) else str(told) for told in one.values()))
        if result.get("faults") == []:
            print("no faults")


def condensed_folders(paths: Sequence[Path]) -> list[Path]:
    """The condensed scenes among paths and in the folders among them.

    Raises:
        UserError: a path holds none.
    """
    from condense_nerfstudio.errors import UserError
    from condense_nerfstudio.keypoints.condensed_scene import SCENE_FILE

    found: list[Path] = []
    for path in paths:
        inside = (
            [path] if (path / SCENE_FILE).is_file() else sorted(file.parent for file in path.glob(f"*/{SCENE_FILE}"))
        )
        if not inside:
            raise UserError(f"{path} holds no condensed scene: make one with condense keypoints or condense embed.")
        found += inside
    if not found:
        raise UserError("No scene was named: pass folders of condensed scenes.")
    return found


def _progress() -> Progress:
    """A bar on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True))
