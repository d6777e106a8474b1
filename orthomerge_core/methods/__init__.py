"""Merge methods, one file each: `contract` defines them and `registry` finds them."""
