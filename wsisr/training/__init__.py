"""Runs that train a network on a dataset of pairs."""
