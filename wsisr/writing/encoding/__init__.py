"""From pixels to encoded tiles of every level."""
