"""Recipes: everything that decides a merge, as values, as JSON, and as an editable table."""
