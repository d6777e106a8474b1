"""OrthoMerge Studio: io/quant."""
