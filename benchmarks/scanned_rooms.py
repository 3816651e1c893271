"""Rooms that hold scanned objects and other photographs than the demo's: more for a backbone to learn from.

    python benchmarks/scanned_rooms.py --meshes YCB --photographs IMAGE ... --count 8 --output-dir rooms

A room is a demo room whose solids are replaced by scans (NAME.npz with vertices, uv and faces, and NAME.jpg beside it,
the texture: the YCB set, Calli et al. 2015, as textured meshes), far larger than life, and whose pictures show the
given images. The folders are captures that ns-train reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from condense_nerfstudio import files
from condense_nerfstudio.demo.cameras import draw_intrinsics, draw_path
from condense_nerfstudio.demo.geometry import Mesh
from condense_nerfstudio.demo.recipe import EXPOSURE, fresh_recipe
from condense_nerfstudio.demo.render import Intrinsics, Renderer, develop
from condense_nerfstudio.demo.room import ImageFile, Picture, draw_arrangement, draw_content
from condense_nerfstudio.demo.surfaces import SceneObject, Surface, build_objects, lamp_points

VIEWS, WIDTH, HEIGHT = 40, 640, 480
TALLEST, WIDEST = 0.75, 0.5
"""Metres to which a scan is enlarged: the first in height, or the second in width, whichever is less."""


def scan(path: Path) -> Surface:
    """A scanned object, standing on z = 0 around the z axis."""
    with np.load(path) as arrays:
        vertices, uv, faces = (arrays[name] for name in ("vertices", "uv", "faces"))
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = min(TALLEST / (high[2] - low[2]), WIDEST / max(high[:2] - low[:2]))
    placed = (vertices - [*(low + high)[:2] / 2, low[2]]).astype(np.float64) * scale
    corners = placed[faces]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(placed)
    np.add.at(normals, faces.ravel(), np.repeat(facing, 3, axis=0))
    normals[~normals.any(axis=1)] = (0.0, 0.0, 1.0)  # vertices that no face touches
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # Mipmaps need to know how many metres a texture spans: a scan's atlas wraps once around it, nearly.
    span = float(np.pi * max(np.ptp(placed[:, :2], axis=0)))
    return Surface(Mesh(placed, normals, uv.astype(np.float64), faces.astype(np.int64)),
                   ImageFile(path.with_suffix(".jpg"), (span, span)))  # fmt: skip


def refurnish(objects: Sequence[SceneObject], scans: Sequence[Path], prints: Sequence[Path]) -> None:
    """Puts scans in the place of solids, and prints into the frames of pictures."""
    remaining_scans, remaining_prints = iter(scans), iter(prints)
    for thing in objects:
        if thing.kind == "solid":
            foot = thing.vertices.mean(axis=0)
            surface = scan(next(remaining_scans))
            mesh = surface.mesh.placed(thing.rotation, (foot[0], foot[1], thing.vertices[:, 2].min()))
            thing.surfaces = [Surface(mesh, surface.paint)]
        elif thing.kind == "photograph":
            printed = thing.surfaces[0]
            assert isinstance(printed.paint, Picture)
            thing.surfaces[0] = Surface(printed.mesh, ImageFile(next(remaining_prints), printed.paint.size))


def write_room(folder: Path, seed: int, index: int, meshes: Sequence[Path], photographs: Sequence[Path]) -> None:
    """Draws, renders and writes one room: all of it, or nothing."""
    recipe = fresh_recipe(seed, index)
    content = draw_content(np.random.default_rng(recipe.content_seed))
    arrangement = draw_arrangement(np.random.default_rng(recipe.layout_seed), content)
    objects = build_objects(content, arrangement)
    random = np.random.default_rng([seed, index])
    refurnish(objects, *([paths[i] for i in random.permutation(len(paths))] for paths in (meshes, photographs)))
    renderer = Renderer(objects, lamp_points(arrangement))
    cameras = np.random.default_rng(recipe.camera_seed)
    intrinsics = draw_intrinsics(cameras, WIDTH, HEIGHT)
    hung, shown = (
        np.array([i + 1 for i, thing in enumerate(objects) if thing.kind in kinds])
        for kinds in (("photograph",), ("photograph", "solid"))
    )
    poses = draw_path(cameras, renderer, arrangement.size, intrinsics, VIEWS, hung, shown)
    with files.complete_or_absent(folder) as partial:
        (partial / "images").mkdir()
        for number, pose in enumerate(poses):
            view = renderer.look(pose, intrinsics)
            Image.fromarray(develop(view.colour, EXPOSURE)).save(partial / _image(number))
        (partial / "transforms.json").write_bytes(files.as_json_bytes(_transforms(intrinsics, poses)))


def _image(number: int) -> str:
    return f"images/frame_{number + 1:05d}.png"


def _transforms(intrinsics: Intrinsics, poses: np.ndarray) -> dict[str, Any]:
    """The contents of transforms.json."""
    frames = [{"file_path": _image(i), "transform_matrix": pose.tolist()} for i, pose in enumerate(poses)]
    return {"camera_model": "OPENCV", "w": intrinsics.width, "h": intrinsics.height, "fl_x": intrinsics.focal,
            "fl_y": intrinsics.focal, "cx": intrinsics.cx, "cy": intrinsics.cy, "frames": frames}  # fmt: skip


def main() -> None:
    """Makes the rooms that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meshes", type=Path, required=True, help="folder of NAME.npz and NAME.jpg")
    parser.add_argument("--photographs", type=Path, nargs="+", required=True, help="at least six images")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--seed", type=int, default=700)
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args()
    meshes = sorted(arguments.meshes.glob("*.npz"))
    for index in track(range(arguments.count), description="Rooms"):
        folder = arguments.output_dir / f"room_{index:03d}"
        if not folder.exists():
            write_room(folder, arguments.seed, index, meshes, arguments.photographs)


if __name__ == "__main__":
    main()
