"""What `demo.py` and `test.py` share: environment, ComfyUI host, model family."""
