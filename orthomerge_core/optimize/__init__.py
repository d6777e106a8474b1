"""OrthoMerge Studio: optimize."""
