"""The pack's own `__init__.py` is ComfyUI's entry, not a test package."""

collect_ignore = ["__init__.py"]
