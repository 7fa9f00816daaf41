"""What computes a network: PyTorch, ONNX Runtime and spandrel, and what they need of a device."""
