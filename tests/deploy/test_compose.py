"""compose.yaml by the schema of the Compose specification and by our own rules; its configuration by the gateway itself.

No container engine is here, so nothing of it was started. What could be wrong without one is looked at: files that are
mounted, names and ports that one service says of another, variables, rights, times.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import DEPLOY, output, read

FOLDER = DEPLOY / "compose"
COMPOSE = read(FOLDER / "compose.yaml")
SERVICES = COMPOSE["services"]
GATEWAY = read(FOLDER / "mulberry.yaml")
PROMETHEUS = read(FOLDER / "prometheus.yml")
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / ".env.example").read_text(), re.M))
every_service = pytest.mark.parametrize("name", SERVICES)


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def port(address: str) -> int:
    return int(address.rsplit(":", 1)[1].split("/")[0])


def mounts(name: str) -> list[tuple[str, str, str]]:
    return [(*volume.split(":"), "")[:3] for volume in SERVICES[name].get("volumes", [])]


def test_the_specification_is_met():
    output("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml")


def test_every_variable_is_in_the_example_and_the_example_has_no_secret():
    text = (FOLDER / "compose.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)", text))
    assert used == set(EXAMPLE)
    assert not any(EXAMPLE.values())
    # An empty one is an error that says what to do, and no empty password.
    assert len(re.findall(r"\$\{\w+:\?put ", text)) == len(re.findall(r"\$\{\w+", text))


@every_service
def test_what_is_mounted_exists(name: str):
    for source, target, mode in mounts(name):
        if source.startswith("."):
            assert mode == "ro", f"{source} is not to be written"
            # The models are the operator's to bring.
            assert source == "./models" or (FOLDER / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], source
        assert target.startswith("/")


@every_service
def test_a_service_is_confined(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged") and "network_mode" not in service and "pid" not in service


@every_service
def test_ports_are_published_on_loopback(name: str):
    for published in SERVICES[name].get("ports", []):
        assert published.startswith("127.0.0.1:"), published


def test_no_port_is_published_twice():
    published = [entry.split(":")[1] for service in SERVICES.values() for entry in service.get("ports", [])]
    assert len(published) == len(set(published)) == 4


@every_service
def test_who_is_waited_for_says_when_it_is_well(name: str):
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert SERVICES[other]["healthcheck"]["test"][0] == "CMD"


@every_service
def test_images_have_versions(name: str):
    image = SERVICES[name]["image"]
    # llama.cpp has a build a day, and no releases; the file says how to pin one.
    assert image == "ghcr.io/ggml-org/llama.cpp:server" or re.search(r":v?\d+\.\d+\.\d+$", image), image


def test_the_gateway_gets_the_time_that_its_drain_takes():
    drain = GATEWAY["drain"]
    needed = seconds(drain["delay"]) + seconds(drain["timeout"]) + 10
    assert seconds(SERVICES["mulberry"]["stop_grace_period"]) > needed


def test_the_image_builds_from_the_repository():
    assert (FOLDER / SERVICES["mulberry"]["build"]["context"] / "Dockerfile").is_file()


def test_the_engine_has_no_way_out():
    assert COMPOSE["networks"]["models"] == {"internal": True}
    assert SERVICES["llama"]["networks"] == ["models"]
    assert "ports" not in SERVICES["llama"]


def share_a_network(one: str, other: str) -> bool:
    return bool(set(SERVICES[one]["networks"]) & set(SERVICES[other]["networks"]))


def test_the_gateway_finds_the_engine():
    (backend,) = GATEWAY["backends"]
    host, at = re.fullmatch(r"http://([a-z]+):(\d+)", backend["url"]).groups()
    command = SERVICES[host]["command"]
    assert command[command.index("--port") + 1] == at
    assert share_a_network("mulberry", host)
    (route,) = GATEWAY["models"][0]["routes"]
    assert command[command.index("--alias") + 1] == route["model"]


def test_prometheus_finds_the_gateway_and_the_rules():
    (job,) = PROMETHEUS["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"mulberry:{port(GATEWAY['admin_listen'])}"]}]
    assert share_a_network("prometheus", "mulberry")
    inside = [target for _, target, _ in mounts("prometheus")]
    assert set(PROMETHEUS["rule_files"]) < set(inside)


def test_grafana_finds_prometheus_and_the_dashboard():
    (source,) = read(FOLDER / "grafana/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert share_a_network("grafana", "prometheus")
    (provider,) = read(FOLDER / "grafana/dashboards/mulberry.yaml")["providers"]
    inside = [target for _, target, _ in mounts("grafana")]
    assert f"{provider['options']['path']}/mulberry.json" in inside
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in inside


def test_the_gateway_accepts_the_configuration(mulberry: Path):
    names = set(re.findall(r"\$\{(\w+)\}", (FOLDER / "mulberry.yaml").read_text()))
    assert names == set(SERVICES["mulberry"]["environment"])
    made_up = {name: f"sk-{name}" for name in names}
    shown = output(mulberry, "check", "--config", FOLDER / "mulberry.yaml", env={**os.environ, **made_up})
    assert yaml.safe_load(shown)["keys"][0]["name"] == "first" and "sk-" not in shown
    published = [entry.split(":")[2] for entry in SERVICES["mulberry"]["ports"]]
    assert published == [str(port(GATEWAY["listen"])), str(port(GATEWAY["admin_listen"]))]
    (data,) = [target for source, target, _ in mounts("mulberry") if source == "data"]
    assert GATEWAY["data_dir"] == data


def test_prometheus_accepts_its_configuration(tmp_path: Path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    for source, target, _ in mounts("prometheus"):
        if source.endswith(".yml"):
            text = (FOLDER / source).read_text().replace("/etc/prometheus/", f"{tmp_path}/")
            (tmp_path / Path(target).name).write_text(text)
    output("promtool", "check", "config", tmp_path / "prometheus.yml")
