"""Networks, loop, checkpoints and ONNX export. Importing this package does not import torch."""
