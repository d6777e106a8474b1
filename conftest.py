"""The pack's own `__init__.py` is ComfyUI's entry, not a test package."""

from hypothesis import settings

collect_ignore = ["__init__.py"]

# How long an example takes says nothing on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
