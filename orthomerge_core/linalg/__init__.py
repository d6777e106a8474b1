"""OrthoMerge Studio: linalg."""
