"""The model: a nerfacto-like radiance field with feature heads for every teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_optimizers import CameraOptimizer
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.model_components.losses import MSELoss, scale_gradients_by_distance_squared
from nerfstudio.model_components.ray_samplers import UniformSampler
from nerfstudio.model_components.renderers import AccumulationRenderer, DepthRenderer, RGBRenderer
from nerfstudio.model_components.scene_colliders import NearFarCollider
from nerfstudio.models.nerfacto import NerfactoModel
from nerfstudio.utils import colormaps
from torch import Tensor, nn
from torch.nn import Parameter

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.data_manager import FeatureTarget
from condense_nerfstudio.scene.feature_step import branch_maps, feature_losses, keypoint_step_losses
from condense_nerfstudio.scene.field import DensityField, GridConfig, RadianceField
from condense_nerfstudio.scene.heads import FeatureField, TeacherHead, heaviest_points
from condense_nerfstudio.scene.keypoint_head import KeypointField, KeypointHeads, KeypointMapHead
from condense_nerfstudio.scene.lens import Lens
from condense_nerfstudio.scene.model_config import CondenseModelConfig
from condense_nerfstudio.scene.node_grid import FeaturePrior
from condense_nerfstudio.scene.sampling import ProposalSampler, distortion_loss, interlevel_loss, ray_weights
from condense_nerfstudio.scene.surface import surface_points
from condense_nerfstudio.teachers.text import TextEncoder


class CondenseModel(NerfactoModel):
    """Radiance field, feature heads and 2D branch of one scene.

    The heads are built from the teachers' statistics when a training starts, and from the checkpoint's own shapes
    otherwise, so that viewing needs no teacher.
    """

    config: CondenseModelConfig
    text: TextEncoder | None = None
    """Encodes the phrases; set by the pipeline, and no part of the checkpoint."""
    choose_lens: Callable[[], Lens | None] = staticmethod(lambda: None)
    """Asked at the start of every view what it shall answer; None: the configured phrases. The viewer sets it."""
    lock: AbstractContextManager[Any] = nullcontext()
    """Held by whoever trains or renders the model where several threads do; the viewer sets it."""
    _lens: Lens | None = None

    def populate_modules(self) -> None:
        """Builds fields, samplers, renderers and, where teachers are at hand, heads. Needs no network."""
        config = self.config
        geometry_grid = GridConfig(
            config.num_levels, config.features_per_level, config.log2_hashmap_size, config.base_res, config.max_res
        )
        self.field = RadianceField(
            geometry_grid,
            hidden_dim=config.hidden_dim,
            hidden_dim_color=config.hidden_dim_color,
            geometry_dim=config.geometry_dim,
            num_images=self.num_train_data,
            appearance_dim=config.appearance_embed_dim if config.use_appearance_embedding else 0,
            average_density=config.average_init_density,
            backend=config.backend,
        )
        self.proposal_networks = nn.ModuleList(
            DensityField(config.proposal_grid, config.proposal_hidden_dim, config.average_init_density, config.backend)
            for _ in range(config.num_proposal_iterations)
        )
        self.density_fns = list(self.proposal_networks)
        self.camera_optimizer: CameraOptimizer = config.camera_optimizer.setup(
            num_cameras=self.num_train_data, device="cpu"
        )
        self.heads = nn.ModuleDict()
        self.feature_field: FeatureField | None = None
        self.keypoints: KeypointHeads | None = None
        self.prior: FeaturePrior | None = None
        metadata = self.kwargs.get("metadata", {})
        statistics = metadata.get("feature_statistics", {})
        self._build_heads({name: len(values.mean) for name, values in statistics.items()})
        for name, values in statistics.items():
            self.head(name).start_from(values)
            self.head(name).revision = metadata["teacher_revisions"][name]
        if metadata.get("has_heat_maps", False):
            self._build_keypoint_heads()
        self._populate_rendering()

    def _populate_rendering(self) -> None:
        """Samplers, renderers, losses and metrics: nerfstudio's own, without LPIPS, which would need a download."""
        config = self.config

        def update_schedule(step: int) -> float:
            progress = min(step / max(config.proposal_warmup, 1), 1.0)
            return max(1.0, progress * config.proposal_update_every)

        uniform = UniformSampler(single_jitter=config.use_single_jitter)
        self.proposal_sampler = ProposalSampler(
            num_nerf_samples_per_ray=config.num_nerf_samples_per_ray,
            num_proposal_samples_per_ray=config.num_proposal_samples_per_ray,
            num_proposal_network_iterations=config.num_proposal_iterations,
            single_jitter=config.use_single_jitter,
            update_sched=update_schedule,
            initial_sampler=uniform if config.proposal_initial_sampler == "uniform" else None,
        )
        self.collider = NearFarCollider(near_plane=config.near_plane, far_plane=config.far_plane)
        self.renderer_rgb = RGBRenderer(background_color=config.background_color)
        self.renderer_accumulation = AccumulationRenderer()
        self.renderer_depth = DepthRenderer(method="median")
        self.renderer_expected_depth = DepthRenderer(method="expected")
        self.rgb_loss = MSELoss()
        # Imported here, as nerfacto does: torchmetrics imports transformers, which every ns-* command would wait for.
        from torchmetrics.functional import structural_similarity_index_measure
        from torchmetrics.image import PeakSignalNoiseRatio

        self.psnr = PeakSignalNoiseRatio(data_range=1.0)
        self.ssim = structural_similarity_index_measure
        self.step = 0

    def _build_heads(self, dims: Mapping[str, int]) -> None:
        """Makes the feature field and one head for each teacher of the given width."""
        if not dims:
            return
        config = self.config
        feature_dims = {name: min(config.feature_dim, dim) for name, dim in dims.items()}
        self.feature_field = FeatureField(config.feature_grid, config.feature_hidden_dim, feature_dims, config.backend)
        for name, dim in dims.items():
            self.heads[name] = TeacherHead(dim, feature_dims[name], config.adapter_dim, config.adapter_kernel)

    def _build_keypoint_heads(self) -> None:
        """Makes the key-point heads; the 2D one reads the first teacher's features."""
        config = self.config
        self.keypoints = KeypointHeads(
            KeypointField(config.keypoint_grid, config.keypoint_hidden_dim, config.backend),
            KeypointMapHead(self.head(next(iter(self.heads))).dim, config.feature_hidden_dim),
        )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads a checkpoint, building the heads that it holds where none were built.

        Raises:
            UserError: the checkpoint was trained with other teachers than this run has.
        """
        stored = {
            key.split(".")[1]: len(value)
            for key, value in state_dict.items()
            if key.startswith("heads.") and key.endswith(".mean")
        }
        own = {name: self.head(name).dim for name in self.heads}
        if not own:
            self._build_heads(stored)
            if any(key.startswith("keypoints.") for key in state_dict):
                self._build_keypoint_heads()
            self.to(self.device)
        elif own != stored:
            raise UserError(
                f"The checkpoint's teachers are {_described(stored)} but this run's are {_described(own)}: pass the "
                "same --pipeline.datamanager.visual and .language options as then, or train without --load-dir."
            )
        prior = {key.removeprefix("prior."): value for key, value in state_dict.items() if key.startswith("prior.")}
        if prior:
            self.prior = FeaturePrior.from_state(prior).to(self.device)
        # Checkpoints from before revisions were kept have none.
        unknown = {f"heads.{name}.fingerprint": self.head(name).fingerprint for name in self.heads}
        return super().load_state_dict({**unknown, **state_dict}, strict=strict, assign=assign)

    def update_to_step(self, step: int) -> None:
        """Takes over the step of a checkpoint."""
        self.step = step

    def head(self, name: str) -> TeacherHead:
        """The head of a teacher."""
        head = self.heads[name]
        assert isinstance(head, TeacherHead)
        return head

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Parameters by optimizer: proposal_networks, fields, features, adapters, camera_opt."""
        groups: dict[str, list[Parameter]] = {
            "proposal_networks": list(self.proposal_networks.parameters()),
            "fields": list(self.field.parameters()),
        }
        if self.feature_field is not None:
            decoders = [p for name in self.heads for p in self.head(name).decoder.parameters()]
            groups["features"] = [*self.feature_field.parameters(), *decoders]
            if self.keypoints is not None:
                groups["features"] += self.keypoints.parameters()
            groups["adapters"] = [p for name in self.heads for p in self.head(name).adapter.parameters()]
        self.camera_optimizer.get_param_groups(param_groups=groups)
        return groups

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Any]:
        """Renders rays.

        While training: colour, depth, accumulation and what the losses need. Otherwise also `<teacher>_pca` for every
        teacher (three principal components by a stored projection, the same in every frame), `relevancy_<i>` for
        every phrase, and `keypoints`.
        """
        if self.training:
            self.camera_optimizer.apply_to_raybundle(ray_bundle)
        samples, weights_list, samples_list = self.proposal_sampler(ray_bundle, density_fns=self.density_fns)
        density, rgb = self.field(samples)
        if self.config.use_gradient_scaling and self.training:
            scaled = {FieldHeadNames.DENSITY: density, FieldHeadNames.RGB: rgb}
            scaled = scale_gradients_by_distance_squared(scaled, samples)
            density, rgb = scaled[FieldHeadNames.DENSITY], scaled[FieldHeadNames.RGB]
        weights = ray_weights(samples, density)
        outputs: dict[str, Any] = {
            "rgb": self.renderer_rgb(rgb=rgb, weights=weights),
            "accumulation": self.renderer_accumulation(weights=weights),
        }
        with torch.no_grad():
            outputs["depth"] = self.renderer_depth(weights=weights, ray_samples=samples)
        if self.training:
            outputs["weights_list"] = [*weights_list, weights]
            outputs["ray_samples_list"] = [*samples_list, samples]
        else:
            outputs["expected_depth"] = self.renderer_expected_depth(weights=weights, ray_samples=samples)
            outputs.update(self._feature_outputs(samples, weights[..., 0], outputs["rgb"]))
        return outputs

    def _feature_outputs(
        self, samples: RaySamples, weights: Float[Tensor, "rays samples"], rgb: Float[Tensor, "rays 3"]
    ) -> dict[str, Float[Tensor, "rays channels"]]:
        """What a person looks at: the key-point head, stable PCA colours, and what the lens adds."""
        outputs: dict[str, Tensor] = {}
        keypoints = self.rendered_keypoints(samples, weights)
        if keypoints is not None:
            outputs["keypoints"] = keypoints[:, None]
        features = self.decoded_features(samples, weights)
        outputs.update({f"{name}_pca": self.head(name).colors(centred) for name, centred in features.items()})
        lens = self._lens or self._own_lens()
        return {**outputs, **lens.look(self, rgb, features)}

    def _own_lens(self) -> Lens:
        return Lens(self.config.phrases, self.config.negatives)

    def get_outputs_for_camera(self, camera: Cameras, obb_box: OrientedBox | None = None) -> dict[str, Tensor]:
        """Renders a view, all of whose rays answer the same questions."""
        self._lens = self.choose_lens() or self._own_lens()
        try:
            return self._lens.finish(super().get_outputs_for_camera(camera, obb_box))
        finally:
            self._lens = None

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Evaluation mode, with no training step meanwhile: for short looks at a scene that may be training."""
        with self.lock:
            training = self.training
            self.eval()
            try:
                yield
            finally:
                self.train(training)

    def decoded_features(
        self, samples: RaySamples, weights: Float[Tensor, "rays samples"]
    ) -> dict[str, Float[Tensor, "rays c"]]:
        """Centred features R(r) = D(sum_i w_i f(x_i)) of every teacher, added to what a backbone said.

        Args:
            samples: of shape (rays, samples).
            weights: their rendering weights.
        """
        if self.feature_field is None:
            return {}
        points = self._feature_samples(samples, weights)
        rendered = self.feature_field.render(*points)
        learned = {name: self.head(name).decoder(value) for name, value in rendered.items()}
        if self.prior is None:
            return learned
        known = self.prior.render(*points)
        return {name: value + known[name] for name, value in learned.items()}

    def rendered_keypoints(
        self, samples: RaySamples, weights: Float[Tensor, "rays samples"]
    ) -> Float[Tensor, " rays"] | None:
        """K(r), the 3D key-point head, for the arguments of :meth:`decoded_features`; None where there is none."""
        return None if self.keypoints is None else self.keypoints.field.render(*self._feature_samples(samples, weights))

    def _feature_samples(
        self, samples: RaySamples, weights: Float[Tensor, "rays samples"]
    ) -> tuple[Float[Tensor, "rays kept 3"], Float[Tensor, "rays kept"]]:
        """The samples at which heads are evaluated, and their weights; without gradient unless features may bend."""
        positions = samples.frustums.get_positions()
        if not self.config.features_bend_geometry:
            weights, positions = weights.detach(), positions.detach()
        return heaviest_points(positions, weights, self.config.feature_samples_per_ray)

    def sample_field(
        self, ray_bundle: RayBundle
    ) -> tuple[RaySamples, Float[Tensor, "rays samples 1"], Float[Tensor, "rays samples 3"]]:
        """Samples along rays, with density and colour there; what :meth:`get_outputs` renders in evaluation.

        Args:
            ray_bundle: rays of shape (rays,).
        """
        if self.collider is not None:
            ray_bundle = self.collider(ray_bundle)
        samples, _, _ = self.proposal_sampler(ray_bundle, density_fns=self.density_fns)
        return samples, *self.field(samples)

    @torch.no_grad()
    def adapt(self, teacher: str, feature_map: Float[Tensor, "hp wp c"]) -> Float[Tensor, "hp wp c"]:
        """The consistent 2D feature map G, centred, of a teacher's map in its own space."""
        head = self.head(teacher)
        return head.adapter(head.center(feature_map.to(self.device)))

    def get_metrics_dict(self, outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Nerfacto's: PSNR and, while training, distortion and what the camera optimizer reports."""
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device))
        metrics: dict[str, Any] = {"psnr": self.psnr(outputs["rgb"], truth)}
        if self.training:
            metrics["distortion"] = distortion_loss(outputs["weights_list"][-1], outputs["ray_samples_list"][-1])
        self.camera_optimizer.get_metrics_dict(metrics)
        return metrics

    def get_loss_dict(
        self, outputs: dict[str, Any], batch: dict[str, Any], metrics_dict: dict[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Nerfacto's losses, and consistency and anchors for every teacher."""
        predicted, truth = self.renderer_rgb.blend_background_for_loss_computation(
            outputs["rgb"], outputs["accumulation"], batch["image"].to(self.device)
        )
        losses = {"rgb_loss": self.rgb_loss(truth, predicted)}
        if not self.training:
            return losses
        assert metrics_dict is not None
        interlevel = interlevel_loss(outputs["weights_list"], outputs["ray_samples_list"])
        losses["interlevel_loss"] = self.config.interlevel_loss_mult * interlevel
        losses["distortion_loss"] = self.config.distortion_loss_mult * metrics_dict["distortion"]
        self.camera_optimizer.get_loss_dict(losses)
        if self.step >= self.config.feature_start and batch.get("features"):
            losses.update(self._feature_losses(outputs, batch["features"]))
        return losses

    def _feature_losses(self, outputs: dict[str, Any], targets: list[FeatureTarget]) -> dict[str, Tensor]:
        """The feature losses over the runs of rays for which the teachers' maps are at hand."""
        rays = slice(targets[0].rays.start, targets[-1].rays.stop)
        samples, weights = outputs["ray_samples_list"][-1][rays], outputs["weights_list"][-1][rays, :, 0]
        rendered = self.decoded_features(samples, weights)
        maps = branch_maps({name: self.head(name) for name in rendered}, targets)
        surface = surface_points(samples, weights)
        losses = feature_losses(maps, rendered, targets, surface, self.config.feature_losses)
        keypoints = self.rendered_keypoints(samples, weights)
        if self.keypoints is not None and keypoints is not None and targets[0].heat is not None:
            first = next(iter(maps.values()))
            losses.update(
                keypoint_step_losses(self.keypoints.map_head, first, keypoints, targets, self.config.keypoint_losses)
            )
        return losses

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR and SSIM of a rendered view, and the pictures to log."""
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device))
        expected, rendered = (torch.moveaxis(image, -1, 0)[None] for image in (truth, outputs["rgb"]))
        similarity = self.ssim(expected, rendered)
        assert isinstance(similarity, Tensor)
        metrics = {"psnr": float(self.psnr(expected, rendered)), "ssim": float(similarity)}
        images = {
            "img": torch.cat([truth, outputs["rgb"]], dim=1),
            "accumulation": colormaps.apply_colormap(outputs["accumulation"]),
            "depth": colormaps.apply_depth_colormap(outputs["depth"], accumulation=outputs["accumulation"]),
        }
        images.update({f"{name}_pca": outputs[f"{name}_pca"] for name in self.heads})
        return metrics, images


def _described(teachers: Mapping[str, int]) -> str:
    """Teachers and their widths in words."""
    return ", ".join(f"{name} ({dim} channels)" for name, dim in teachers.items()) or "none"
