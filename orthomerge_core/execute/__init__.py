"""OrthoMerge Studio: execute."""
