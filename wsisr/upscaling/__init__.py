"""The main job: a region of a slide through an upscaler into a new pyramid."""
