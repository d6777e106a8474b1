"""Names of tensors: which architecture a file is, and how a model lies over its base."""
