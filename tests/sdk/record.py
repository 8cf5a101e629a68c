"""A TCP proxy that changes no byte and writes down every HTTP/1.1 request that passes.

    record.py --listen PORT --upstream http://HOST:PORT --log FILE

Prints `listening 127.0.0.1:PORT`; port 0 takes a free one. Appends one JSON line per complete request:
{"method": ..., "target": ..., "body": base64}, where the body is without its transfer framing, so that
a body sent with a length and one sent in chunks compare equal. Headers are not written: they hold keys.
Refuses nothing: what it cannot parse is still forwarded, and logged as {"unparsed": first bytes, base64}.
"""

import argparse
import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlsplit


class Unparsed(Exception):
    pass


class Requests:
    """Splits the bytes of one connection into requests."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, str]]:
        self._pending += data
        while (request := self._next()) is not None:
            yield request

    def _next(self) -> dict[str, str] | None:
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *fields = bytes(self._pending[:end]).split(b"\r\n")
        parts = first.split(b" ")
        if len(parts) != 3:
            raise Unparsed
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)
        }
        start = end + 4
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            found = self._chunks(start)
            if found is None:
                return None
            body, stop = found
        else:
            stop = start + _number(headers.get(b"content-length", b"0"), 10)
            if len(self._pending) < stop:
                return None
            body = bytes(self._pending[start:stop])
        del self._pending[:stop]
        return {
            "method": parts[0].decode("latin-1"),
            "target": parts[1].decode("latin-1"),
            "body": base64.b64encode(body).decode(),
        }

    def _chunks(self, at: int) -> tuple[bytes, int] | None:
        body = bytearray()
        while True:
            line = self._pending.find(b"\r\n", at)
            if line < 0:
                return None
            size = _number(bytes(self._pending[at:line]).split(b";")[0], 16)
            at = line + 2
            if size == 0:
                # Trailers, if any, end with an empty line.
                while True:
                    line = self._pending.find(b"\r\n", at)
                    if line < 0:
                        return None
                    empty, at = line == at, line + 2
                    if empty:
                        return bytes(body), at
            if len(self._pending) < at + size + 2:
                return None
            body += self._pending[at : at + size]
            at += size + 2


def _number(digits: bytes, base: int) -> int:
    try:
        return int(digits, base)
    except ValueError:
        raise Unparsed from None


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, watch=None) -> None:
    try:
        while data := await reader.read(65536):
            if watch:
                watch(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # One side is gone; the other must learn it.
        writer.transport.abort()


def watcher(log: IO[str]):
    requests: Requests | None = Requests()

    def watch(data: bytes) -> None:
        nonlocal requests
        if requests is None:
            return
        try:
            lines = list(requests.feed(data))
        except Unparsed:
            lines = [{"unparsed": base64.b64encode(data[:64]).decode()}]
            requests = None
        for line in lines:
            log.write(json.dumps(line) + "\n")
        log.flush()

    return watch


async def serve(port: int, host: str, upstream_port: int, log: IO[str]) -> None:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(host, upstream_port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, upstream_writer, watcher(log)), pump(upstream_reader, writer))
        upstream_writer.close()
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port)
    print(f"listening 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    upstream = urlsplit(options.upstream)
    if upstream.scheme != "http" or not upstream.hostname:
        parser.error("--upstream must be http://HOST:PORT")
    # The log is flushed after every request, so there is nothing to save.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with open(options.log, "a", encoding="utf-8") as log:
        try:
            asyncio.run(serve(options.listen, upstream.hostname, upstream.port or 80, log))
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
