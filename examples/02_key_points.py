"""Draws the key points of a condensed scene over the held-out views of the scene that it was condensed from.

condense keypoints --load-config CONFIG --output-dir SCENE
python examples/02_key_points.py CONFIG SCENE PICTURES
"""

import sys
from pathlib import Path

from condense_nerfstudio.keypoints.storage import read_condensed_scene
from condense_nerfstudio.scene.keypoint_pictures import keypoint_sheet
from condense_nerfstudio.scene.load import load_scene

config, folder, pictures = map(Path, sys.argv[1:])
scene = read_condensed_scene(folder)
pipeline = load_scene(config)
pictures.mkdir(parents=True, exist_ok=True)
for camera, batch in pipeline.datamanager.fixed_indices_eval_dataloader:
    file = pictures / f"{pipeline.datamanager.eval_dataset.image_filenames[batch['image_idx']].stem}_key_points.png"
    camera.rescale_output_resolution(2.0)
    keypoint_sheet(pipeline, scene, camera).save(file)
    print(file)
