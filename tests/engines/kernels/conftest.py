"""Files here that are run by a test in a process of their own, and must not be imported to look for doctests."""

collect_ignore = ["interpreted.py", "sm90.py"]
