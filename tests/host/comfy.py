"""The harness: fixtures `comfy`, `start_host`, `host_models`, `chromium` of `tests/conftest.py`.

They stand on `scripts/support/comfy_host.py`, which the demo uses too.
"""

from scripts.support.comfy_host import ApiError, ComfyHost, PromptError

__all__ = ["ApiError", "ComfyHost", "PromptError"]
