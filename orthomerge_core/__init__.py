"""OrthoMerge Studio's core: read, analyze and merge fine-tuned diffusion models. No ComfyUI needed.

`api` holds the functions for programs: describe, inspect, analyze, optimize, forecast, plan, merge
and verify. They are not repeated here, because `optimize` and `forecast` are packages of this one.

`io` reads and writes weights · `keys` lays models over their base · `analysis` makes the one pass ·
`optimize` chooses delta bases · `recipe` is what decides a merge · `methods` are the merges ·
`forecast` says what they keep · `execute` plans and streams them · `report` words and draws.
"""

__version__ = "0.1.0"
