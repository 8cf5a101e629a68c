"""Programs in a root of their own, by bubblewrap, and programs beside them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

LIMIT_S = 30.0
T = TypeVar("T")


def until(found: Callable[[], T | None]) -> T:
    """What `found` finds, as soon as it finds something."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {LIMIT_S} s")


class Running:
    def __init__(self, command: list[str], log: Path) -> None:
        self.path = log
        self.code: int | None = None
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def log(self) -> str:
        return self.path.read_text()

    def said(self, pattern: str) -> re.Match[str]:
        """Waits for words in its log."""
        try:
            return until(lambda: re.search(pattern, self.log()))
        except AssertionError as error:
            raise AssertionError(f"'{pattern}' was never said:\n{self.log()}") from error

    def inner(self) -> int:
        """The process within: the sandbox is a chain of parents with one child each."""
        pid = self.process.pid
        while True:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                return pid
            pid = int(children[0])

    def stop(self) -> None:
        os.kill(self.inner(), signal.SIGTERM)
        self.code = self.process.wait(LIMIT_S)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT_S)


@contextmanager
def started(*command: object, log: Path) -> Iterator[Running]:
    running = Running([str(word) for word in command], log)
    try:
        yield running
    finally:
        running.end()


class Sandbox:
    """`root` read-only, one folder that may be written, a user of no rights, the network of this machine."""

    def __init__(self, root: Path, folder: Path, *, user: int, workdir: str, variables: dict[str, str]) -> None:
        self.folder, self.config, self.data = folder, folder / "config", folder / "data"
        self.config.mkdir()
        self.data.mkdir(mode=0o700)
        command = ["bwrap"]
        if os.geteuid() == 0:
            # As it will be: the user exists outside too, and owns the volume.
            os.chown(self.data, user, user)
            for path in [folder, *folder.parents, *root.parents]:
                if path.stat().st_uid == 0 and path != Path("/"):
                    path.chmod(path.stat().st_mode | 0o011)
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "bwrap"]
        self.command = [
            *command,
            *["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"],
            *["--uid", str(user), "--gid", str(user), "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"],
            *["--ro-bind", root, "/", "--ro-bind", self.config, "/etc/mulberry", "--bind", self.data, workdir],
            *["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/", "--chdir", workdir],
        ]
        for name, value in variables.items():
            self.command += ["--setenv", name, value]

    def configure(self, text: str) -> None:
        (self.config / "mulberry.yaml").write_text(text)

    @contextmanager
    def run(self, command: list[str]) -> Iterator[Running]:
        with started(*self.command, *command, log=self.folder / "gateway.log") as running:
            yield running

    def once(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        whole = [str(word) for word in [*self.command, *command]]
        return subprocess.run(whole, capture_output=True, text=True, timeout=LIMIT_S, check=False)
