"""The table of cuda.md, read on the card that is here: `python benchmarks/cuda.py [--quick] [--json FILE]`.

What `lookbehind bench --device cuda` prints, with a verdict for each row, and without the command line's
dependencies. The exit status is 1 where a row that has to be reached was not, or could not be measured.
"""

import json
import sys
from pathlib import Path

from lookbehind.bench import machine, run


def main() -> int:
    quick = "--quick" in sys.argv
    rows = run("cuda", quick)
    print(machine("cuda"))
    for row in rows:
        verdict = {True: "reached", False: "MISSED", None: "" if row.must is None else "NOT MEASURED"}[
            row.reached
        ]
        value = "-" if row.value is None else f"{row.value:,.4g}"
        goal = "" if row.must is None else f"must {row.must:g}" + (f", aim {row.aim:g}" if row.aim else "")
        print(f"{verdict:13}{row.name}: {value} {row.unit}  {goal}\n{'':13}{row.note}")
    if "--json" in sys.argv:
        told = {"machine": machine("cuda"), "quick": quick, "rows": [row.to_dict() for row in rows]}
        Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps(told, indent=1))
    return int(any(row.must is not None and row.reached is not True for row in rows))


if __name__ == "__main__":
    sys.exit(main())
