"""The table of cuda.md, read on the card that is here: `python benchmarks/cuda.py [--quick] [--json FILE]`.

What `lookbehind bench --device cuda` prints, with a verdict for each row, as soon as it is read; a figure
that fails says why and leaves the others. The exit status is 1 where a row that has to be reached was not,
or failed.
"""

import json
import sys
import traceback
from pathlib import Path

from lookbehind.bench import Row, cuda, machine


def told(row: Row) -> str:
    """A row and whether it is what it must be."""
    verdict = {True: "reached", False: "MISSED", None: "" if row.must is None else "NOT READ"}[row.reached]
    value = "-" if row.value is None else f"{row.value:,.4g}"
    goal = "" if row.must is None else f"must {row.must:g}" + (f", aim {row.aim:g}" if row.aim else "")
    return f"{verdict:9}{row.name}: {value} {row.unit}  {goal}\n{'':9}{row.note}"


def main() -> int:
    setting = cuda.QUICK if "--quick" in sys.argv else cuda.FULL
    print(machine("cuda"), flush=True)
    rows: list[Row] = []
    failed = False
    for name, figure in cuda.figures(setting):
        try:
            found = figure()
        except Exception:
            failed = True
            print(f"FAILED   {name}\n{traceback.format_exc()}", flush=True)
            continue
        rows += found
        print("\n".join(map(told, found)), flush=True)
        if "--json" in sys.argv:
            whole = {
                "machine": machine("cuda"),
                "setting": vars(setting),
                "rows": [row.to_dict() for row in rows],
            }
            Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps(whole, indent=1))
    return int(failed or any(row.must is not None and row.reached is not True for row in rows))


if __name__ == "__main__":
    sys.exit(main())
