"""Recipes: what decides a merge, as values, as JSON, and as the table that a person edits."""
