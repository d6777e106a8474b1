"""OrthoMerge Studio's core: read, analyse and merge fine-tuned diffusion models. No ComfyUI needed.

`io` reads and writes weights · `keys` lays models over their base · `analysis` makes the one pass ·
`optimize` chooses delta bases · `recipe` is what decides a merge · `methods` are the merges ·
`execute` plans and streams them · `report` tells and draws. `python -m orthomerge_core --help`.
"""

__version__ = "0.1.0"
