"""Slides that show another slide differently: in sRGB, with square pixels, with unreadable regions in white."""
