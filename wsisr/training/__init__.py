"""Training of a network on a dataset of low- and high-resolution pairs."""
