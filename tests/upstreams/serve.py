"""Serves one tiny model with a real llama.cpp server on 127.0.0.1 until it is signalled.

    serve.py --model chat|tool|embedding --port N [--api-key K] [--slots N]

Prints `listening 127.0.0.1:PORT` once `/health` answers 200. Port 0 takes a free port.
Exits 1 if the server does not get healthy, e.g. because the port is taken.
"""

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import models
import xllamacpp

CONTEXT_PER_SLOT = 2048
START_LIMIT_S = 30
ATTEMPTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(models.MODELS), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", help="refuse requests without this key (401)")
    parser.add_argument("--slots", type=int, default=4, help="requests served at once")
    parser.add_argument("--alias", help="the model's name on the wire; default: tiny-MODEL")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="mulberry-upstream-") as folder:
        path = Path(folder) / f"{options.model}.gguf"
        models.write(options.model, path)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        # Somebody may take a free port before llama.cpp does.
        for left in reversed(range(1 if options.port else ATTEMPTS)):
            port = options.port or free_port()
            try:
                server = xllamacpp.Server(parameters(path, port, options))
                break
            except RuntimeError as refused:
                print(f"llama.cpp did not start on 127.0.0.1:{port}: {refused}", file=sys.stderr)
                if not left:
                    return 1
        if not healthy(port):
            print(f"no /health from 127.0.0.1:{port} within {START_LIMIT_S} s", file=sys.stderr)
            return 1
        print(f"listening 127.0.0.1:{port}", flush=True)
        try:
            while True:
                signal.pause()
        except (KeyboardInterrupt, SystemExit):
            pass
    # The server's own threads have no orderly end that is quick; nothing is left to lose.
    del server
    os._exit(0)


def parameters(path: Path, port: int, options: argparse.Namespace) -> xllamacpp.CommonParams:
    p = xllamacpp.CommonParams()
    p.model.path = str(path)
    # A set: a plain string would be taken for a set of its letters.
    p.model_alias = {options.alias or f"tiny-{options.model}"}
    p.hostnames = ["127.0.0.1"]
    p.port = port
    p.n_parallel = options.slots
    p.n_ctx = CONTEXT_PER_SLOT * options.slots
    p.cpuparams.n_threads = 1
    p.cpuparams_batch.n_threads = 1
    p.n_threads_http = max(16, options.slots + 4)
    p.endpoint_metrics = True
    p.endpoint_slots = True
    p.endpoint_props = True
    p.use_jinja = True
    p.warmup = False
    p.offline = True
    p.verbosity = int(os.environ.get("UPSTREAM_VERBOSITY", "0"))
    if options.api_key:
        p.api_keys = [options.api_key]
    if options.model == "embedding":
        p.embedding = True
        # The mean came out mixed when several inputs shared a batch; the last token's vector does not.
        p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    return p


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def healthy(port: int) -> bool:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
