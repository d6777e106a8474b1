"""Naive float64 versions of everything that is streamed, fused or approximated elsewhere."""

import numpy as np
import torch
