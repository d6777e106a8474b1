"""OrthoMerge Studio: methods."""
