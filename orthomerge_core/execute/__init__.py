"""Merging: a plan that checks everything, then one pass that reads, computes and stores.

`plan` checks and estimates, `run` merges, `linear` and `whole_tensor` compute, `fallback` says what
becomes of a tensor that cannot be merged, `output` stores and reports. README.md has a drawing.
"""
