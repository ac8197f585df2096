"""The atlas in figures: a server of its own on a long synthetic tape, asked as a page asks.

    python benchmarks/atlas.py [--tokens 131072] [--json]

Times are what a client waits for, all the way through HTTP; "on a core" is what the server computed in that
time, which tells a busy machine from a slow server. The tape lies in a temporary directory.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from synthetic import planted, synthetic

from lookbehind.atlas.frame import EXACT, Frame
from lookbehind.atlas.geometry import TILE, Geometry

POOLS = ("max", "mean", "sum")
TRIES = 60  # tiles at each level
JUMPS = 4  # at each level
WHERE = ("", ", on a core")

Spent = tuple[float, float]  # seconds waited, seconds on a core


class Client:
    """One connection to a server."""

    def __init__(self, url: str, process: int) -> None:
        self._tasks = Path(f"/proc/{process}/task")
        self._parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            self._parts.hostname or "", self._parts.port, timeout=600
        )

    def core(self) -> float:
        """Seconds that the server has computed, all of its threads together; 0 where Linux does not tell."""
        spent = 0
        for task in self._tasks.glob("*/schedstat"):
            with suppress(OSError):
                spent += int(task.read_text().split()[0])
        return spent / 1e9

    def timed(self, work: Callable[[], Any]) -> tuple[Spent, Any]:
        before, began = self.core(), time.perf_counter()
        result = work()
        waited = time.perf_counter() - began
        return (waited, self.core() - before), result

    def get(self, path: str) -> bytes:
        self._connection.request("GET", self._parts.path + path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body.decode())
        return body

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("api/status"))

    def tiles(self, ids: list[str], pool: str = "max") -> list[Frame]:
        body, found = self.get(f"api/tiles?of=weight&pool={pool}&ids={','.join(ids)}"), []
        while body:
            _, frame, body = Frame.read(body)
            found.append(frame)
        return found


@contextmanager
def server(tape: Path) -> Iterator[tuple[Client, float]]:
    """A server of its own, and the seconds until it answered."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "lookbehind", "view", str(tape), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        client = Client(process.stdout.readline().strip(), process.pid)
        client.status()
        try:
            yield client, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(20)


def measure(n: int) -> dict[str, Any]:
    """The figures, in seconds and megabytes."""
    chance = random.Random(0)
    found: dict[str, Any] = {"tokens": n}
    with tempfile.TemporaryDirectory(prefix="lookbehind-") as room:
        tape = Path(room) / "long.tape"
        synthetic(n).save(tape)
        geometry = Geometry(n, n)
        top = f"0.0.{geometry.top}.0.0"
        with server(tape) as (client, seconds):
            found["server answers"] = seconds
            found["engine"] = json.loads(client.get("api/tape"))["engine"]
            found["memory at the start"] = client.status()["memory_mb"]
            spent, (frame,) = client.timed(lambda: client.tiles([top]))
            found |= both("first picture", spent)
            found["first picture is"] = ("exact", "sampled")[frame.state]
            (waited, core), (busy, most) = client.timed(lambda: until_exact(client, n, chance))
            found |= both("pyramid", (waited + spent[0], core + spent[1]))
            found["fine tile meanwhile: median"] = statistics.median(busy) if busy else None
            needle(client, geometry, n)
            found |= tiles(client, geometry, chance)
            found |= jumps(client, geometry, chance)
            found["memory, most"] = max(most, client.status()["memory_mb"])
        with server(tape) as (client, _):
            spent, (frame,) = client.timed(lambda: client.tiles([top]))
            found["first picture from the cache"] = spent[0]
            assert frame.state == EXACT
        found["cache"] = sum(path.stat().st_size for path in Path(f"{tape}.atlas").iterdir()) / 1e6
    return found


def until_exact(client: Client, n: int, chance: random.Random) -> tuple[list[float], float]:
    """Waits for the pass; what fine tiles took that were asked for meanwhile, and the most memory."""
    most, busy = 0.0, list[float]()
    began = time.perf_counter()
    while (status := client.status())["jobs"]:
        most = max(most, status["memory_mb"])
        if time.perf_counter() - began > 0.5 * len(busy):
            y = chance.randrange(n >> 10)
            name = f"0.0.{chance.randrange(3)}.{y}.{chance.randrange(y + 1)}"
            busy.append(client.timed(lambda name=name: client.tiles([name]))[0][0])
        time.sleep(0.05)
    return busy, most


def needle(client: Client, geometry: Geometry, n: int) -> None:
    """The one cell among n * n is bright in the picture of every level."""
    row, key = planted(n).needle
    for z in range(geometry.top, -1, -1):
        (frame,) = client.tiles([f"0.0.{z}.{row >> (z + 8)}.{key >> (z + 8)}"])
        value = frame.values()[(row >> z) % TILE, (key >> z) % TILE]
        if frame.state != EXACT or not value > 0.9:
            raise RuntimeError(f"the needle weighs {value} at level {z}")


def tiles(client: Client, geometry: Geometry, chance: random.Random) -> dict[str, Any]:
    """One tile at a time, at every level alike."""
    spent: dict[int, list[Spent]] = {z: [] for z in range(geometry.top + 1)}
    for z, some in spent.items():
        for at in range(TRIES):
            y = chance.randrange(geometry.tiles(z)[0])
            name, pool = f"0.0.{z}.{y}.{chance.randrange(y + 1)}", POOLS[at % len(POOLS)]
            some.append(client.timed(lambda name=name, pool=pool: client.tiles([name], pool))[0])
    found: dict[str, Any] = {}
    for which, where in enumerate(WHERE):
        every = sorted(one[which] for some in spent.values() for one in some)
        found[f"tile: median{where}"] = statistics.median(every)
        found[f"tile: 99th percentile{where}"] = every[int(0.99 * len(every))]
        levels = {z: statistics.median(one[which] for one in some) for z, some in spent.items()}
        found[f"tile: median by level{where}"] = levels
    return found


def jumps(client: Client, geometry: Geometry, chance: random.Random) -> dict[str, Any]:
    """Thirty-two tiles around a place, seen for the first time."""
    slowest: dict[int, Spent] = {}
    for z in range(geometry.top + 1):
        high, wide = geometry.tiles(z)
        if high < 8:
            break
        some: list[Spent] = []
        for _ in range(JUMPS):
            y = chance.randrange(high - 4)
            x = chance.randrange(max(min(y, wide - 8), 0) + 1)
            ids = [f"0.0.{z}.{y + down}.{x + across}" for down in range(4) for across in range(8)]
            some.append(client.timed(lambda ids=ids: client.tiles(ids))[0])
        slowest[z] = max(some)
    found: dict[str, Any] = {}
    for which, where in enumerate(WHERE):
        found[f"32 tiles: slowest{where}"] = max(one[which] for one in slowest.values())
        found[f"32 tiles: slowest by level{where}"] = {z: one[which] for z, one in slowest.items()}
    return found


def both(name: str, spent: Spent) -> dict[str, float]:
    return {f"{name}{where}": one for where, one in zip(WHERE, spent, strict=True)}


def shown(value: Any, name: str) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(one, name)}" for key, one in value.items())
    if isinstance(value, float):
        if "memory" in name or name == "cache":
            return f"{value:,.0f} MB"
        return f"{value:.1f} s" if value >= 1 else f"{value * 1e3:.0f} ms"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked.tokens)
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:40} {shown(value, name)}")


if __name__ == "__main__":
    main()
