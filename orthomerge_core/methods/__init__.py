"""Merge methods, one file each; `registry` finds them and `contract` says what one is."""
