"""Plans of merges: every problem, the costs and the files, before a tensor is read."""
