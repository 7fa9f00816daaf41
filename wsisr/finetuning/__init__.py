"""Finetuning: the shipped model trained on with a lab's own slides, and the verdict whether that was worth it."""
