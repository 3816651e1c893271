#!/usr/bin/env bash
# Makes a demo scene, trains condense-lite on it, measures it, asks it questions in text, and condenses it.
# About 4 minutes on two cores. Everything lands in demo_out/ (or the folder given as first argument).
set -euo pipefail
out=${1:-demo_out}

rm -rf "$out"
condense demo-scenes --output-dir "$out/scenes" --count 1 --seed 7
scene=$out/scenes/scene_000

ns-train condense-lite --data "$scene" --output-dir "$out" --experiment-name demo --timestamp run --vis tensorboard
config=$out/demo/condense-lite/run/config.yml

condense evaluate --load-config "$config" --json-file "$out/metrics.json"
condense render --load-config "$config" --output-dir "$out/pictures" --text "a cat" "a cup of coffee" "a rocket"
condense keypoints --load-config "$config" --output-dir "$out/keypoints"
echo "Pictures: $out/pictures/*_sheet.png   Key points: $out/keypoints/keypoints.ply"
