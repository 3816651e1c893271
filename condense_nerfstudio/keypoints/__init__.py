"""Decorated key points: 2D detection, condensation in 3D, the condensed-scene format, and matching."""
