"""ConDense for nerfstudio: features that agree between 2D and 3D.

Importing this package is cheap on purpose: nerfstudio and the `condense` command load it at every start.
"""

__version__ = "0.1.0"
