"""`python -m node`: the command line, for an environment whose scripts are not on the path."""

from node.cli import main

main()
