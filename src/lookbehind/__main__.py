"""`python -m lookbehind` is the `lookbehind` command."""

from lookbehind.cli import main

main()
