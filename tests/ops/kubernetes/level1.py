"""Level 1: a real API server admits, installs, upgrades and rolls back. No pod runs."""

import json
import pathlib

import yaml

import level0
from control_plane import ControlPlane
from checks import CHART, EXAMPLES, HERE, must, once, paths, test
from level0 import ALL_VALUES, objects, template


@once
def plane() -> ControlPlane:
    plane = ControlPlane()
    plane.namespace("theatre")
    # Kinds of operators, so that their objects are judged, too.
    for path in sorted(pathlib.Path(paths()["monitoring"]).glob("*.yaml")):
        if path.stem.endswith(("_servicemonitors", "_prometheusrules")):
            plane.kubectl("create", "--filename", path)
    plane.kubectl("create", "--filename", HERE / "keda.yaml")
    for kind in ("servicemonitors.monitoring.coreos.com", "scaledobjects.keda.sh"):
        plane.kubectl("wait", "--for=condition=Established", f"crd/{kind}", "--timeout=30s")
    return plane


def dry_run(text: str, namespace: str = "theatre"):
    """What the API server would do with objects, and what it warns of."""
    return plane().kubectl(
        "create", "--dry-run=server", "--namespace", namespace, "--filename=-",
        text=text, check=False,
    )  # fmt: skip


def admitted(name: str, rendered: list) -> None:
    done = dry_run(yaml.safe_dump_all(rendered))
    must(done.returncode == 0, f"{name}: {done.stderr}")
    # Of a pod that a workload would make in vain, the server only warns.
    must("Warning" not in done.stderr, f"{name}: {done.stderr}")


@test
def the_api_server_admits_each_file_of_values_under_the_restricted_standard():
    api = template(EXAMPLES["laptop"], "--set", "api.enabled=true")
    texts = {"api": api, **{name: template(values) for name, values in ALL_VALUES.items()}}
    for name, text in texts.items():
        # A pod needs its account, which is only made for show; it has the next test.
        admitted(name, [one for one in objects(text) if one["kind"] != "Pod"])


@test
def pods_of_all_workloads_are_admitted_where_the_restricted_standard_is_enforced():
    plane().kubectl("--namespace=theatre", "create", "serviceaccount", "default", check=False)
    for name, values in ALL_VALUES.items():
        for number, spec in enumerate(level0.pods_of(objects(template(values)))):
            # Accounts are made by the release.
            spec = {**spec, "serviceAccountName": "default"}
            spec["volumes"] = [*spec["volumes"], *claims(spec)]
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}}
            admitted(f"{name}: pod {number}", [{**pod, "spec": spec}])


def claims(spec: dict) -> list:
    """Volumes that a StatefulSet would make of its claims."""
    there = {one["name"] for one in spec["volumes"]}
    return [] if "data" in there else [{"name": "data", "emptyDir": {}}]


@test
def what_breaks_the_restricted_standard_is_found():
    text = template(EXAMPLES["laptop"], "--set", "podSecurityContext.runAsNonRoot=false")
    done = dry_run(text)
    must("would violate PodSecurity" in done.stderr, f"no warning: {done.stderr}")


@test
def what_no_schema_sees_is_found():
    text = template(EXAMPLES["laptop"]).replace("name: admin", "name: administration-port")
    must(level0.kubeconform(text, "1.34").returncode == 0, "a schema sees it")
    done = dry_run(text)
    must("must be no more than 15" in done.stderr, f"admitted: {done.stdout}{done.stderr}")


def release(*arguments) -> dict:
    listed = plane().helm(
        "list", "--all", "--namespace=theatre", "--filter=^life$", "--output=json", *arguments
    )
    found = json.loads(listed.stdout)
    return found[0] if found else {}


def belongings() -> list:
    kinds = (
        "statefulsets,deployments,services,configmaps,serviceaccounts,poddisruptionbudgets,"
        "networkpolicies,cronjobs,jobs,servicemonitors,prometheusrules,scaledobjects,pods"
    )
    selector = "--selector=app.kubernetes.io/instance=life"
    return plane().get("--namespace=theatre", kinds, selector)["items"]


def template_checksum() -> str:
    pipeline = plane().get("--namespace=theatre", "statefulset", "life-theatre-pipeline")
    return pipeline["spec"]["template"]["metadata"]["annotations"]["checksum/config"]


@test
def a_release_is_installed_upgraded_rolled_back_and_uninstalled():
    # Nothing runs here, so no job would ever end.
    common = [
        "--namespace=theatre", "--no-hooks", "--values", EXAMPLES["staging"],
        "--set", "nameOverride=theatre",
    ]  # fmt: skip
    plane().helm("install", "life", CHART, *common)
    must(release().get("status") == "deployed", f"{release()}")
    first = template_checksum()
    kinds = {one["kind"] for one in belongings()}
    wanted = {"StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"}
    must(wanted | {"CronJob", "ServiceMonitor"} <= kinds, f"installed: {kinds}")

    plane().helm("upgrade", "life", CHART, *common, "--set", "config.save_interval=5s")
    must(release().get("revision") == "2", f"{release()}")
    must(template_checksum() != first, "an upgrade changes no pod")

    # Every value that may be changed in place, at once: another set of objects.
    everything = ["--namespace=theatre", "--no-hooks", "--values", level0.EVERYTHING]
    # Claims are a part of a StatefulSet that stays as it was made.
    plane().helm(
        "upgrade", "life", CHART, *everything, "--set", "pipeline.persistence.enabled=false"
    )
    kinds = {one["kind"] for one in belongings()}
    must("ScaledObject" in kinds, f"upgraded to everything: {kinds}")

    plane().helm("rollback", "life", "1", "--namespace=theatre", "--no-hooks")
    must(template_checksum() == first, "a rollback leaves the pods as they were")
    kinds = {one["kind"] for one in belongings()}
    must("ScaledObject" not in kinds, f"rolled back: {kinds}")

    plane().helm("uninstall", "life", "--namespace=theatre", "--no-hooks")
    must(not release(), "the release is still there")
    left = [f"{one['kind']} {one['metadata']['name']}" for one in belongings()]
    must(not left, f"left behind: {left}")


@test
def a_change_that_kubernetes_does_not_let_happen_fails_the_upgrade():
    common = ["--namespace=theatre", "--no-hooks", "--values", level0.EMBEDDED]
    plane().helm("install", "life", CHART, *common)
    done = plane().helm(
        "upgrade", "life", CHART, *common, "--set", "pipeline.persistence.size=20Gi", check=False
    )
    must("Forbidden: updates to statefulset spec" in done.stderr, f"{done.stdout}{done.stderr}")
    plane().helm("uninstall", "life", "--namespace=theatre", "--no-hooks")


@test
def the_rules_are_rules_for_the_operator():
    rendered = objects(template(EXAMPLES["staging"]))
    rules = [one for one in rendered if one["kind"] == "PrometheusRule"]
    chart = level0.copy_of_the_chart("bad-rules")
    (chart / "files/rules/bad.yaml").write_text(
        "groups: [{name: a, rules: [{alert: A, expr: up == 0, fro: 5m}]}]\n"
    )
    bad = template(EXAMPLES["staging"], "--show-only=templates/prometheusrule.yaml", chart=chart)
    done = dry_run(bad)
    must('unknown field "spec.groups[0].rules[0].fro"' in done.stderr, done.stderr)
    for rule in rules:
        admitted(rule["metadata"]["name"], [rule])
