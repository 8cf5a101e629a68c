"""The chart, linted and rendered by helm, its objects by the schemas of Kubernetes, its configuration by the gateway.

No cluster is here, so nothing of it was installed.
"""

import copy
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from conftest import DEPLOY, REPO, output, read

CHART = DEPLOY / "helm/mulberry"
HELM = os.environ["HELM"]
CASES = {"defaults": {}, **{path.name.removesuffix("-values.yaml"): read(path) for path in sorted((CHART / "ci").iterdir())}}
every_case = pytest.mark.parametrize("case", CASES)
# From the oldest that Chart.yaml admits to the newest whose schemas are known here.
VERSIONS = ["1.27", "1.31", "1.34", "1.37"]


def helm(values: dict, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *command, CHART, "--values", "-"], input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False)


def rendered(values: dict, version: str = "1.31.0") -> list[dict]:
    done = helm(values, "template", "release", "--namespace", "space", "--kube-version", version)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def merged(base: dict, more: dict) -> dict:
    whole = copy.deepcopy(base)
    for key, value in more.items():
        whole[key] = merged(whole[key], value) if isinstance(value, dict) and isinstance(whole.get(key), dict) else value
    return whole


def one(objects: list[dict], *kinds: str) -> dict:
    (found,) = [thing for thing in objects if thing["kind"] in kinds]
    return found


def workload(objects: list[dict]) -> dict:
    return one(objects, "StatefulSet", "Deployment")


def pod(objects: list[dict]) -> dict:
    return workload(objects)["spec"]["template"]


def container(objects: list[dict]) -> dict:
    (found,) = pod(objects)["spec"]["containers"]
    return found


def service(objects: list[dict], component: str) -> dict:
    (found,) = [thing for thing in objects if thing["kind"] == "Service" and thing["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    return found


def selects(selector: dict, labels: dict) -> bool:
    return bool(selector) and selector.items() <= labels.items()


@every_case
def test_lint_finds_nothing(case: str, tmp_path: Path):
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps(CASES[case]))
    said = output(HELM, "lint", "--strict", CHART, "--values", values)
    assert not re.search(r"\[(WARNING|ERROR)\]", said), said


@every_case
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(case: str, version: str):
    # Objects of the Prometheus operator have a schema of their own, which is not here; see below for those.
    ours = [thing for thing in rendered(CASES[case], f"{version}.0") if not thing["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(ours) >= 6
    for thing in ours:
        kubernetes_validate.validate(thing, version, strict=True)


def test_versions_are_one():
    version = tomllib.loads((REPO / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert read(CHART / "Chart.yaml")["appVersion"] == version
    assert container(rendered({}))["image"] == f"mulberry:{version}"


# Without values there is no backend, which the notes say and the gateway refuses.
@pytest.mark.parametrize("case", CASES.keys() - {"defaults"})
def test_the_gateway_accepts_the_configuration(case: str, mulberry: Path, tmp_path: Path):
    text = one([thing for thing in rendered(CASES[case]) if "mulberry.yaml" in thing.get("data", {})], "ConfigMap")["data"]["mulberry.yaml"]
    # What volumes would bring lies here instead.
    for folder in ["/etc/mulberry-tls", "/etc/mulberry-secrets"]:
        text = text.replace(folder, f"{tmp_path}{folder}")
    for path in re.findall(rf"{tmp_path}/[\w./-]+", text):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("content")
    file = tmp_path / "mulberry.yaml"
    file.write_text(text)
    variables = {name: f"sk-{name}" for name in re.findall(r"\$\{(\w+)\}", text)}
    shown = output(mulberry, "check", "--config", file, env={**os.environ, **variables})
    understood = yaml.safe_load(shown)
    assert (understood["listen"], understood["data_dir"]) == ("0.0.0.0:8080", "/var/lib/mulberry")


def test_large_numbers_stay_numbers():
    # Values pass through floating point on their way.
    limits = {"requests_per_minute": 12000000, "tokens_per_minute": 200000000}
    objects = rendered({"config": {"keys": [{"name": "a", "limits": limits}]}})
    text = one(objects, "ConfigMap")["data"]["mulberry.yaml"]
    assert yaml.safe_load(text)["keys"][0]["limits"] == limits
    assert "e+" not in text


@every_case
def test_the_pod_has_no_rights(case: str):
    spec = pod(rendered(CASES[case]))["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    (only,) = spec["containers"]
    assert only["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert only["resources"]["requests"] and only["resources"]["limits"]["memory"]


@every_case
def test_names_within_the_pod_meet(case: str):
    objects = rendered(CASES[case])
    spec = pod(objects)["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]} | {claim["metadata"]["name"] for claim in workload(objects)["spec"].get("volumeClaimTemplates", [])}
    mounts = container(objects)["volumeMounts"]
    assert {mount["name"] for mount in mounts} == volumes
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
    # With a subPath a changed ConfigMap never arrives; the folder's links are swapped, and the gateway sees that.
    assert not any("subPath" in mount for mount in mounts)
    assert all(mount.get("readOnly") for mount in mounts if mount["name"] != "data")
    ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
    assert ports == {"api": 8080, "admin": 9090}
    for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        assert container(objects)[probe]["httpGet"] == {"path": path, "port": "admin"}


@every_case
def test_services_and_selectors_meet_the_pod(case: str):
    objects = rendered(CASES[case])
    labels = pod(objects)["metadata"]["labels"]
    assert selects(workload(objects)["spec"]["selector"]["matchLabels"], labels)
    for component, port in [("api", "api"), ("admin", "admin")]:
        found = service(objects, component)
        assert selects(found["spec"]["selector"], labels)
        assert [entry["targetPort"] for entry in found["spec"]["ports"]] == [port]
    for constraint in pod(objects)["spec"]["topologySpreadConstraints"]:
        assert selects(constraint["labelSelector"]["matchLabels"], labels)
    assert service(objects, "admin")["spec"]["clusterIP"] == "None"
    if workload(objects)["kind"] == "StatefulSet":
        assert workload(objects)["spec"]["serviceName"] == service(objects, "admin")["metadata"]["name"]


@pytest.mark.parametrize(
    ("drain", "margin", "expect"),
    [
        ({"delay": "5s", "timeout": "60s"}, 10, 75),
        ({"delay": "0s", "timeout": "2m"}, 10, 130),
        ({"delay": "1500ms", "timeout": "30s"}, 5, 37),
        ({"delay": "1s", "timeout": "1h"}, 20, 3621),
        # The chart's own.
        ({}, 10, 75),
    ],
)
def test_a_pod_has_the_time_that_its_drain_takes(drain: dict, margin: int, expect: int):
    objects = rendered({"config": {"drain": drain}, "terminationMargin": margin})
    assert pod(objects)["spec"]["terminationGracePeriodSeconds"] == expect


def test_a_drain_is_noticed_before_it_closes():
    objects = rendered({})
    probe = container(objects)["readinessProbe"]
    config = yaml.safe_load(one(objects, "ConfigMap")["data"]["mulberry.yaml"])
    assert probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] < int(config["drain"]["delay"].removesuffix("s"))


def test_only_what_needs_a_restart_makes_one():
    def template(config: dict) -> dict:
        return pod(rendered(merged(CASES["plain"], {"config": config})))

    before = template({})
    assert template({"models": []}) == before
    assert template({"keys": []}) == before
    assert template({"log": {"format": "json", "level": "debug"}}) != before
    assert template({"limits": {"connections": 4000}}) != before


def test_a_disk_makes_it_a_stateful_set():
    with_disk, without = rendered({}), rendered({"persistence": {"enabled": False}})
    assert workload(with_disk)["kind"] == "StatefulSet"
    assert workload(without)["kind"] == "Deployment"
    assert {"name": "data", "emptyDir": {}} in pod(without)["spec"]["volumes"]
    assert workload(without)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("values", "has_one"),
    [
        ({"replicas": 1}, False),
        ({"replicas": 2}, True),
        ({"replicas": 2, "podDisruptionBudget": {"enabled": False}}, False),
        ({"autoscaling": {"enabled": True}}, True),
        ({"autoscaling": {"enabled": True, "minReplicas": 1}}, False),
    ],
)
def test_a_budget_is_only_where_there_is_another(values: dict, has_one: bool):
    budgets = [thing for thing in rendered(values) if thing["kind"] == "PodDisruptionBudget"]
    assert bool(budgets) is has_one


def test_the_autoscaler_scales_what_there_is():
    for persistent in [True, False]:
        objects = rendered({"autoscaling": {"enabled": True}, "persistence": {"enabled": persistent}})
        target = one(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (workload(objects)["kind"], workload(objects)["metadata"]["name"])
        # Or each upgrade would fight with it.
        assert "replicas" not in workload(objects)["spec"]


def rules(values: dict) -> dict[str, object]:
    spec = one(rendered(values), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    return {port["port"]: rule.get("from") for rule in spec["ingress"] for port in rule["ports"]}


def test_the_admin_port_is_closed_but_to_those_named():
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert rules({}) == {"api": None, "admin": monitoring}
    # An empty list must not become a rule without `from`, which would let everybody in.
    assert rules({"networkPolicy": {"operators": []}}) == {"api": None}
    team = [{"podSelector": {"matchLabels": {"team": "search"}}}]
    assert rules({"networkPolicy": {"clients": team}})["api"] == team


def test_prometheus_finds_each_gateway():
    objects = rendered({"serviceMonitor": {"enabled": True, "labels": {"release": "p"}}})
    monitor = one(objects, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert selects(monitor["spec"]["selector"]["matchLabels"], service(objects, "admin")["metadata"]["labels"])
    assert not selects(monitor["spec"]["selector"]["matchLabels"], service(objects, "api")["metadata"]["labels"])
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service(objects, "admin")["spec"]["ports"]]
    assert endpoint["path"] == "/metrics"
    (down,) = [rule for rule in read(DEPLOY / "prometheus/alerts.yml")["groups"][0]["rules"] if rule["expr"].startswith("up{")]
    job = service(objects, "admin")["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert re.fullmatch(re.search(r'job=~"(.*?)"', down["expr"])[1], job)


def test_the_dashboard_and_the_alerts_are_those_of_the_repository():
    objects = rendered({"dashboard": {"enabled": True}, "prometheusRule": {"enabled": True}})
    (dashboard,) = [thing for thing in objects if thing["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert json.loads(dashboard["data"]["mulberry.json"]) == json.loads((DEPLOY / "grafana/mulberry.json").read_text())
    assert one(objects, "PrometheusRule")["spec"] == read(DEPLOY / "prometheus/alerts.yml")


def test_tls_comes_from_a_secret():
    objects = rendered(CASES["wide"])
    config = yaml.safe_load(one([thing for thing in objects if "mulberry.yaml" in thing.get("data", {})], "ConfigMap")["data"]["mulberry.yaml"])
    mounts = {mount["mountPath"]: mount["name"] for mount in container(objects)["volumeMounts"]}
    (volume,) = [volume for volume in pod(objects)["spec"]["volumes"] if volume["name"] == mounts["/etc/mulberry-tls"]]
    assert volume["secret"]["secretName"] == "gateway-tls"
    # The names that a Secret of type kubernetes.io/tls has.
    assert config["tls"] == {"certificate": "/etc/mulberry-tls/tls.crt", "key": "/etc/mulberry-tls/tls.key"}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"replica": 2}, "replica"),
        ({"config": {"listen": "0.0.0.0:80"}}, "config.listen"),
        ({"config": {"data_dir": "/data"}}, "config.data_dir"),
        ({"config": {"drain": {"timeout": "60"}}}, "config.drain.timeout"),
        ({"config": {"drain": {"timeout": 60}}}, "config.drain.timeout"),
        ({"terminationMargin": 0}, "terminationMargin"),
        ({"image": {"digest": "sha256:abc"}}, "image.digest"),
        ({"env": {"not a name": "x"}}, "env"),
        ({"env": {"PORT": 8080}}, "env.PORT"),
        ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "persistence.accessModes"),
        ({"ingress": {"enabled": True}}, "ingress"),
        ({"service": {"type": "ExternalName"}}, "service.type"),
        ({"networkPolicy": {"operators": [{}]}}, "networkPolicy.operators"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict, names: str):
    refused = helm(values, "template", "release", "--kube-version", "1.31.0")
    assert refused.returncode != 0
    assert names in refused.stderr, refused.stderr


def test_every_value_has_a_rule():
    def undescribed(value: object, rule: dict, at: str) -> list[str]:
        if not isinstance(value, dict) or "properties" not in rule:
            return []
        found = [f"{at}.{key}" for key in value if key not in rule["properties"] and rule.get("additionalProperties") is not True]
        return found + [name for key in value for name in undescribed(value[key], rule["properties"].get(key) or {}, f"{at}.{key}")]

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert undescribed(read(CHART / "values.yaml"), schema, "") == []
