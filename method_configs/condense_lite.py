"""`ns-train condense-lite`: the same method with offline teachers, sized for a laptop's CPU."""

from __future__ import annotations

from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.configs.base_config import LoggingConfig, MachineConfig, ViewerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.plugins.types import MethodSpecification

from condense_nerfstudio.scene.data_manager import CondenseDataManagerConfig
from condense_nerfstudio.scene.field import GridConfig
from condense_nerfstudio.scene.model_config import CondenseModelConfig
from condense_nerfstudio.scene.pipeline import CondensePipelineConfig
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.viewer.pipeline import ViewedPipeline

from .condense import optimizer
from .device import best_device

STEPS, FEATURE_START = 1500, 300

method = MethodSpecification(
    config=TrainerConfig(
        method_name="condense-lite",
        steps_per_eval_batch=STEPS,
        steps_per_eval_image=STEPS // 2,
        steps_per_save=250,
        max_num_iterations=STEPS,
        machine=MachineConfig(device_type=best_device()),
        logging=LoggingConfig(steps_per_log=50),
        pipeline=CondensePipelineConfig(
            _target=ViewedPipeline,
            datamanager=CondenseDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(),
                train_num_rays_per_batch=2048,
                eval_num_rays_per_batch=2048,
                visual=TeacherConfig(name="efficientnet"),
                language=TeacherConfig(name="conse"),
                max_image_side=320,
            ),
            model=CondenseModelConfig(
                eval_num_rays_per_chunk=4096,
                num_levels=12,
                max_res=1024,
                log2_hashmap_size=17,
                hidden_dim=64,
                hidden_dim_color=64,
                appearance_embed_dim=0,
                use_appearance_embedding=False,
                average_init_density=0.01,
                background_color="random",
                num_proposal_samples_per_ray=(96, 48),
                num_nerf_samples_per_ray=32,
                proposal_warmup=500,
                proposal_weights_anneal_max_num_iters=300,
                proposal_grid=GridConfig(num_levels=5, log2_hashmap_size=15, max_resolution=128),
                # Coarse and smooth: finer grids follow the noise of single views, and features that differ within one
                # cell of the teacher are not found again (correspondence share on a demo scene .66 at 256, .78 at 48).
                feature_grid=GridConfig(
                    num_levels=4, features_per_level=8, log2_hashmap_size=17, base_resolution=8, max_resolution=48
                ),
                keypoint_grid=GridConfig(
                    num_levels=6, features_per_level=2, log2_hashmap_size=17, base_resolution=32, max_resolution=1024
                ),
                feature_start=FEATURE_START,
                feature_samples_per_ray=8,
                camera_optimizer=CameraOptimizerConfig(mode="SO3xR3"),
            ),
        ),
        optimizers={
            "proposal_networks": optimizer(1e-2, 1e-3, STEPS),
            "fields": optimizer(1e-2, 1e-3, STEPS),
            "features": optimizer(2e-2, 4e-4, STEPS, warmup=FEATURE_START),
            "adapters": optimizer(1e-3, 1e-4, STEPS, warmup=FEATURE_START),
            "camera_opt": optimizer(1e-4, 1e-5, STEPS, warmup=FEATURE_START),
        },
        viewer=ViewerConfig(num_rays_per_chunk=4096, websocket_host="127.0.0.1", quit_on_train_completion=True),
        vis="viewer",
    ),
    description="ConDense with offline teachers, sized for a laptop's CPU.",
)
