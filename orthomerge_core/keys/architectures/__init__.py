"""Architectures as data, one file each: the patterns that `detect` and `architecture` use."""
