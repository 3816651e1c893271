"""The per-scene method: field, 2D branch, losses, data manager, model and pipeline."""
