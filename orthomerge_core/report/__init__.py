"""OrthoMerge Studio: report."""
