"""The commands of `heliotrope`, one file per noun. Thin: they ask a node's API, or read a file, and show the answer.

Nothing heavy is imported before a command runs: `--help` must be there at once.
"""
