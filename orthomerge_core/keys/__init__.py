"""OrthoMerge Studio: keys."""
