"""Influence: the audit's influence map, read from its JSON report with suspicion."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from lookbehind.errors import InputError

MOST = 512  # positions a side: the map is for short lengths
_BYTES = 64 << 20  # of a report: that of the largest map is a tenth of it


def read_influence(path: Path) -> dict[str, Any]:
    """{n, values}: how far the output at i (a row) moved with the token at j; None where it has no number.

    Raises:
        InputError: the file is no report, or holds no influence map.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES + 1)
        if len(text) > _BYTES:
            raise ValueError(f"it is longer than {_BYTES >> 20} MiB")
        report = json.loads(text)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the JSON report of an audit"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not the JSON report of an audit ({error})") from None
    found = report.get("influence") if isinstance(report, dict) else None
    if found is None:
        raise InputError(
            f"{path}: holds no influence map; lookbehind audit --json writes one where LB101 changes every "
            "token (a short --length)"
        )
    return {"n": len(found), "values": checked(path, found)}


def checked(path: Path, values: Any) -> list[list[float | None]]:
    """A square of numbers and Nones."""
    if not isinstance(values, list) or not 0 < len(values) <= MOST:
        raise InputError(f"{path}: its influence map is not a square of 1 to {MOST} rows")
    for row in values:
        if not isinstance(row, list) or len(row) != len(values):
            raise InputError(f"{path}: its influence map is not a square of numbers")
        for one in row:
            number = isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)
            if one is not None and not number:
                raise InputError(f"{path}: its influence map holds {str(one)[:40]!r}, which is no number")
    return values
