#!/bin/sh
# Trains a small backbone on demo scenes and gives its features to a scene that it never saw. About 20 minutes on two
# cores; stop it at any moment and start it again: it goes on where it was.
set -e
out=${1:-backbone_out}
[ -d "$out/scenes" ] || condense demo-scenes --output-dir "$out/scenes" --count 4 --seed 10
condense pretrain --scenes "$out/scenes" --output-dir "$out/pretrained" --nerfs.steps 600 --training.steps 100

# The new scene: any nerfstudio method with a density will do; here condense-lite, without teachers.
[ -d "$out/new" ] || condense demo-scenes --output-dir "$out/new" --count 1 --seed 20
ns-train condense-lite --data "$out/new/scene_000" --output-dir "$out/nerf" --experiment-name new --timestamp run \
    --vis tensorboard --max-num-iterations 600 --pipeline.datamanager.visual.name none \
    --pipeline.datamanager.language.name none --pipeline.datamanager.detector.name none
condense embed --load-config "$out/nerf/new/condense-lite/run/config.yml" --backbone "$out/pretrained/backbone.safetensors" \
    --output-dir "$out/embedded" --overwrite
