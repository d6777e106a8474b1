"""LoRA files as models: the base plus scale · up · down, computed while it is read."""
