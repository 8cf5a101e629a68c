"""The Dockerfile and its context, read as a builder reads them, for the forms that we use."""

import json
import re
import shutil
from pathlib import Path


def stages(text: str) -> list[list[tuple[str, str]]]:
    """For each FROM, its instructions in order; the first list has what stands before any FROM."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[list[tuple[str, str]]] = [[]]
    for line in filter(str.strip, joined.splitlines()):
        name, rest = line.strip().split(None, 1)
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def values(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def words(rest: str) -> list[str]:
    """The words of an instruction in exec form."""
    start = rest.index("[")
    return json.loads(rest[start:])


class Ignore:
    """A .dockerignore: the last pattern that matches a path, or a folder above it, decides."""

    def __init__(self, text: str) -> None:
        self.rules = []
        for line in text.splitlines():
            line = line.strip()
            if line and not line.startswith("#"):
                self.rules.append((line.startswith("!"), pattern(line.lstrip("!").strip("/"))))

    def takes(self, path: str) -> bool:
        is_taken = True
        for takes, rule in self.rules:
            if rule.match(path):
                is_taken = takes
        return is_taken


def pattern(text: str) -> re.Pattern[str]:
    parts = []
    for part in text.split("/"):
        parts.append("(?:.*/)?" if part == "**" else re.escape(part).replace(r"\*", "[^/]*") + "/")
    return re.compile("".join(parts).rstrip("/") + "(?:/.*)?$")


def context(repo: Path, to: Path) -> list[str]:
    """Makes `to` what a builder would be sent, with the times of the files, and names them."""
    ignore = Ignore((repo / ".dockerignore").read_text())
    sent: set[str] = set()
    # A builder walks too, but into folders of gigabytes that nothing is taken from.
    tops = [top for top in repo.iterdir() if top.name not in {"target", ".git"}]
    for top in tops:
        for path in [top] if top.is_file() else walk(top, ignore, repo):
            name = path.relative_to(repo).as_posix()
            if path.is_file() and ignore.takes(name):
                sent.add(name)
    for path in sorted(to.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(to).as_posix() not in sent:
            path.unlink()
    for name in sent:
        source, target = repo / name, to / name
        if not target.exists() or target.stat().st_mtime_ns != source.stat().st_mtime_ns:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return sorted(sent)


def walk(folder: Path, ignore: Ignore, repo: Path):
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            # Of our patterns none takes anything back below a folder that is left out.
            if ignore.takes(path.relative_to(repo).as_posix()):
                yield from walk(path, ignore, repo)
        else:
            yield path
