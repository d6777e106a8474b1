"""Core tests work on matrices of a few rows: more threads than one only make them wait."""

import torch

torch.set_num_threads(1)
