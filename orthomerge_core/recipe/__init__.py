"""OrthoMerge Studio: recipe."""
