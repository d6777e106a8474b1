"""Linear methods, W = B + Σ c_i δ_i: Grams, coefficients and sums, chunk by chunk.

`merge` runs the threads, `worker` takes the three steps for one tensor, `sums` is the protocol of
Grams and sums, `floats` and `half` are its two forms (`half` by way of `kernel`), and `gram_cache`
keeps Grams between merges.
"""
