"""Procedural gallery rooms with ground truth, so that a bare machine has real work to do.

Data flows one way: `recipe` (seeds) -> `room` (pure data) -> `surfaces` (meshes) -> `lighting` -> `render` -> `write`.
`generate.generate_scenes` runs all of it; `ground_truth.load_ground_truth` reads a finished scene. Importing this
package is cheap: embreex and scikit-image load when a scene is built.
"""
