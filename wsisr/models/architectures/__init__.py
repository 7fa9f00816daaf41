"""The networks in PyTorch, one a module, and the names they are chosen by."""
