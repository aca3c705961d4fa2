"""Perceiver and Perceiver IO in PyTorch: any input, any output, one model."""
