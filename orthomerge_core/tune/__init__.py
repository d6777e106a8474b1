"""Searches over recipes: declared parameters, a score, and a study that remembers every trial."""
