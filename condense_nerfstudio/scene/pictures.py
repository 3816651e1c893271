"""Pictures of a trained scene: colour, depth, features and relevancy, one by one and side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from nerfstudio.utils import colormaps
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import track
from torch import Tensor

from condense_nerfstudio.scene.lens import answer_strength
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.shots import Shot
from condense_nerfstudio.scene.video import write_video

Picture = npt.NDArray[np.uint8]

DEPTH_QUANTILES = (0.02, 0.95)
"""What the depth colours span: a few stray pixels far away must not turn the rest of a picture dark."""

CAPTION_HEIGHT = 18


def pictures_of_view(
    outputs: Mapping[str, Tensor], photograph: Tensor | None, phrases: Sequence[str], threshold: float
) -> dict[str, Picture]:
    """The pictures of one rendered view, by name.

    Args:
        outputs: what the model renders for the view, of shape (height, width, channels).
        photograph: the view's photograph, of shape (height, width, 3); None where there is none.
        phrases: the phrases of the outputs relevancy_<i>.
        threshold: relevancy above which a pixel answers a phrase.
    """
    near, far = torch.quantile(outputs["depth"], torch.tensor(DEPTH_QUANTILES)).tolist()
    depth = colormaps.apply_depth_colormap(outputs["depth"], near_plane=near, far_plane=max(far, near + 1e-6))
    pictures = {} if photograph is None else {"photograph": photograph}
    pictures.update({"rgb": outputs["rgb"], "depth": depth})
    pictures.update({name: value for name, value in outputs.items() if name.endswith("_pca")})
    for i in range(len(phrases)):
        relevancy = outputs[f"relevancy_{i}"]
        pictures[f"relevancy_{i}"] = colormaps.apply_float_colormap(relevancy, "turbo")
        pictures[f"overlay_{i}"] = overlay(outputs["rgb"], relevancy, threshold)
    return {name: to_picture(value) for name, value in pictures.items()}


def overlay(rgb: Float[Tensor, "h w 3"], relevancy: Float[Tensor, "h w 1"], threshold: float) -> Float[Tensor, "h w 3"]:
    """A picture that keeps its colours where a phrase is answered and turns dark and grey elsewhere.

    Args:
        rgb: the rendered view.
        relevancy: of the phrase.
        threshold: relevancy above which a pixel answers; see :func:`answer_strength`.
    """
    strength = answer_strength(relevancy, threshold)
    muted = 0.35 * rgb.mean(dim=-1, keepdim=True).expand_as(rgb)
    return strength * rgb + (1.0 - strength) * muted


def to_picture(values: Float[Tensor, "h w 3"]) -> Picture:
    """Values in 0..1 as 8-bit RGB."""
    return (values.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()


def sheet(pictures: Mapping[str, Picture], captions: Mapping[str, str]) -> Image.Image:
    """Pictures side by side, each under its caption.

    Args:
        pictures: of one height.
        captions: a caption for each picture that is shown, in order.
    """
    shown = [Image.fromarray(pictures[name]) for name in captions]
    width, height = sum(picture.width for picture in shown), max(picture.height for picture in shown)
    result = Image.new("RGB", (width, height + CAPTION_HEIGHT), "white")
    draw, font = ImageDraw.Draw(result), ImageFont.load_default(12)
    left = 0
    for picture, caption in zip(shown, captions.values(), strict=True):
        result.paste(picture, (left, CAPTION_HEIGHT))
        draw.text((left + 4, 2), caption, fill="black", font=font)
        left += picture.width
    return result


@torch.no_grad()
def render_pictures(
    pipeline: CondensePipeline, shots: Sequence[Shot], output_dir: Path, threshold: float, video: bool = False
) -> list[dict[str, Any]]:
    """Writes the pictures of every view, and a sheet of each.

    Args:
        pipeline: the scene, in evaluation mode; its phrases are those of its model's configuration.
        shots: what to render.
        output_dir: an existing folder.
        threshold: relevancy above which a pixel answers a phrase.
        video: whether to write each kind of picture as a video of all shots, too.

    Returns:
        For each view its name, the sheet's file, and for every phrase the highest relevancy and its pixel.
    """
    phrases = pipeline.model.config.phrases
    captions = {"photograph": "photograph", "rgb": "rendered", "depth": "depth"}
    captions.update({f"{name}_pca": f"{name} features" for name in pipeline.model.heads})
    captions.update({f"overlay_{i}": f'"{phrase}"' for i, phrase in enumerate(phrases)})
    summaries, names = [], []
    for shot in track(shots, "Rendering views", console=Console(stderr=True)):
        outputs = pipeline.model.get_outputs_for_camera(shot.camera)
        pictures = pictures_of_view(outputs, shot.photograph, phrases, threshold)
        names = list(pictures)
        for name, picture in pictures.items():
            Image.fromarray(picture).save(output_dir / f"{shot.name}_{name}.png")
        file = output_dir / f"{shot.name}_sheet.png"
        sheet(pictures, {name: captions[name] for name in captions if name in pictures}).save(file)
        answers = {phrase: peak(outputs[f"relevancy_{i}"]) for i, phrase in enumerate(phrases)}
        summaries.append({"view": shot.name, "sheet": str(file), "phrases": answers})
    if video:
        for name in names:
            files = [output_dir / f"{shot.name}_{name}.png" for shot in shots]
            write_video(output_dir / f"{name}.mp4", (np.asarray(Image.open(f)) for f in files), shots[0].rate)
    return summaries


def peak(relevancy: Float[Tensor, "h w 1"]) -> dict[str, Any]:
    """The highest relevancy of a view and its pixel (column, row)."""
    row, column = divmod(int(relevancy.argmax()), relevancy.shape[1])
    return {"relevancy": float(relevancy.max()), "pixel": [column, row]}
