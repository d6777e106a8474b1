"""The shell: one file per command, each a thin call into the core.

Exit codes: 0 done, 1 failed, 2 wrong use. Results go to stdout, progress and errors to stderr.
"""
