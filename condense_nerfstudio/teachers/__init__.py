"""2D foundation networks, text encoders and the feature cache. Importing this package loads none of them."""
