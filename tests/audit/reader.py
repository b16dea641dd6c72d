"""Reads a log as other programs do, and prints each event on a line: `key=hex key=hex ...`, the hex of the value's bytes.

Usage: reader.py FORMAT LOG DOCUMENT. Fails at the first line that is not as the document says.
"""

import datetime
import json
import re
import sys

FORMAT, LOG, DOCUMENT = sys.argv[1:]
TYPES = {"string": str, "number": (int, float), "boolean": bool, "array": list}


def schema():
    """The document's keys, and the type of each."""
    rows = re.findall(r"^\| (`\w+`(?:, \.\.\.)?) \| (\w+) \|", open(DOCUMENT).read(), re.M)
    return {key.split("`")[1]: TYPES[kind] for key, kind in rows if kind in TYPES}


def once(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key comes twice: {keys}"
    return dict(pairs)


def from_json(line):
    event = json.loads(line, object_pairs_hook=once)
    types = schema()
    for key, value in event.items():
        kind = types.get(key.removesuffix("_hex"))
        assert kind, f"the document has no {key}"
        assert isinstance(value, kind) and isinstance(value, bool) == (kind is bool), f"{key}: {value!r}"
    when = datetime.datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()) < 600, event["time"]
    for key in list(event):
        if f"{key}_hex" in event:
            event[key] = bytes.fromhex(event.pop(f"{key}_hex"))
    return event


def unescape(text):
    """Turns an escaped text back into bytes."""
    plain = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\", '"': b'"'}

    def character(match):
        kind = match[1]
        if kind[0] == "x":
            return bytes([int(kind[1:], 16)])
        return chr(int(kind[2:-1], 16)).encode() if kind[0] == "u" else plain[kind]

    parts = re.split(r"(\\(?:x[0-9a-f]{2}|u\{[0-9a-f]+\}|.))", text)
    return b"".join(
        character(re.fullmatch(r"\\(.*)", part)) if part.startswith("\\") else part.encode() for part in parts
    )


def from_pairs(text):
    pair = r'(\w+)=("(?:[^"\\]|\\.)*"|[^" ]+)'
    assert re.fullmatch(f"{pair}(?: {pair})*", text), text
    found = re.findall(pair, text)
    return once([(key, unescape(value[1:-1]) if value[0] == '"' else value) for key, value in found])


def from_line(line):
    head = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) scp-server\[(\d+)\]: (.*)"
    time, pid, rest = re.fullmatch(head, line).groups()
    return {"time": time, "pid": pid, **from_pairs(rest)}


def from_xferlog(line):
    words = line.split()
    assert len(words) == 18 and re.split(" +", line) == words, words
    datetime.datetime.strptime(" ".join(words[:5]), "%a %b %d %H:%M:%S %Y")
    keys = "seconds from bytes path type action direction access user protocol method id status".split()
    event = dict(zip(keys, words[5:]))
    return {**event, "path": unescape(event["path"]), "user": unescape(event["user"])}


def as_bytes(value):
    if isinstance(value, bool):
        return b"yes" if value else b"no"
    if isinstance(value, list):
        return ",".join(value).encode()
    return value if isinstance(value, bytes) else str(value).encode()


read = {"json": from_json, "line": from_line, "pairs": from_pairs, "xferlog": from_xferlog}[FORMAT]
for line in open(LOG, "rb").read().decode().split("\n"):
    if line:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", line), repr(line)
        event = read(line)
        print(" ".join(f"{key}={as_bytes(value).hex()}" for key, value in event.items()))
