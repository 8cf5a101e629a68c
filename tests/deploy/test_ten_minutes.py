"""The section "Ten minutes" of docs/operating.md, typed line by line by a new operator.

He has a machine to himself (a network namespace and a home of his own), the binary that was built, and real llama.cpp:
`llama-server` is a program here that serves the tests' tiny models with it, under the flags that the section uses.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO, refuses

SECTION = re.search(r"^## Ten minutes\n(.*?)^## ", (REPO / "docs/operating.md").read_text(), re.S | re.M)[1]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", SECTION, re.S | re.M)
LLAMA = f"""#!/bin/sh
# llama-server --model FILE.gguf --alias NAME --port PORT
exec {sys.executable} {REPO}/tests/upstreams/serve.py --model "$(basename "$2" .gguf)" --alias "$4" --port "$6" >"$HOME/$4.log" 2>&1
"""


class Typed:
    def __init__(self, folder: Path, mulberry: Path) -> None:
        tools = folder / "tools"
        tools.mkdir()
        for name, text in [("llama-server", LLAMA), ("cargo", "#!/bin/sh\necho \"cargo $*\"\n")]:
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        # The one thing that is not done again: compiling. What it would have made is where it would be.
        (folder / "target/release").mkdir(parents=True)
        (folder / "target/release/mulberry").symlink_to(mulberry)
        script = ["set -e"]
        for number, block in enumerate(BLOCKS):
            script += [f"echo; echo '== {number}'", block, "echo '== end'"]
            if "mulberry.yaml" in block and "sed" in block:
                script.append(AFTERWARDS)
        script.append("kill $(jobs -p); wait")
        home = {"HOME": str(folder), "PATH": f"{tools}:/usr/bin:/bin", "TMPDIR": str(folder)}
        command = ["bwrap", "--dev-bind", "/", "/", "--unshare-net", "--unshare-pid", "--proc", "/proc", "--die-with-parent", "bash"]
        begin = time.monotonic()
        done = subprocess.run(command, input="\n".join(script), capture_output=True, text=True, timeout=300, cwd=folder, env=home, check=False)
        self.seconds = time.monotonic() - begin
        self.log = (folder / "mulberry/mulberry.log").read_text() if (folder / "mulberry/mulberry.log").exists() else ""
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.log}"
        found = re.findall(r"^== (\w+)\n(.*?)(?=^== )", done.stdout + "== \n", re.S | re.M)
        self.said = {name: text for name, text in found if name != "end"}
        self.errors = done.stderr

    def block(self, holding: str) -> str:
        (number,) = [number for number, block in enumerate(BLOCKS) if holding in block]
        return self.said[str(number)]


# What the section says happens, looked at from the same shell.
AFTERWARDS = r"""
code() { curl -sS -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8080/v1/models -H "authorization: Bearer $1"; }
echo '== revoked'; code "$NIGHTLY"
echo '== alice'; code "$ALICE"
echo '== nobody'; code sk-nobody
for i in $(seq 50); do
  curl -sS http://127.0.0.1:8080/v1/models -H "authorization: Bearer $ALICE" >models.json
  if grep -q little models.json; then break; fi
  sleep 0.1
done
echo '== models'; cat models.json; echo
# A record is on disk some 50 ms after its answer.
echo '== usage'; for i in $(seq 50); do if mulberry usage --by key | grep nightly; then mulberry usage --by key; break; fi; sleep 0.1; done
echo '== console'; curl -sSL http://127.0.0.1:9090/ | head -c 300; echo
echo '== status'; curl -sS http://127.0.0.1:9090/admin/v1/status -H "authorization: Bearer $(cat mulberry-data/admin.token)"
echo
"""


@pytest.fixture(scope="module")
def typed(mulberry: Path, tmp_path_factory: pytest.TempPathFactory) -> Typed:
    pytest.importorskip("xllamacpp", reason="the tests' environment has no llama.cpp; run tests/setup/venv")
    if reason := refuses("bwrap", "--dev-bind", "/", "/", "--unshare-net", "--unshare-pid", "--proc", "/proc", "true"):
        pytest.skip(reason)
    return Typed(tmp_path_factory.mktemp("operator"), mulberry)


def test_the_section_has_its_steps():
    assert len(BLOCKS) == 8


def test_it_takes_less_than_ten_minutes(typed: Typed):
    print(f"typed in {typed.seconds:.1f} s")
    assert typed.seconds < 300


def test_the_file_is_right(typed: Typed):
    assert "queue_timeout: 10s" in typed.block("mulberry check"), "no default is shown"


def test_three_keys_are_made_and_listed(typed: Typed):
    listed = typed.block("mulberry key list")
    for name in ["alice", "bob", "nightly"]:
        assert re.search(rf"^{name}\b", listed, re.M), listed
    assert "sk-" not in listed


def test_both_models_answer(typed: Typed):
    said = typed.block("/v1/chat/completions")
    # Bob may see one model. The three answers follow each other with no line between.
    models, end = json.JSONDecoder().raw_decode(said.strip())
    assert [model["id"] for model in models["data"]] == ["small"]
    rest = said.strip()[end:].lstrip()
    answer, end = json.JSONDecoder().raw_decode(rest)
    assert answer["choices"][0]["finish_reason"] in {"stop", "length"}
    assert "data: [DONE]" in rest
    for name in ["alice", "nightly"]:
        assert re.search(rf"^{name} +1 +0 ", typed.said["usage"], re.M), typed.said["usage"]


def test_the_console_is_there(typed: Typed):
    token = typed.block("admin.token").strip()
    assert re.fullmatch(r"\S{20,}", token)
    assert "<!doctype html>" in typed.said["console"].lower()
    status = json.loads(typed.said["status"])
    assert status["phase"] == "serving"


def test_changes_are_in_force(typed: Typed):
    assert typed.said["revoked"].strip() == "401"
    assert typed.said["alice"].strip() == "200"
    assert typed.said["nobody"].strip() == "401"
    assert {model["id"] for model in json.loads(typed.said["models"])["data"]} == {"little", "large"}


def test_the_log_has_no_key_and_no_prompt(typed: Typed):
    assert "listening" in typed.log
    assert "Hello!" not in typed.log and "sk-mb-" not in typed.log
