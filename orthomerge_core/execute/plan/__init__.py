"""Everything that can be wrong with a merge, its costs and its files, before a tensor is read."""
