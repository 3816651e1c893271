"""`ns-train condense`: DINOv2 and CLIP distilled into a NeRF, sized for a GPU."""

from __future__ import annotations

from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.configs.base_config import MachineConfig, ViewerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.engine.schedulers import ExponentialDecaySchedulerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.plugins.types import MethodSpecification

from condense_nerfstudio.scene.adam import AdamConfig
from condense_nerfstudio.scene.data_manager import CondenseDataManagerConfig
from condense_nerfstudio.scene.model_config import CondenseModelConfig
from condense_nerfstudio.scene.pipeline import CondensePipelineConfig
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.viewer.pipeline import ViewedPipeline

from .device import best_device

STEPS, FEATURE_START = 30000, 1000


def optimizer(lr: float, lr_final: float, steps: int = STEPS, warmup: int = 0) -> dict:
    """Adam with an exponential decay over the whole run."""
    return {
        "optimizer": AdamConfig(lr=lr, eps=1e-15),
        "scheduler": ExponentialDecaySchedulerConfig(lr_final=lr_final, max_steps=steps, warmup_steps=warmup),
    }


method = MethodSpecification(
    config=TrainerConfig(
        method_name="condense",
        steps_per_eval_batch=500,
        steps_per_save=2000,
        max_num_iterations=STEPS,
        mixed_precision=True,
        machine=MachineConfig(device_type=best_device()),
        pipeline=CondensePipelineConfig(
            _target=ViewedPipeline,
            datamanager=CondenseDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(),
                train_num_rays_per_batch=4096,
                eval_num_rays_per_batch=4096,
                visual=TeacherConfig(name="dinov2"),
                language=TeacherConfig(name="clip"),
            ),
            model=CondenseModelConfig(
                eval_num_rays_per_chunk=1 << 15,
                average_init_density=0.01,
                background_color="random",
                feature_start=FEATURE_START,
                camera_optimizer=CameraOptimizerConfig(mode="SO3xR3"),
            ),
        ),
        optimizers={
            "proposal_networks": optimizer(1e-2, 1e-4),
            "fields": optimizer(1e-2, 1e-4),
            "features": optimizer(2e-2, 4e-4, warmup=FEATURE_START),
            "adapters": optimizer(1e-3, 1e-4, warmup=FEATURE_START),
            "camera_opt": optimizer(1e-3, 1e-4, steps=5000),
        },
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15, websocket_host="127.0.0.1"),
        vis="viewer",
    ),
    description="ConDense: DINOv2 and CLIP features that agree between 2D and 3D.",
)
