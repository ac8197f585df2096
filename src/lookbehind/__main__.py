"""The `lookbehind` command, as `python -m lookbehind` too."""

import sys


def main() -> None:
    """Runs the command line; Ctrl-C ends it in a word, also while it is being imported."""
    try:
        from lookbehind.cli import main as run

        run()
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 makes a RuntimeError of one that arrives while a class is being made.
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        print("lookbehind: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
