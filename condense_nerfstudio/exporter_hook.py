"""Adds `condense-keypoints` to ns-export, which has no place for plugins.

nerfstudio loads our entry point while `nerfstudio.scripts.exporter` is still being imported: its commands do not exist
yet, and whatever is set there then is overwritten. So the module is given a class whose `entrypoint`, when the console
script fetches it, adds the command first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, Union, get_args, get_origin

from nerfstudio.utils.rich_utils import CONSOLE

from condense_nerfstudio.keypoints.config import ExportConfig

EXPORTER = "nerfstudio.scripts.exporter"


@dataclass
class ExportCondenseKeypoints(ExportConfig):
    """Export decorated key points of a scene trained with condense or condense-lite."""

    def main(self) -> None:
        """Exports; leaves with status 1 and one sentence after a user's error."""
        from condense_nerfstudio.scene.export import export_keypoints
        from condense_nerfstudio.scene.pipeline import user_errors_exit

        with user_errors_exit():
            result = export_keypoints(self)
        CONSOLE.print(f"{result['keypoints']} key points in {result['path']}", soft_wrap=True)


class _ExporterModule(ModuleType):
    """ns-export's module with one more command."""

    @property
    def entrypoint(self) -> Callable[[], None]:
        """What the console script calls. Stays as it is, with a warning, where nerfstudio has changed its shape."""
        try:
            self.__dict__["Commands"] = with_keypoints(self.__dict__["Commands"])
        except Exception as error:
            CONSOLE.print(
                f"[bold yellow]Warning: ns-export condense-keypoints is not available ({type(error).__name__}); use "
                "condense keypoints.",
                soft_wrap=True,
            )
        return self.__dict__["entrypoint"]


def extend_exporter() -> None:
    """Gives ns-export the command, if it is ns-export that is being started."""
    module = sys.modules.get(EXPORTER)
    if module is not None and not isinstance(module, _ExporterModule):
        module.__class__ = _ExporterModule


def with_keypoints(commands: Any) -> Any:
    """nerfstudio's union of export commands, with ours at the end; as it is where ours is in it.

    Raises:
        TypeError: it is no annotated union.
    """
    import tyro

    ours = Annotated[ExportCondenseKeypoints, tyro.conf.subcommand(name="condense-keypoints")]
    union, *metadata = get_args(commands)
    if get_origin(union) is not Union or not metadata:
        raise TypeError("not an annotated union")
    members = get_args(union)
    if ours in members:
        return commands
    return Annotated[(Union[(*members, ours)], *metadata)]
