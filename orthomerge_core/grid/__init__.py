"""Grids: axes over anything in a recipe, their cells, and the order to merge the cells in."""
