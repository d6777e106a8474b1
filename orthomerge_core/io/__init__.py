"""OrthoMerge Studio: io."""
