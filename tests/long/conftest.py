"""Tests of the core that start processes or fill disks and take seconds each: run apart."""

from tests.core.execute.conftest import family, on_disk

__all__ = ["family", "on_disk"]
