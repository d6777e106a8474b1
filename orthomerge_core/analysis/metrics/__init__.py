"""Figures of an analysis, one function per file: range, unit and direction in its docstring."""
