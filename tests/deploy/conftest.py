"""Where things are, and one directory for each test; the environment comes from `run`."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

REPO = Path(os.environ["REPO"])
DEPLOY = REPO / "deploy"
CACHE = Path(os.environ["CACHE"]) / "deploy"


def output(*command: object, **options: object) -> str:
    """What a command printed; fails with all that it said where it failed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def refuses(*command: str) -> str | None:
    """Why this machine runs no such command, if it does not: a container often may not make another."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return str(error)
    return f"this machine does not allow `{' '.join(command)}`: {done.stderr.strip()}" if done.returncode else None


def read(path: Path) -> object:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="session")
def mulberry() -> Path:
    """The binary that all suites test; it has `mulberry mock`."""
    return Path(os.environ["MULBERRY"])
