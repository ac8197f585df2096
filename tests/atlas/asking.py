"""Asks a server as any client could, with whatever headers."""

import http.client
import json
import struct
from urllib.parse import urlsplit

import numpy as np

from lookbehind.atlas.frame import Frame


def asked(url: str, path: str = "", method: str = "GET", token: str | None = None, **headers: str):
    """(status, headers, body) of one request below the viewing's address."""
    parts = urlsplit(url)
    base = parts.path if token is None else token
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, base + path, headers=named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def data(url: str, path: str):
    """JSON of a request that succeeds."""
    status, _, body = asked(url, path)
    assert status == 200, body
    return json.loads(body)


def frames(url: str, path: str) -> dict[int, Frame]:
    """The frames of a stream, in the order in which they came."""
    status, _, body = asked(url, path)
    assert status == 200, body
    found = {}
    while body:
        index, frame, body = Frame.read(body)
        found[index] = frame
    return found


def tracks(body: bytes):
    """(header, arrays by name) of tracks."""
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    at, arrays = 4 + length, {}
    for one in header["names"]:
        arrays[one["name"]] = np.frombuffer(body, "<f4", one["length"], at)
        at += 4 * one["length"]
    assert at == len(body)
    return header, arrays
