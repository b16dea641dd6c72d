"""Compares what clients saw of their transfers with what the log says of them: every one, and nothing else.

accounts.py LEDGER LOG. A line of the ledger: account, key, what was done, exit status, and for each file its name, its
size and its SHA-256, with tabs between them. The log is in JSON lines.
"""

import json
import posixpath
import sys
from collections import Counter, defaultdict

ledger, log = sys.argv[1:]
sessions = {}
for line in open(log, encoding="ascii"):
    if line.strip():
        event = json.loads(line)
        sessions.setdefault(event["session"], []).append(event)

days = defaultdict(list)
for events in sessions.values():
    begin = events[0]
    assert begin["event"] == "begin", events
    days[begin["user"], begin["key"]].append(events)
for events in days.values():
    # A client begins when it has seen the end of the one before; its lines are in the log in that order.
    events.sort(key=lambda session: session[0]["time"])

wrong, counted, bytes_seen = [], Counter(), 0


def demand(truth, *about):
    if not truth:
        wrong.append(" ".join(map(str, about)))


def is_whole(event, name, size, digest):
    path = posixpath.normpath(event["inside"]).lstrip("/")
    return (path, event["bytes"], event.get("sha256")) == (name, int(size), digest)


for line in open(ledger, encoding="ascii"):
    user, key, what, exit_status, *files = line.rstrip("\n").split("\t")
    files = [tuple(files[at:at + 3]) for at in range(0, len(files), 3)]
    if not days[user, key]:
        demand(False, "nothing is logged of:", line)
        continue
    events = days[user, key].pop(0)
    kinds = Counter(event["event"] for event in events)
    last = events[-1]
    about = (line, json.dumps(events, indent=1))
    direction = "download" if what.startswith("get") else "upload"
    demand(all(event["user"] == user and event["key"] == key for event in events), "whose?", *about)
    demand(all(event["from"] == "127.0.0.1" and event["rule"] for event in events), "from where, why?", *about)
    demand(all(event["direction"] == direction for event in events), "direction", *about)
    demand(last["event"] in ("end", "abort"), "no end", *about)
    moved = [event for event in events if event["event"] in ("store", "send", "incomplete")]
    whole = [event for event in moved if event["event"] in ("store", "send")]
    if exit_status == "0":
        counted["succeeded"] += 1
        demand(last["event"] == "end" and last["result"] == "ok", "the client succeeded", *about)
        demand(kinds["refuse"] == kinds["security"] == 0, "refused, but the client succeeded", *about)
        demand(len(whole) == len(moved) == len(files), "not as many files as the client saw", *about)
        for name, size, digest in files:
            demand(sum(is_whole(event, name, size, digest) for event in whole) == 1, "not once:", name, *about)
            bytes_seen += int(size)
    elif what == "cut":
        counted["cut"] += 1
        demand(not whole, "whole, but it was cut", *about)
        demand(last["result"] == "failed" or kinds["refuse"] or kinds["abort"], "cut", *about)
        if kinds["incomplete"]:
            demand(moved[0]["bytes"] <= int(files[0][1]), "more than was sent", *about)
    else:
        counted["refused"] += 1
        demand(not whole, "whole, but the client failed", *about)
        demand(kinds["refuse"] or kinds["abort"], "the client failed, and nobody says why", *about)
        reasons = [event.get("reason") for event in events if event["event"] in ("refuse", "abort")]
        demand(all(reasons), "no reason", *about)

for (user, key), rest in days.items():
    demand(not rest, "the log knows more than the clients of", user, key, rest[:1])
total = sum(counted.values())
print(f"{total} transfers: {counted['succeeded']} succeeded ({bytes_seen} bytes), {counted['refused']} refused, "
      f"{counted['cut']} cut; {sum(map(len, sessions.values()))} events of {len(sessions)} sessions; {len(wrong)} differ")
for text in wrong[:5]:
    print(text)
sys.exit(1 if wrong or total != 1000 else 0)
