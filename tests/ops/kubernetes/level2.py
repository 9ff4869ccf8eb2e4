"""Level 2: pods of the chart run on a real node, beside Kafka and PostgreSQL.

The tests stand on each other, in this order: what one has installed, the next one uses.
"""

import collections
import functools
import json
import os
import re
import secrets
import signal
import threading
import time
import urllib.error
import urllib.request

from checks import CHART, EXAMPLES, HERE, Failed, eventually, log, must, once, test, work
from node import THEATRE, Node

PODS = [f"theatre-pipeline-{number}" for number in range(3)]
PARTITIONS = 6
ALERTS = "surgical.maintenance.alerts.v1"


@once
def node() -> Node:
    return Node()


def kubectl(*arguments, **options):
    return node().plane.kubectl("--namespace=theatre", *arguments, **options)


def values() -> list:
    """The laptop's values, with three processes that share six partitions."""
    repository, tag = THEATRE.split(":")
    settings = [
        f"image.repository={repository}", f"image.tag={tag}", "pipeline.replicas=3",
        f"config.partitions={PARTITIONS}", "config.log.url=kafka://kafka.servers:9092",
        "config.log.session_timeout=60s", "config.save_interval=2s", "config.reorder_bound=1s",
        "config.store.url=postgres://theatre@postgres.servers:5432/theatre",
        "pipeline.podDisruptionBudget.enabled=true", "pipeline.minReadySeconds=2",
        "pipeline.resources.requests.cpu=50m", "networkPolicy.enabled=true",
        "reconcile.enabled=true", "reconcile.resources.requests.cpu=50m",
        "api.enabled=true", "api.replicas=1", "api.resources.requests.cpu=50m",
    ]  # fmt: skip
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["--namespace=theatre", "--values", EXAMPLES["laptop"], *sets]


def pod(name: str) -> dict:
    return node().plane.get("--namespace=theatre", "pod", name)


def is_ready(name: str) -> bool:
    found = node().plane.raw(f"/api/v1/namespaces/theatre/pods/{name}")
    conditions = json.loads(found)["status"].get("conditions", []) if found else []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def with_reasons(namespace: str, act):
    """Does something; where it fails, what the pods of a namespace say is said, too."""
    try:
        return act()
    except Failed as error:
        there = functools.partial(
            node().plane.kubectl, f"--namespace={namespace}", check=False
        )
        said = [str(error), there("get", "pods,jobs").stdout]
        said.append(there("get", "events", "--sort-by=.lastTimestamp").stdout[-3000:])
        for one in there("get", "pods", "--output=name").stdout.split():
            logs = there("logs", one, "--all-containers", "--tail=15")
            said.append(f"{one}: {logs.stdout}{logs.stderr}")
        raise Failed("\n".join(said)) from error


def wait_until_ready(seconds: float = 180) -> None:
    with_reasons(
        "theatre",
        lambda: eventually(
            f"{PODS} are ready", lambda: all(is_ready(name) for name in PODS), seconds
        ),
    )


def metrics(name: str) -> str:
    """What a pod's admin port says, by way of the API server; nothing while it does not answer."""
    return node().plane.raw(f"/api/v1/namespaces/theatre/pods/{name}:9464/proxy/metrics") or ""


def owned(text: str) -> set:
    found = re.findall(r'^theatre_partition_owned\{.*partition="(\d+)".*\} 1$', text, re.MULTILINE)
    return {int(number) for number in found}


def rebalances(text: str) -> dict:
    found = re.findall(
        r'^theatre_kafka_rebalances_total\{.*what="(\w+)".*\} (\d+)$', text, re.MULTILINE
    )
    return {what: int(count) for what, count in found}


def owners() -> dict:
    return {name: owned(metrics(name)) for name in PODS}


def settled() -> dict:
    """Who owns what, once each pod has its share and it stays so for some seconds."""
    held = {}

    def look():
        nonlocal held
        found = owners()
        complete = sorted(one for parts in found.values() for one in parts) == [*range(PARTITIONS)]
        shared = all(len(parts) == PARTITIONS // len(PODS) for parts in found.values())
        if not (complete and shared):
            held = {}
            return None
        if held.get("owners") != found:
            held = {"owners": found, "since": time.monotonic()}
        return found if time.monotonic() - held["since"] > 5 else None

    try:
        return eventually("each pod has its share of the partitions", look, 120, 1)
    except Failed as error:
        raise Failed(f"{error}; it is {owners()}") from error


def start_servers() -> None:
    servers = functools.partial(node().plane.kubectl, "--namespace=servers")
    servers("apply", "--filename", HERE / "servers.yaml")
    for name in ("kafka", "postgres"):
        with_reasons(
            "servers",
            lambda name=name: servers(
                "rollout", "status", f"deployment/{name}", "--timeout=150s", timeout=180
            ),
        )


@test
def the_node_runs_kafka_and_postgresql():
    node().plane.namespace("servers", "privileged")
    node().plane.namespace("theatre")
    start_servers()


@test
def a_release_whose_secrets_are_not_there_says_which():
    done = node().plane.helm(
        "install", "theatre", CHART, *values(), "--set", "jobs.activeDeadlineSeconds=8",
        "--timeout=40s", check=False, timeout=90,
    )  # fmt: skip
    must(done.returncode != 0, "installed without secrets")
    events = kubectl("get", "events", "--output=jsonpath={.items[*].message}").stdout
    must('secret "theatre-pseudonym" not found' in events, events)
    node().plane.helm("uninstall", "theatre", "--namespace=theatre")


def install() -> None:
    with_reasons(
        "theatre",
        lambda: node().plane.helm(
            "install", "theatre", CHART, *values(), "--timeout=4m", timeout=260
        ),
    )


@test
def three_pods_of_the_chart_are_installed_and_share_the_partitions():
    key = work() / "pseudonym.key"
    key.write_bytes(secrets.token_bytes(32))
    kubectl("create", "secret", "generic", "theatre-pseudonym", f"--from-file={key}")
    kubectl("create", "secret", "generic", "theatre-store", "--from-literal=password=of-the-tests")
    started = time.monotonic()
    install()
    log(f"jobs and objects: {time.monotonic() - started:.0f} s")
    wait_until_ready()
    log(f"three pods ready: {time.monotonic() - started:.0f} s after the beginning")
    jobs = node().plane.get("--namespace=theatre", "jobs")["items"]
    must(not jobs, "jobs that succeeded are still there")
    shares = settled()
    log(f"partitions: {shares}")
    for name in PODS:
        named = pod(name)["spec"]["containers"][0]["env"]
        must(any(one["name"] == "THEATRE__LOG__GROUP_INSTANCE_ID" for one in named), f"{named}")


@test
def helm_test_passes_and_tells_a_release_that_is_not_well():
    helm = node().plane.helm
    helm("test", "theatre", "--namespace=theatre", "--logs", "--timeout=90s", timeout=120)
    # PostgreSQL away: the test has to fail.
    servers = ("--namespace=servers",)
    node().plane.kubectl(*servers, "scale", "deployment/postgres", "--replicas=0")
    eventually(
        "PostgreSQL is away",
        lambda: not node().plane.get(*servers, "pods", "--selector=app=postgres")["items"],
    )
    done = helm(
        "test", "theatre", "--namespace=theatre", "--timeout=60s", check=False, timeout=90
    )
    must(done.returncode != 0, "helm test passes without PostgreSQL")
    # Its volume is gone with it: what the store knows is made anew, and so is the release.
    node().plane.kubectl(*servers, "delete", "--filename", HERE / "servers.yaml", "--wait=true")
    helm("uninstall", "theatre", "--namespace=theatre", "--wait", "--timeout=150s", timeout=180)
    start_servers()
    install()
    wait_until_ready()
    settled()


@test
def an_alert_reaches_a_consumer_that_reads_what_is_committed():
    kubectl("apply", "--filename", HERE / "fleet.yaml")
    eventually("the robots send", lambda: is_ready("robots"), 60)
    consumer = (
        "/opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server localhost:9092 "
        f"--topic {ALERTS} --from-beginning --isolation-level read_committed "
        "--max-messages 1 --timeout-ms 90000 --property print.key=true | head -c 200"
    )
    done = node().plane.kubectl(
        "--namespace=servers", "exec", "deployment/kafka", "--", "bash", "-c", consumer,
        timeout=150, check=False,
    )  # fmt: skip
    must("robot-" in done.stdout, f"no alert: {done.stdout!r} {done.stderr[-1500:]}")
    alerts = kubectl("exec", PODS[0], "--", "theatre", "alerts", "list").stdout
    must("robot-" in alerts, f"the store knows no alert: {alerts}")


def ask_api(path: str, token: str | None = None):
    """What the Service of the HTTP interface answers: status and text."""
    service = node().plane.get("--namespace=theatre", "service", "theatre-api")["spec"]
    port = next(one["port"] for one in service["ports"] if one["name"] == "http")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"http://{service['clusterIP']}:{port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as it:
            return it.status, it.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@test
def the_api_answers_whoever_has_a_token_behind_its_service():
    with_reasons(
        "theatre",
        lambda: kubectl(
            "rollout", "status", "deployment/theatre-api", "--timeout=150s", timeout=180
        ),
    )
    status, said = ask_api("/api/v1/robots")
    must(status == 401, f"without a token: {status} {said}")
    made = kubectl(
        "exec", PODS[0], "--", "theatre", "--output", "json", "token", "create",
        "--role", "viewer", "--name", "tests",
    )  # fmt: skip
    status, said = ask_api("/api/v1/robots", json.loads(made.stdout)[0]["secret"])
    must(status == 200 and "robot-" in said, f"with a token: {status} {said[:500]}")


@test
def the_doctor_finds_nothing_wrong_from_within_a_pod():
    done = kubectl(
        "exec", PODS[0], "--", "theatre", "--data", "/var/lib/theatre", "--output", "json", "doctor",
        check=False, timeout=120,
    )  # fmt: skip
    must(done.returncode == 0, f"it ends with {done.returncode}: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout)["findings"]
    good = {one["check"] for one in found if one["verdict"] == "ok"}
    missing = {"kafka", "postgresql", "process"} - good
    must(not missing, f"it finds nothing good of {missing}: {done.stdout}")


@test
def top_shows_the_partitions_from_within_a_pod():
    shown = kubectl("exec", PODS[0], "--", "theatre", "top", "--once").stdout
    must(re.search(r"^theatre \S+ at \S+: ready$", shown, re.MULTILINE), shown)
    rows = {int(row) for row in re.findall(r"^ +(\d+)  \w+ ", shown, re.MULTILINE)}
    must(rows == owned(metrics(PODS[0])), f"it owns {owned(metrics(PODS[0]))}: {shown}")


def epochs() -> dict:
    """How often each partition has been acquired, by the store."""
    shown = kubectl("exec", PODS[0], "--", "theatre", "state", "show", "--output=json").stdout
    return {one["partition"]: one["epoch"] for one in json.loads(shown)}


class Watch:
    """Looks all the time at who owns what, and keeps each answer."""

    def __init__(self):
        self.seen = collections.defaultdict(list)
        self.over = threading.Event()
        # One each: a pod that does not answer yet holds up no other.
        self.threads = [threading.Thread(target=self._look, args=[name]) for name in PODS]
        for thread in self.threads:
            thread.start()

    def _look(self, name: str) -> None:
        while not self.over.wait(0.2):
            text = metrics(name)
            if text:
                self.seen[name].append((owned(text), rebalances(text)))

    def end(self) -> dict:
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.seen


@test
def a_rolling_restart_moves_no_partition():
    before, ids = settled(), {name: pod(name)["metadata"]["uid"] for name in PODS}
    calm = {name: rebalances(metrics(name)) for name in PODS}
    acquired = epochs()
    watch = Watch()
    try:
        started = time.monotonic()
        kubectl("rollout", "restart", "statefulset/theatre-pipeline")
        kubectl(
            "rollout", "status", "statefulset/theatre-pipeline", "--timeout=240s", timeout=260
        )
        wait_until_ready()
        log(f"rolling restart of three pods: {time.monotonic() - started:.0f} s")
        after = settled()
    finally:
        seen = watch.end()
    for name in PODS:
        must(pod(name)["metadata"]["uid"] != ids[name], f"{name} was not restarted")
        must(len(seen[name]) >= 10, f"{name} was hardly seen: {len(seen[name])} times")
        for parts, _ in seen[name]:
            must(parts <= before[name], f"{name} had {parts}, before {before[name]}")
        # A process counts from its own start on, so after it there is none of either.
        for what in ("revoked", "lost"):
            most = max(counts.get(what, 0) for _, counts in seen[name])
            must(most <= calm[name].get(what, 0), f"{name}: partitions were {what}: {most}")
    must(after == before, f"before {before}, after {after}")
    # The store counts every owner: each partition was acquired once more, by its own pod.
    once_more = {partition: epoch + 1 for partition, epoch in acquired.items()}
    must(epochs() == once_more, f"epochs before {acquired}, after {epochs()}")


@test
def a_watch_would_see_a_partition_that_moves():
    before = settled()
    watch = Watch()
    # A member of the group that leaves for good: its partitions go to the others.
    kubectl("scale", "statefulset/theatre-pipeline", "--replicas=2")

    def moved():
        found = [owned(metrics(name)) for name in PODS[:2]]
        return sum(len(parts) for parts in found) == PARTITIONS

    try:
        eventually("the partitions of the third are taken over", moved, 180, 1)
    finally:
        seen = watch.end()
    must(
        any(not parts <= before[name] for name in PODS[:2] for parts, _ in seen[name]),
        "partitions moved, and were not seen to",
    )
    kubectl("scale", "statefulset/theatre-pipeline", "--replicas=3")
    wait_until_ready()
    settled()


@test
def a_killed_container_is_started_again_and_comes_back_to_its_partitions():
    before = settled()
    restarts = pod(PODS[1])["status"]["containerStatuses"][0]["restartCount"]
    os.kill(node().process_of(PODS[1], "theatre"), signal.SIGKILL)

    def restarted():
        return pod(PODS[1])["status"]["containerStatuses"][0]["restartCount"] == restarts + 1

    eventually("its container is started again", restarted, 60)
    wait_until_ready()
    must(settled() == before, f"before {before}, after {owners()}")


@test
def draining_the_node_is_held_back_by_the_disruption_budget():
    done = node().plane.kubectl(
        "drain", "node1", "--ignore-daemonsets", "--delete-emptydir-data", "--force",
        "--pod-selector=app.kubernetes.io/component=pipeline", "--timeout=25s",
        check=False, timeout=60,
    )  # fmt: skip
    try:
        said = done.stdout + done.stderr
        must(done.returncode != 0, f"drained: {said}")
        must("would violate the pod's disruption budget" in said, said)
        left = [name for name in PODS if is_ready(name)]
        must(len(left) == 2, f"ready while the node is drained: {left}")
    finally:
        node().plane.kubectl("uncordon", "node1")
    wait_until_ready()
    settled()


@test
def an_upgrade_that_cannot_work_leaves_the_pods_as_they_are():
    ids = {name: pod(name)["metadata"]["uid"] for name in PODS}
    # Topics have another number of partitions, which no upgrade changes.
    done = node().plane.helm(
        "upgrade", "theatre", CHART, *values(), "--set", "config.partitions=12",
        "--timeout=90s", check=False, timeout=120,
    )  # fmt: skip
    must(done.returncode != 0, "upgraded to another number of partitions")
    said = kubectl("logs", "job/theatre-topics").stdout
    must("differs" in said or "another" in said, f"the job's log: {said}")
    must({name: pod(name)["metadata"]["uid"] for name in PODS} == ids, "pods were replaced")


@test
def an_upgrade_restarts_the_pods_with_the_new_configuration_and_a_rollback_undoes_it():
    helm = node().plane.helm

    def interval():
        shown = kubectl("exec", PODS[0], "--", "theatre", "config", "show").stdout
        return re.search(r'^save_interval = "(.*)"$', shown, re.MULTILINE)[1]

    must(interval() == "2s", interval())
    helm(
        "upgrade", "theatre", CHART, *values(), "--set", "config.save_interval=3s", "--wait",
        "--timeout=4m", timeout=260,
    )  # fmt: skip
    must(interval() == "3s", interval())
    helm("rollback", "theatre", "1", "--namespace=theatre", "--wait", "--timeout=4m", timeout=260)
    must(interval() == "2s", interval())
    settled()


@test
def nothing_was_lost_or_doubled_on_the_way():
    kubectl("delete", "pod", "robots", "--wait=true")

    def whole():
        done = kubectl(
            "exec", PODS[0], "--", "theatre", "reconcile", "--output=json", check=False, timeout=60
        )
        must(done.returncode in (0, 4), done.stderr)
        report = json.loads(done.stdout)
        must(not report["gaps"], f"gaps: {report['gaps']}")
        return done.returncode == 0

    eventually("everything that was sent is applied", whole, 90, 2)


@test
def the_cron_job_that_reconciles_says_so_too():
    kubectl("create", "job", "books", "--from=cronjob/theatre-reconcile")

    def succeeded():
        job = node().plane.get("--namespace=theatre", "job", "books")
        return job["status"].get("succeeded")

    with_reasons("theatre", lambda: eventually("the job succeeds", succeeded, 120, 1))
    said = kubectl("logs", "job/books").stdout
    must("in = applied + late + duplicate + dead" in said, said)
    kubectl("delete", "job", "books", "--wait=true")


@test
def an_uninstalled_release_leaves_no_pod():
    node().plane.helm(
        "uninstall", "theatre", "--namespace=theatre", "--wait", "--timeout=150s", timeout=180
    )
    # Helm waits for what it has made; pods that save end a moment later.
    pipeline = "--selector=app.kubernetes.io/instance=theatre,app.kubernetes.io/component=pipeline"
    eventually(
        "the pods have ended",
        lambda: not node().plane.get("--namespace=theatre", "pods", pipeline)["items"],
        120,
    )
