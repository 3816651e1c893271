"""Pictures of key points over rendered views."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.utils import colormaps
from PIL import Image, ImageDraw
from torch import Tensor

from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.scene.correspondence import in_camera
from condense_nerfstudio.scene.pictures import Picture, sheet, to_picture
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.world_frame import to_nerf

_HIDDEN = 0.05
"""A point is hidden where the rendered surface is nearer by more than this share of its distance."""

_DOT = 1 / 160
"""Radius of a dot, as a share of the picture's width."""


@torch.no_grad()
def keypoint_sheet(pipeline: CondensePipeline, scene: CondensedScene, camera: Cameras) -> Image.Image:
    """One view: what is rendered, the 3D key-point head, and the key points coloured by score and by feature.

    Args:
        pipeline: the scene, in evaluation mode.
        scene: condensed from it.
        camera: the view, of shape (1,), without lens distortion or with little.
    """
    outputs = pipeline.model.get_outputs_for_camera(camera)
    pixels, visible = seen_points(scene, camera, outputs["depth"][..., 0])
    rendered = to_picture(outputs["rgb"])
    pictures = {"rendered": rendered}
    if "keypoints" in outputs:
        pictures["key-point head"] = to_picture(colormaps.apply_float_colormap(outputs["keypoints"], "inferno"))
    scores = torch.from_numpy(scene.points.scores)
    spread = (scores - scores.min()) / (scores.max() - scores.min()).clamp(min=1e-6)
    colors = {"score": colormaps.apply_float_colormap(spread[:, None], "turbo")}
    for card in scene.teachers:
        head = pipeline.model.head(card.name)
        features = torch.from_numpy(scene.points.features[card.name].astype(np.float32)).to(head.mean)
        colors[card.name] = head.colors(head.center(features))
    for name, values in colors.items():
        pictures[f"points by {name}"] = dots(rendered, pixels[visible], to_picture(values[None])[0][visible])
    return sheet(pictures, {name: name for name in pictures})


def seen_points(
    scene: CondensedScene, camera: Cameras, depth: Float[Tensor, "h w"]
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """Where a view shows the key points of a condensed scene, and which of them nothing hides.

    Args:
        scene: the condensed scene.
        camera: the view, of shape (1,), in the NeRF's frame.
        depth: rendered distances along the view's rays.
    """
    positions = torch.from_numpy(to_nerf(scene.world_to_nerf, scene.points.positions)).to(depth)
    local = in_camera(camera.to(depth.device), positions)
    plane = local[:, :2] / local[:, 2:].clamp(min=1e-6)
    focal, centre = (torch.tensor([float(x), float(y)]) for x, y in ((camera.fx, camera.fy), (camera.cx, camera.cy)))
    pixels = plane * focal.to(depth) + centre.to(depth)
    height, width = depth.shape
    column, row = pixels.floor().long().unbind(dim=1)
    inside = (local[:, 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    surface = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    distance = local.norm(dim=1)
    visible = inside & (surface >= (1.0 - _HIDDEN) * distance)
    return pixels.cpu().numpy(), visible.cpu().numpy()


def dots(picture: Picture, pixels: Float[np.ndarray, "n 2"], colors: UInt8[np.ndarray, "n 3"]) -> Picture:
    """A darkened picture with a dot at each pixel."""
    image = Image.fromarray((picture * 0.6).astype(np.uint8))
    draw, radius = ImageDraw.Draw(image), max(1.5, _DOT * image.width)
    for (x, y), color in zip(pixels.tolist(), colors.tolist(), strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(color))
    return np.asarray(image)
