"""OrthoMerge Studio: analysis/metrics."""
