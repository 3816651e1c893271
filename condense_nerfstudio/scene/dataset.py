"""A data set that reads every common kind of image and reduces large ones while loading."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from PIL import Image

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.images import read_image, resize_image

ASPECT_TOLERANCE = 0.02


class CondenseDataset(InputDataset):
    """Images at the size of their (rescaled) cameras, kept in memory as 8-bit values.

    Args:
        dataparser_outputs: what to read.
        scale_factor: how much cameras and images are reduced.
    """

    def __init__(self, dataparser_outputs: DataparserOutputs, scale_factor: float = 1.0) -> None:
        super().__init__(dataparser_outputs, scale_factor)
        self.dataparser_scale = dataparser_outputs.dataparser_scale
        self._images: dict[int, npt.NDArray[np.uint8]] = {}

    def camera_size(self, image_idx: int) -> tuple[int, int]:
        """(width, height) of a camera in pixels."""
        camera = self.cameras[image_idx]
        return int(camera.width.item()), int(camera.height.item())

    def get_numpy_image(self, image_idx: int) -> npt.NDArray[np.uint8]:
        """An image of shape (height, width, 3 or 4), the size of its camera.

        Raises:
            UserError: the image cannot be read, or its shape is not that of its camera.
        """
        if image_idx not in self._images:
            path = self.image_filenames[image_idx]
            width, height = self.camera_size(image_idx)
            image = read_image(path)
            if abs(image.shape[1] / image.shape[0] * height / width - 1.0) > ASPECT_TOLERANCE:
                raise UserError(
                    f"Image {path} is {image.shape[1]}x{image.shape[0]} but its camera is {width}x{height}: correct "
                    "w, h and the intrinsics in transforms.json."
                )
            self._images[image_idx] = resize_image(image, width, height)
        return self._images[image_idx]

    def get_mask(self, image_idx: int) -> npt.NDArray[np.bool_] | None:
        """Which pixels may be used for training, of shape (height, width); None where the capture has no masks.

        Raises:
            UserError: the mask cannot be read.
        """
        masks = self._dataparser_outputs.mask_filenames
        if not masks:
            return None
        mask = Image.fromarray(read_image(masks[image_idx])[..., 0])
        return np.asarray(mask.resize(self.camera_size(image_idx), resample=Image.Resampling.NEAREST)) > 127

    def get_data(self, image_idx: int, image_type: Literal["uint8", "float32"] = "float32") -> dict:
        """One image, and its mask where there is one, as nerfstudio's data loaders expect them."""
        image = self.get_image_float32(image_idx) if image_type == "float32" else self.get_image_uint8(image_idx)
        data = {"image_idx": image_idx, "image": image}
        mask = self.get_mask(image_idx)
        if mask is not None:
            data["mask"] = torch.from_numpy(mask)[..., None]
        return data
