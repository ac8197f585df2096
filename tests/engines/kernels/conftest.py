"""Files that a test runs in a process of their own: they must not be imported to look for doctests."""

collect_ignore = ["interpreted.py", "sm90.py"]
