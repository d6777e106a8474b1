"""OrthoMerge Studio: keys/architectures."""
