"""The model's options; the text under each field is the help of its flag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nerfstudio.models.nerfacto import NerfactoModelConfig
from tyro.conf import Suppress

from condense_nerfstudio.scene.field import Backend, GridConfig
from condense_nerfstudio.scene.loss_config import FeatureLossConfig, KeypointLossConfig


def _model_class() -> type:
    # Imported late: the model needs this module.
    from condense_nerfstudio.scene.model import CondenseModel

    return CondenseModel


@dataclass
class CondenseModelConfig(NerfactoModelConfig):
    """Configuration of the model: nerfacto's, and the features."""

    _target: type = field(default_factory=_model_class)
    backend: Backend = "auto"
    """Hash-grid backend; auto takes tiny-cuda-nn on CUDA, compiled kernels on a CPU, plain torch elsewhere."""
    use_gradient_scaling: bool = True
    """Scale gradients down near the cameras; without it, density sticks to the cameras when views are few."""
    proposal_grid: GridConfig = field(
        default_factory=lambda: GridConfig(num_levels=5, log2_hashmap_size=17, max_resolution=256)
    )
    """Hash grid of each proposal network."""
    proposal_hidden_dim: int = 16
    """Width of each proposal network."""
    geometry_dim: int = 15
    """Values handed from the density network to the colour network."""
    feature_grid: GridConfig = field(
        default_factory=lambda: GridConfig(
            num_levels=5, features_per_level=8, log2_hashmap_size=19, base_resolution=8, max_resolution=96
        )
    )
    """Hash grid of the feature heads; its finest cell should not be much smaller than a teacher's cell on a surface."""
    feature_hidden_dim: int = 64
    """Width of the feature networks."""
    feature_dim: int = 64
    """Length of the vector that is rendered for each teacher, before it is decoded to the teacher's width."""
    feature_samples_per_ray: int = 12
    """Samples of a ray at which features are evaluated: those with the largest rendering weights."""
    feature_start: int = 0
    """Step at which features begin to be trained; geometry has to exist before features can sit on it."""
    features_bend_geometry: bool = False
    """Let gradients of the features reach the density through the rendering weights."""
    backbone: str | None = None
    """Start the features from a backbone and train only what it misses: lite, which ships, or a file of `condense
    pretrain`. Its teachers must be those of this training."""
    feature_losses: FeatureLossConfig = field(default_factory=FeatureLossConfig)
    """The feature losses."""
    keypoint_grid: GridConfig = field(
        default_factory=lambda: GridConfig(
            num_levels=6, features_per_level=2, log2_hashmap_size=19, base_resolution=32, max_resolution=1024
        )
    )
    """Hash grid of the 3D key-point head; its finest cell should be about a pixel of the training images."""
    keypoint_hidden_dim: int = 32
    """Width of the 3D key-point head's network."""
    keypoint_losses: KeypointLossConfig = field(default_factory=KeypointLossConfig)
    """The key-point losses."""
    adapter_dim: int = 64
    """Channels of the 2D branch's bottleneck."""
    adapter_kernel: int = 9
    """Side, in cells, of the neighbourhood that the 2D branch looks at."""
    phrases: tuple[str, ...] = ()
    """Phrases to look for; each becomes an output relevancy_<i>, in this order."""
    negatives: tuple[str, ...] = ()
    """Phrases that what is looked for must beat, beside the language teacher's neutral ones ("an object", ...)."""

    # What nerfacto offers and this model does not do.
    implementation: Suppress[Literal["tcnn", "torch"]] = "torch"
    predict_normals: Suppress[bool] = False
    orientation_loss_mult: Suppress[float] = 0.0
    pred_normal_loss_mult: Suppress[float] = 0.0
    hidden_dim_transient: Suppress[int] = 64
    use_same_proposal_network: Suppress[bool] = False
    disable_scene_contraction: Suppress[bool] = False
    use_average_appearance_embedding: Suppress[bool] = True
    proposal_net_args_list: Suppress[list[dict]] = field(default_factory=list)
