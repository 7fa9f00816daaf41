"""Pixels without slides or networks: geometry, resampling, tiling, blending and image metrics."""
