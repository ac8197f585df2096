"""Page: one head's map as a single HTML file that needs no network.

Everything that a model or a text could have written into it is escaped, and a Content-Security-Policy lets
nothing run but the one script that ships with this package, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from io import BytesIO
from string import Template

import numpy as np
from PIL import Image

from lookbehind.atlas.palette import HATCH, ramp
from lookbehind.atlas.plate import Plate, position_ticks
from lookbehind.atlas.scale import Scale, tick_text


def render(plate: Plate, scale: Scale | None = None) -> str:
    """The plate as HTML text."""
    scale = scale or Scale.of(plate.values)
    rows, columns = plate.values.shape
    script = _asset("page.js")
    data = {
        "rows": rows,
        "columns": columns,
        "n_queries": plate.spans.n_queries,
        "n_keys": plate.spans.n_keys,
        "first_query": plate.first_query,
        "first_key": plate.first_key,
        "pool": plate.pool,
        "tokens": list(plate.tokens) if plate.tokens is not None else None,
        "values": base64.b64encode(np.ascontiguousarray(plate.values, dtype="<f4").tobytes()).decode("ascii"),
    }
    return Template(_asset("page.html")).substitute(
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        data=_json(data),
        title=html.escape(plate.title),
        facts=html.escape(plate.facts()),
        reading=html.escape(plate.reading()),
        source=html.escape(plate.source),
        picture=_picture(plate, scale),
        alt=html.escape(f"{plate.title}. {plate.facts()}"),
        ratio=f"{columns} / {rows}",
        hatch=_hex(HATCH).replace("#", "%23"),  # inside a data: URI
        ramp=", ".join(_hex(colour) for colour in ramp(17).tolist()),
        ticks="".join(_tick(value, scale) for value in scale.ticks()),
        across=_axis(plate, plate.spans.n_keys, plate.first_key, "left"),
        down=_axis(plate, plate.spans.n_queries, plate.first_query, "top"),
        named="named" if plate.ticked and plate.tokens else "numbered",
    )


def _asset(name: str) -> str:
    return files("lookbehind.atlas").joinpath(name).read_text(encoding="utf-8").strip()


def _json(data: object) -> str:
    """JSON that no HTML parser can mistake for the end of its script element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _picture(plate: Plate, scale: Scale) -> str:
    """The map alone as a data URI, a pixel a cell; never-computed cells let the hatching through."""
    place = scale.place(plate.values)
    void = np.isnan(place)
    colours = ramp()[np.where(void, 0, place * 255).round().astype(np.intp)]
    image = Image.fromarray(np.dstack([colours, np.where(void, 0, 255).astype(np.uint8)]))
    room = BytesIO()
    image.save(room, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(room.getvalue()).decode("ascii")


def _axis(plate: Plate, length: int, first: int, side: str) -> str:
    """Ticks of an axis, placed in per cent of its length."""
    parts: list[str] = []
    for place in range(length) if plate.ticked else position_ticks(length, first):
        at = 100 * (place + 0.5) / length
        token = plate.token(place + first) if plate.ticked else None
        named = "" if token is None else f"<b>{html.escape(_shown(token))}</b> "
        parts.append(f'<li style="{side}:{at:.4f}%"><span>{named}<i>{place + first:,}</i></span></li>')
    return "".join(parts)


def _shown(token: str) -> str:
    shown = token.replace("\n", "↵").replace("\t", "⇥").replace(" ", "·")
    return shown if len(shown) <= 16 else shown[:15] + "…"


def _tick(value: float, scale: Scale) -> str:
    place = 100 * float(scale.place(np.array([value], dtype=np.float32))[0])
    text = tick_text(value)
    return f'<li style="left:{place:.3f}%">{"≤ " + text if value == scale.low else text}</li>'


def _hex(colour: tuple[int, int, int] | list[int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)
