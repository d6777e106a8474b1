"""Linear methods, W = B + Σ c_i δ_i: Grams, coefficients and sums, chunk by chunk."""
