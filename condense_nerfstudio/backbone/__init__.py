"""The network shared by all scenes: a NeRF's density and colour in, a feature volume out, no per-scene training."""
