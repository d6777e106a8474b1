"""Threads and devices: the worker pool, background calls, torch's thread count, usable devices."""
