"""Compares what clients sent with what an upstream got: two logs of record.py, one on each side of a gateway.

    compare.py SENT GOT [--gateways-own REGEX]

Each request that was sent must have arrived once: the same method, target and body, byte for byte. One change
is allowed and counted apart: a streaming request may gain `stream_options.include_usage`, which the gateway needs.
Requests whose `METHOD TARGET` matches REGEX are the gateway's own to answer or to ask, and are left out on both sides.
Prints the counts; exits 1 if anything was lost, changed or invented. Prints no bodies, only targets and sizes.
"""

import argparse
import base64
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target} ({len(self.body)} bytes)"


def read(path: Path) -> list[Request]:
    requests = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = json.loads(line)
        if "unparsed" in entry:
            raise SystemExit(f"{path}:{number}: bytes that are no HTTP/1.1 request")
        requests.append(Request(entry["method"], entry["target"], base64.b64decode(entry["body"])))
    return requests


def without_usage_option(request: Request) -> tuple[str, str, str]:
    """The request as meaning, less the one member that a gateway may add."""
    body = json.loads(request.body)
    options = body.get("stream_options")
    if isinstance(options, dict):
        options.pop("include_usage", None)
        if not options:
            del body["stream_options"]
    # Member order stays significant: a gateway that rewrites a body is to be seen.
    return request.method, request.target, json.dumps(body)


def streams(request: Request) -> bool:
    try:
        body = json.loads(request.body)
    except ValueError:
        return False
    return isinstance(body, dict) and body.get("stream") is True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sent", type=Path)
    parser.add_argument("got", type=Path)
    parser.add_argument("--gateways-own", metavar="REGEX", type=re.compile)
    options = parser.parse_args()

    sent = Counter(read(options.sent))
    got = Counter(read(options.got))
    own = 0
    if options.gateways_own:
        for side in (sent, got):
            for request in [r for r in side if options.gateways_own.search(f"{r.method} {r.target}")]:
                own += side.pop(request)
    lost = sent - got
    invented = got - sent
    same = sum((sent & got).values())

    spliced = Counter(without_usage_option(request) for request in lost.elements() if streams(request))
    spliced &= Counter(without_usage_option(request) for request in invented.elements() if streams(request))
    unexplained = []
    for name, requests in (("lost or changed", lost), ("invented or changed", invented)):
        remaining = spliced.copy()
        for request in requests.elements():
            key = without_usage_option(request) if streams(request) else None
            if key is not None and remaining[key] > 0:
                remaining[key] -= 1
            else:
                unexplained.append(f"{name}: {request}")

    for line in unexplained[:20]:
        print(line)
    print(
        f"compare: {same} identical, {sum(spliced.values())} gained include_usage, "
        f"{own} the gateway's own, {len(unexplained)} differ"
    )
    if same == 0:
        print("compare: nothing identical passed; is the recorder where it should be?")
        return 1
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
