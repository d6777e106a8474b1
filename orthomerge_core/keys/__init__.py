"""Tensor names: detecting the architecture of a file, and aligning models with their base."""
