"""OrthoMerge Studio: .."""
