"""Adds `condense-keypoints` to ns-export, which has no place for plugins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from nerfstudio.utils.rich_utils import CONSOLE

from condense_nerfstudio.entrypoint_hook import change_before_start
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


def extend_exporter() -> None:
    """Gives ns-export the command."""
    change_before_start(EXPORTER, add_command, "ns-export condense-keypoints is not available; use condense keypoints")


def add_command(module: dict[str, Any]) -> None:
    """Adds the command to those of ns-export.

    Args:
        module: the names of ns-export's module.

    Raises:
        KeyError, TypeError: nerfstudio has changed the module's shape.
    """
    module["Commands"] = with_keypoints(module["Commands"])


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
