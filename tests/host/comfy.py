"""Where the harness lives: the fixtures `comfy`, `start_host`, `host_models` and `chromium` of

`tests/conftest.py`, on top of `scripts/support/comfy_host.py` (`ComfyHost`), which the demo uses too.
"""

from scripts.support.comfy_host import ApiError, ComfyHost, PromptFailed

__all__ = ["ApiError", "ComfyHost", "PromptFailed"]
