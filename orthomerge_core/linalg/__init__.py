"""Pure maths on tensors: Grams, projections, rotations, interpolation. No files, no keys."""
