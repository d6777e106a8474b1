"""OrthoMerge Studio: analysis."""
