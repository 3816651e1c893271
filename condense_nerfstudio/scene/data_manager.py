"""The data manager: images, rays, and the teachers' feature maps that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.datamanagers.base_datamanager import (
    DataManager,
    VanillaDataManager,
    VanillaDataManagerConfig,
)
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.dataparsers.nerfstudio_dataparser import Nerfstudio
from nerfstudio.data.utils.dataloaders import FixedIndicesEvalDataloader, RandIndicesEvalDataloader
from nerfstudio.model_components.ray_generators import RayGenerator
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.cache import cached_detections
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detections, Detector, load_detector
from condense_nerfstudio.scene.capture import check_capture, keep_one_for_evaluation, without_missing_images
from condense_nerfstudio.scene.dataset import CondenseDataset
from condense_nerfstudio.scene.pixels import PixelBank, PixelBatch
from condense_nerfstudio.scene.world_frame import world_to_nerf
from condense_nerfstudio.teachers.cache import cached_feature_maps, default_cache_root
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.protocol import Teacher
from condense_nerfstudio.teachers.registry import load_teacher
from condense_nerfstudio.teachers.statistics import FeatureStatistics, feature_statistics


@dataclass
class FeatureTarget:
    """What the teachers say about a run of rays that belong to one image."""

    rays: slice
    """Where the rays stand in the batch."""
    pixels: Float[Tensor, "n 2"]
    """Column and row of each ray in continuous pixel coordinates (centres at +0.5)."""
    image_size: tuple[int, int]
    """(height, width) to which the pixel coordinates belong."""
    maps: dict[str, Float[Tensor, "hp wp c"]]
    """The image's feature map in each teacher's own space, by teacher; in half precision, as it is kept."""
    heat: Float[Tensor, "hh hw"] | None = None
    """The detector's heat map of the image, in half precision; None where there is no detector."""


@dataclass
class CondenseDataManagerConfig(VanillaDataManagerConfig):
    """Configuration of the data manager."""

    _target: type = field(default_factory=lambda: CondenseDataManager)
    visual: TeacherConfig = field(default_factory=lambda: TeacherConfig(name="dinov2"))
    """The teacher of visual features."""
    language: TeacherConfig = field(default_factory=lambda: TeacherConfig(name="clip"))
    """The teacher whose features can be compared with text."""
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """The detector of key points."""
    cache_dir: Path | None = None
    """Folder in which the teachers' feature maps are kept between runs; by default condense_nerfstudio in the user's
    cache folder."""
    max_image_side: int = 1600
    """Images with a longer side than this many pixels are reduced to it while loading."""
    skip_missing_images: bool = False
    """Whether to go on without the images that the capture lists but that do not exist."""
    feature_images_per_batch: int = 4
    """Images a step on which features are compared."""
    feature_ray_fraction: float = 0.5
    """Share of a step's rays on which features are compared."""
    pixel_seed: int = 0
    """Seed of the random choice of pixels."""


class CondenseDataManager(VanillaDataManager[CondenseDataset]):
    """Checks the capture, reduces large images, and hands out rays with colours and feature maps.

    Feature maps are computed when a training starts or when :meth:`feature_maps` asks for them, never for viewing,
    rendering or exporting.

    Args:
        config: its configuration.
        device: where rays and colours are put.
        test_mode: "val" for training; "test" and "inference" for everything else.
        world_size: number of processes.
        local_rank: number of this process.
    """

    config: CondenseDataManagerConfig
    train_pixel_sampler: PixelBank
    eval_pixel_sampler: PixelBank

    def __init__(
        self,
        config: CondenseDataManagerConfig,
        device: torch.device | str = "cpu",
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        **_: Any,
    ) -> None:
        self.config = config
        self.device = device
        self.world_size = world_size
        self.local_rank = local_rank
        self.sampler = None
        self.test_mode = test_mode
        self.test_split = "val" if test_mode == "val" else "test"
        self.dataparser_config = config.dataparser
        if config.data is None:
            config.data = config.dataparser.data
        config.dataparser.data = Path(config.data)
        self.train_dataparser_outputs, eval_outputs = self._parse()
        scale_factor = self._image_scale([self.train_dataparser_outputs, eval_outputs])
        self.train_dataset = CondenseDataset(self.train_dataparser_outputs, scale_factor)
        self.eval_dataset = CondenseDataset(eval_outputs, scale_factor)
        self.exclude_batch_keys_from_device = self.train_dataset.exclude_batch_keys_from_device
        self._train_maps: dict[str, Sequence[np.ndarray]] = {}
        self._train_heat: list[np.ndarray] = []
        # VanillaDataManager's own constructor would parse and load unchecked.
        DataManager.__init__(self)

    def _parse(self) -> tuple[DataparserOutputs, DataparserOutputs]:
        """The frames for training and for evaluation; at least one of each."""
        data = self.config.dataparser.data
        check_capture(data)
        self.dataparser = self.config.dataparser.setup()
        self.includes_time = self.dataparser.includes_time
        if isinstance(self.dataparser, Nerfstudio):
            if data.is_dir() and not (data / "transforms.json").exists():
                raise UserError(f"{data} has no transforms.json: pass --data FOLDER as ns-process-data makes it.")
            # Never look for folders of reduced images unasked: images are reduced while loading.
            self.dataparser.downscale_factor = self.dataparser.config.downscale_factor or 1
        skip = self.config.skip_missing_images
        train = without_missing_images(self._split("train"), skip)
        held_out = self._split(self.test_split)
        if held_out.image_filenames:
            held_out = without_missing_images(held_out, skip)
        else:
            train, held_out = keep_one_for_evaluation(train)
            CONSOLE.print(f"The split leaves no image for evaluation: keeping {held_out.image_filenames[0].name}.")
        return train, held_out

    def _split(self, split: str) -> DataparserOutputs:
        """One split of the capture; what the data parser cannot digest becomes a sentence."""
        try:
            return self.dataparser.get_dataparser_outputs(split=split)
        except (AssertionError, KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            data = self.config.dataparser.data
            raise UserError(f"{data} cannot be read as a capture ({reason}): mend it.") from error

    def _image_scale(self, parts: list[DataparserOutputs]) -> float:
        """One factor for all images, so that the longest side of the largest fits."""
        longest = max(int(torch.maximum(part.cameras.width, part.cameras.height).max()) for part in parts)
        return self.config.camera_res_scale_factor * min(1.0, self.config.max_image_side / longest)

    def setup_train(self) -> None:
        """Gets ready to draw rays; for training, also reads all images and the teachers' feature maps."""
        fraction = self.config.feature_ray_fraction if self.test_mode == "val" else 0.0
        self.train_pixel_sampler = PixelBank(
            self.train_dataset,
            self.config.train_num_rays_per_batch,
            self.config.feature_images_per_batch,
            fraction,
            self.config.pixel_seed,
        )
        self.train_ray_generator = RayGenerator(self.train_dataset.cameras.to(self.device))
        if self.test_mode == "val":
            self.train_pixel_sampler.load()
            self.train_dataset.metadata["feature_statistics"] = self._load_features()
            self.train_dataset.metadata["has_heat_maps"] = self._load_heat_maps()

    def setup_eval(self) -> None:
        """Gets ready to draw rays and whole images for evaluation; while training, reads the images at once."""
        self.eval_pixel_sampler = PixelBank(
            self.eval_dataset, self.config.eval_num_rays_per_batch, 1, 0.0, self.config.pixel_seed
        )
        self.eval_ray_generator = RayGenerator(self.eval_dataset.cameras.to(self.device))
        if self.test_mode == "val":
            self.eval_pixel_sampler.load()
        loader = {"input_dataset": self.eval_dataset, "device": self.device, "num_workers": 0}
        self.fixed_indices_eval_dataloader = FixedIndicesEvalDataloader(**loader)
        self.eval_dataloader = RandIndicesEvalDataloader(**loader)

    @property
    def teacher_configs(self) -> dict[str, TeacherConfig]:
        """The teachers in use, by name.

        Raises:
            UserError: both are the same.
        """
        configs = [config for config in (self.config.visual, self.config.language) if config.name != "none"]
        by_name = {config.name: config for config in configs}
        if len(by_name) < len(configs):
            raise UserError(
                f"--pipeline.datamanager.visual.name and .language.name are both {configs[0].name}: set one to none."
            )
        return by_name

    def feature_maps(self, teacher: Teacher, images: Sequence[Path]) -> Sequence[np.ndarray]:
        """A teacher's feature maps of images, from the cache where they are there.

        Args:
            teacher: the teacher.
            images: image files.

        Returns:
            One memory-mapped array of shape (hp, wp, c) an image, in the teacher's own space.
        """
        return cached_feature_maps(images, teacher, self.config.cache_dir or default_cache_root())

    def _load_features(self) -> dict[str, FeatureStatistics]:
        """Fetches the feature maps of the training images; returns the statistics of each teacher."""
        statistics = {}
        for name, config in self.teacher_configs.items():
            teacher = load_teacher(config, self.device)
            self._train_maps[name] = self.feature_maps(teacher, self.train_dataset.image_filenames)
            statistics[name] = feature_statistics(self._train_maps[name], teacher.dim)
            self.train_dataset.metadata.setdefault("teacher_revisions", {})[name] = teacher.revision
        return statistics

    def world_to_nerf(self) -> Float[np.ndarray, "4 4"]:
        """The similarity transform from the data set's world frame to the scene's; see world_frame.world_to_nerf."""
        return world_to_nerf(self.dataparser, self.train_dataparser_outputs)

    def detections(self, detector: Detector, images: Sequence[Path]) -> list[Detections]:
        """A detector's key points of images, from the cache where they are there; raises as :meth:`feature_maps`."""
        return cached_detections(images, detector, self.config.cache_dir or default_cache_root())

    def _load_heat_maps(self) -> bool:
        """Fetches the detector's heat maps of the training images; says whether there are key-point heads to train.

        Without a teacher there are none: no pixels are drawn image by image then.
        """
        if self.config.detector.name == "none" or not self._train_maps:
            return False
        found = self.detections(load_detector(self.config.detector, self.device), self.train_dataset.image_filenames)
        self._train_heat = [detections.heat for detections in found]
        return True

    def next_train(self, step: int) -> tuple[RayBundle, dict[str, Any]]:
        """One batch of training rays.

        Returns:
            The rays, and a batch with "image" (colours), "indices" (image, row, column), and "features": a list of
            :class:`FeatureTarget`.
        """
        self.train_count += 1
        pixels = self.train_pixel_sampler.sample()
        batch: dict[str, Any] = {"image": pixels.colors.to(self.device), "indices": pixels.indices}
        if self._train_maps:
            batch["features"] = self._feature_targets(pixels)
        return self.train_ray_generator(pixels.indices.to(self.device)), batch

    def next_eval(self, step: int) -> tuple[RayBundle, dict[str, Any]]:
        """One batch of rays of held-out images, with colours only."""
        self.eval_count += 1
        pixels = self.eval_pixel_sampler.sample()
        batch = {"image": pixels.colors.to(self.device), "indices": pixels.indices}
        return self.eval_ray_generator(pixels.indices.to(self.device)), batch

    def _feature_targets(self, pixels: PixelBatch) -> list[FeatureTarget]:
        """The feature maps that belong to the feature pixels of a batch."""
        targets, start = [], 0
        for image, count in zip(pixels.feature_images, pixels.feature_counts, strict=True):
            rays = slice(start, start + count)
            width, height = self.train_dataset.camera_size(image)
            maps = {
                name: torch.from_numpy(np.array(maps[image])).to(self.device) for name, maps in self._train_maps.items()
            }
            continuous = pixels.indices[rays][:, [2, 1]].to(self.device, torch.float32) + 0.5
            heat = torch.from_numpy(self._train_heat[image]).to(self.device) if self._train_heat else None
            targets.append(FeatureTarget(rays, continuous, (height, width), maps, heat))
            start += count
        return targets
