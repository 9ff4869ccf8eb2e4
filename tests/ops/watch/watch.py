"""The tests behind tests/ops/watch/run; see there."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from shorten import shorten

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import ROOT, Group, eventually, run  # noqa: E402

RULES = ROOT / "helm/theatre/files/rules"
BOARDS = ROOT / "helm/theatre/files/boards"
ALERTMANAGER = ROOT / "helm/theatre/files/alertmanager/alertmanager.yaml"
PROMETHEUS = ROOT / "compose/prometheus/prometheus.yaml"
RULE_TESTS = ROOT / "tests/ops/rules"
RUNBOOKS = ROOT / "docs/runbooks"
THEATRE = os.environ.get("THEATRE_BIN", "")

# With which the requests of the recipient are signed.
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()

# Rules of production wait for minutes; divided by this, for seconds.
DIVISOR = 20

# Metrics that a healthy deployment does not show, and what shows them.
ONLY_AFTER_A_FAULT = {
    "theatre_http_certificate_expiry_timestamp_seconds": "an interface with TLS",
    "theatre_lake_files_lost_total": "an upload that a rule of the bucket has ended",
    "theatre_metric_series_dropped_total": "a metric with more than 4,096 series",
}

# Series that are recorded only while something is wrong, and what must answer at all times for them
# to be recorded then: a metric that is gone, or labels that do not meet, would leave them empty for
# ever.
RECORDED_AFTER_A_FAULT = {
    "theatre:backlog_stays:seconds": "min_over_time(theatre_consumer_lag_records[1m])"
    " / (rate(theatre_records_in_total[1m]) > 0)",
}

# Panels that show nothing until something has gone wrong, or until hours have passed: none.
EMPTY_PANELS = {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, method="GET", body=None):
    """Status and text of an answer."""
    request = urllib.request.Request(url, method=method, data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def post(url, value):
    """The status of the answer to a value that is sent as JSON."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(value).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


# --- What needs no running Theatre -------------------------------------------------------------


def rules_can_be_read():
    run("promtool", "check", "rules", *sorted(RULES.glob("*.yaml")))


def rules_fire_stay_quiet_and_recover():
    files = sorted(RULE_TESTS.glob("*.yaml"))
    assert files, f"{RULE_TESTS} is empty"
    run("promtool", "test", "rules", *files)


def with_second_tasks(text):
    """A file of tests whose series are all there twice, with one more label: those of two processes
    with one address."""
    series = re.compile(r"^      - series: '(\w+)(?:\{(.*)\})?'\n(        values: .*\n)", re.M)
    assert series.search(text), text[:500]

    def twice(match):
        name, labels, values = match.groups()
        labels = f"{labels}," if labels else ""
        return "".join(
            f"      - series: '{name}{{{labels}second_task=\"{second}\"}}'\n{values}"
            for second in ("no", "yes")
        )

    return series.sub(twice, text)


def two_processes_with_one_address_break_no_rule(folder):
    """A rule that cannot be evaluated says so and stays empty: nothing then fires."""

    def broken(rules, name, files="*.yaml"):
        there = folder / name
        shutil.copytree(rules, there / "rules")
        found = []
        for file in sorted(RULE_TESTS.glob(files)):
            text = with_second_tasks(file.read_text())
            text = text.replace("../../../helm/theatre/files/rules", "rules")
            (there / file.name).write_text(text)
            said = run("promtool", "test", "rules", there / file.name, check=False).stdout
            # What is expected of alerts is for one process: only errors count.
            found += re.findall(r"rule: (\S+), time: \S+ err: (.*)", said)
        return found

    found = broken(RULES, "twice")
    assert not found, found
    planted = folder / "planted"
    shutil.copytree(RULES, planted)
    file = planted / "recording.yaml"
    text = file.read_text()
    expression = "theatre_partition_owned * on (instance) theatre_partition_owned"
    file.write_text(text + f"      - record: planted\n        expr: {expression}\n")
    assert any(rule == "planted" for rule, _ in broken(planted, "planted-twice", "tasks.yaml"))


def a_rule_that_is_wrong_is_found(folder):
    """A rule that cannot be read, and one that does not do what its test says."""
    broken = folder / "broken"
    shutil.copytree(RULES, broken / "rules")
    file = broken / "rules/pipeline.yaml"
    text = file.read_text()
    file.write_text(text.replace("bad_ratio1h >", "bad_ratio1h > >", 1))
    done = run("promtool", "check", "rules", file, check=False)
    assert done.returncode != 0, done.stdout
    file.write_text(text.replace("> 0.001", "> 0.9", 1))
    tests = (RULE_TESTS / "pipeline.yaml").read_text()
    tests = tests.replace("../../../helm/theatre/files/rules", str(broken / "rules"))
    (broken / "tests.yaml").write_text(tests)
    done = run("promtool", "test", "rules", broken / "tests.yaml", check=False)
    assert done.returncode != 0 and "TheatreDeadLettersRising" in done.stdout, done.stdout


def the_configuration_of_prometheus_can_be_read(folder):
    text = PROMETHEUS.read_text()
    assert "/etc/prometheus/rules/*.yaml" in text
    file = folder / "prometheus.yaml"
    file.write_text(text.replace("/etc/prometheus/rules", str(RULES)))
    said = run("promtool", "check", "config", file).stdout
    assert "3 rule files" in said or said.count("SUCCESS") >= 4, said
    file.write_text(text.replace("dns_sd_configs", "dns_sd_config"))
    done = run("promtool", "check", "config", file, check=False)
    assert done.returncode != 0, "a key that is not there was passed over"


def alertmanager_config(folder, url):
    """The example for Alertmanager, with all of its receivers at one URL."""
    urls = folder / "urls"
    urls.mkdir(exist_ok=True)
    for receiver in ["pages", "tickets", "watchdog"]:
        (urls / receiver).write_text(url)
    text = ALERTMANAGER.read_text()
    assert text.count("url_file: /etc/alertmanager/urls/") == 3, text
    return text.replace("/etc/alertmanager/urls", str(urls))


def the_example_for_alertmanager_can_be_read_and_routes(folder):
    file = folder / "alertmanager.yaml"
    text = alertmanager_config(folder, "http://127.0.0.1:1/")
    file.write_text(text)
    run("amtool", "check-config", file)
    for labels, receiver in [
        (["alertname=TheatreWatchdog", "severity=info"], "watchdog"),
        (["alertname=TheatreAbsent", "severity=page"], "pages"),
        (["alertname=TheatreWarehouseLag", "severity=ticket"], "tickets"),
        (["alertname=TheatreSeriesDropped", "severity=info"], "tickets"),
    ]:
        verify = f"--verify.receivers={receiver}"
        run("amtool", "config", "routes", "test", f"--config.file={file}", verify, *labels)
    file.write_text(text.replace("receiver: pages", "receiver: pagers", 1))
    done = run("amtool", "check-config", file, check=False)
    assert done.returncode != 0, "a receiver that is not there was passed over"


# What fires, what else does, with the labels in which it differs, and whether it is held back.
HELD_BACK = [
    ("TheatreAbsent", "TheatrePartitionsUnowned", {}, True),
    ("TheatreAbsent", "TheatreTargetDown", {"instance": "b"}, True),
    ("TheatreAbsent", "TheatreWatchdog", {}, False),
    ("TheatreAbsent", "TheatreLakeCommitStale", {"job": "other"}, False),
    ("TheatreTargetDown", "TheatreConsumerStalled", {}, True),
    ("TheatreTargetDown", "TheatreConsumerStalled", {"instance": "b"}, False),
    ("TheatreKafkaAuthFailing", "TheatreConsumerStalled", {"instance": "b"}, True),
    ("TheatreKafkaAuthFailing", "TheatreFreshnessBurnFast", {}, True),
    ("TheatreKafkaAuthFailing", "TheatreNotReady", {"instance": "b"}, False),
    ("TheatreConsumerStalled", "TheatreNotReady", {}, True),
    ("TheatreConsumerStalled", "TheatreNotReady", {"instance": "b"}, False),
    ("TheatreCheckpointStale", "TheatreNotReady", {}, True),
    ("TheatreCheckpointStale", "TheatreNotReady", {"instance": "b"}, False),
    ("TheatreCheckpointStale", "TheatrePublishSlow", {"instance": ""}, True),
    ("TheatreConsumerStalled", "TheatreFreshnessBurnSlow", {"instance": ""}, True),
    ("TheatreConsumerStalled", "TheatreFreshnessBurnFast", {"instance": ""}, False),
    ("TheatreCheckpointStale", "TheatreBackPressure", {}, True),
    ("TheatreDiskFull", "TheatreDiskFilling", {}, True),
    ("TheatreDiskFull", "TheatreDiskFilling", {"instance": "b"}, False),
    ("TheatreFreshnessBurnFast", "TheatreFreshnessBurnSlow", {}, True),
    ("TheatreFreshnessBurnFast", "TheatreFreshnessBurnSlow", {"namespace": "other"}, False),
    ("TheatreWarehouseLoadFailing", "TheatreWarehouseLag", {"instance": "b"}, True),
    ("TheatreLakeUploadsFailing", "TheatreLakeCommitStale", {"instance": "b"}, True),
    ("TheatreLakeUploadsFailing", "TheatreWarehouseLag", {"instance": "b"}, False),
]


def what_follows_from_another_alert_is_held_back_and_nothing_else(folder):
    """Each case in a cluster of its own, so that all of them fire at a time."""
    rules = ALERTMANAGER.read_text().split("inhibit_rules:")[1]
    sources = set(re.findall(r"Theatre\w+", "".join(re.findall("source_matchers: .*", rules))))
    assert sources == {source for source, *_, held in HELD_BACK if held}, sources
    address = f"127.0.0.1:{free_port()}"
    file = folder / "inhibiting.yaml"
    file.write_text(alertmanager_config(folder, "http://127.0.0.1:1/"))
    alerts = []
    for number, (source, target, differs, _) in enumerate(HELD_BACK):
        labels = {"cluster": f"c{number}", "namespace": "one", "job": "theatre", "instance": "a"}
        alerts += [
            {"labels": {**labels, "alertname": source}},
            {"labels": {**labels, **differs, "alertname": target}},
        ]
    with open(folder / "inhibiting.log", "wb") as log:
        process = subprocess.Popen(
            [
                "alertmanager",
                f"--config.file={file}",
                f"--storage.path={folder}/inhibiting",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually("Alertmanager", lambda: get(f"http://{address}/-/ready")[0] == 200)
        assert post(f"http://{address}/api/v2/alerts", alerts) == 200

        def wrong():
            held = held_back(address)
            return [
                case
                for number, case in enumerate(HELD_BACK)
                if held.get((f"c{number}", case[1])) is not case[3]
            ]

        until = time.monotonic() + 20
        while wrong() and time.monotonic() < until:
            time.sleep(0.2)
        assert not wrong(), wrong()
    finally:
        process.terminate()
        process.wait(20)


def held_back(alertmanager):
    """Alerts that an Alertmanager has, by cluster and name, and whether another holds them back."""
    status, answer = get(f"http://{alertmanager}/api/v2/alerts")
    assert status == 200, answer
    return {
        (one["labels"].get("cluster"), one["labels"]["alertname"]): bool(
            one["status"]["inhibitedBy"]
        )
        for one in json.loads(answer)
    }


def rules_are_shortened_and_nothing_else(folder):
    shortened = folder / "short"
    shortened.mkdir()
    for file in RULES.glob("*.yaml"):
        text = file.read_text()
        short = shorten(text, DIVISOR)
        (shortened / file.name).write_text(short)
        plain = re.compile(r"\d+[smhd]\b|:?\]|:1s")
        assert plain.sub("", text) == plain.sub("", short), file
    run("promtool", "check", "rules", *sorted(shortened.glob("*.yaml")))
    example = "for: 10m\nexpr: increase(a[5m]) > 300 and b[10m:] offset 1h\nkeep_firing_for: 5s"
    assert shorten(example, 20) == (
        "for: 30s\nexpr: increase(a[15s]) > 300 and b[30s:1s] offset 180s\nkeep_firing_for: 1s"
    )


# --- A running Theatre -------------------------------------------------------------------------


class Webhook:
    """A receiver of what Alertmanager (at /), Theatre (at /engineers) and its traces (at /v1/traces)
    post, and a server of the file that reconcile writes."""

    def __init__(self, metrics_file):
        self.seen = []
        self.engineers = []
        self.traces = []
        places = {"/": self.seen, "/engineers": self.engineers, "/v1/traces": self.traces}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                places[self.path].append(json.loads(body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def do_GET(self):
                there = metrics_file.exists()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(metrics_file.read_bytes() if there else b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def got(self, alert, status, since=0):
        """Whether an alert came, as firing or resolved, in the notifications from a number on."""
        for notification in self.seen[since:]:
            for one in notification["alerts"]:
                if one["labels"]["alertname"] == alert and one["status"] == status:
                    return one
        return None


class Site:
    """Local servers, a Theatre with a simulated fleet, an embedded one, Prometheus, Alertmanager and
    a webhook."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data"
        self.processes = []
        self.has_servers = False
        self.is_up = False
        self.ending = threading.Event()
        self.fleet = None
        self.admin = f"127.0.0.1:{free_port()}"
        self.embedded = f"127.0.0.1:{free_port()}"
        self.api = f"127.0.0.1:{free_port()}"
        self.log = folder / "theatre.log"
        self.metrics_file = folder / "reconcile.prom"
        self.webhook = Webhook(self.metrics_file)
        self.alertmanager = f"127.0.0.1:{free_port()}"
        self.prometheus = f"127.0.0.1:{free_port()}"
        self.pushgateway = f"127.0.0.1:{free_port()}"

    def theatre(self, *arguments, **options):
        return run(THEATRE, "--data", self.data, *arguments, **options)

    @property
    def config(self):
        return self.data / "dev/theatre.toml"

    @property
    def brokers(self):
        return re.search(r"kafka://([^\"]+)", self.config.read_text())[1]

    def start(self, name, command, log=None, **options):
        output = open(log or self.folder / f"{name}.log", "ab")
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self.folder,
            **options,
        )
        self.processes.append((name, process))
        return process

    def up(self):
        self.has_servers = True
        self.theatre("dev", "up")
        extra = self.data / "dev/theatre.d"
        extra.mkdir()
        # So that the fleet's late records are late within the test.
        (extra / "watch.toml").write_text(
            'allowed_lateness = "10s"\nsilence_after = "15s"\n'
            f'[api]\nlisten = "{self.api}"\n'
            f'[traces]\nendpoint = "http://127.0.0.1:{self.webhook.port}"\n'
            '[[notify]]\nname = "engineers"\nkind = "webhook"\nsecret_variable = "SECRET"\n'
            f'url = "http://127.0.0.1:{self.webhook.port}/engineers"\n'
        )
        self.theatre("--config", self.config, "topics", "create")
        environment = dict(os.environ, THEATRE_LOG_FORMAT="json", SECRET=SECRET)
        common = ["--data", self.data, "--config", self.config, "--admin", self.admin]
        self.start("theatre", [THEATRE, *common, "run"], log=self.log, env=environment)
        eventually("readiness", lambda: get(f"http://{self.admin}/readyz")[0] == 200)
        assert get(f"http://{self.api}/livez")[0] == 200
        self.start_embedded()
        self.fleet = threading.Thread(target=self.simulate, daemon=True)
        self.fleet.start()
        self.watch()

    def start_embedded(self):
        """A second Theatre without servers: only there is a rule file looked at while it runs."""
        config = self.folder / "embedded.toml"
        shipped = ROOT / "runtime/config/src/default_rules.toml"
        config.write_text(f'rules = "{shipped}"\n[api]\nenabled = false\n')
        common = ["--data", self.folder / "embedded", "--config", config]
        self.start("embedded", [THEATRE, *common, "--admin", self.embedded, "run"])
        eventually("readiness", lambda: get(f"http://{self.embedded}/readyz")[0] == 200)

    def simulate(self):
        """The fleet goes on until the end, a few seconds at a time; without Kafka it waits."""
        faults = []
        for name in ["duplicate", "gap", "reorder", "late", "truncated"]:
            faults += [f"--fault-{name}", "0.0005"]
        fleet = ["simulate", "--robots", "20", "--late-ticks", "300", *faults]
        common = ["--data", self.data / "fleet", "--config", self.config]
        ticks = 0
        while not self.ending.is_set():
            ticks += 30
            begun = time.monotonic()
            run(THEATRE, *common, *fleet, "--ticks", ticks, check=False)
            # The page, and a question of who has no token for it.
            for path in ["/", "/api/v1/fleet"]:
                with contextlib.suppress(OSError):
                    get(f"http://{self.api}{path}")
            self.ending.wait(max(0.0, begun + 3 - time.monotonic()))

    def watch(self):
        rules = self.folder / "live"
        rules.mkdir()
        for file in RULES.glob("*.yaml"):
            (rules / file.name).write_text(shorten(file.read_text(), DIVISOR))
        receiver = alertmanager_config(self.folder, f"http://127.0.0.1:{self.webhook.port}/")
        receiver = re.sub(r"group_wait: \w+", "group_wait: 0s", receiver)
        receiver = re.sub(r"group_interval: \w+", "group_interval: 1s", receiver)
        (self.folder / "live-alertmanager.yaml").write_text(receiver)
        self.start(
            "alertmanager",
            [
                "alertmanager",
                f"--config.file={self.folder}/live-alertmanager.yaml",
                f"--storage.path={self.folder}/alertmanager",
                f"--web.listen-address={self.alertmanager}",
                "--cluster.listen-address=",
            ],
        )
        config = PROMETHEUS.read_text()
        config = config.replace("/etc/prometheus/rules", str(rules))
        config = config.replace("alertmanager:9093", self.alertmanager)
        config = config.replace("localhost:9090", self.prometheus)
        assert "[pushgateway:9091]" in config, config
        config = config.replace("pushgateway:9091", self.pushgateway)
        config = config.replace("scrape_interval: 15s", "scrape_interval: 1s")
        config = config.replace("evaluation_interval: 15s", "evaluation_interval: 1s")
        # There are no names here: an address in the place of the service's name.
        named = re.compile(r"    dns_sd_configs:\n(      .*\n)+")
        assert named.search(config), config
        static = f"    static_configs:\n      - targets: [{self.admin}]\n"
        config = named.sub(static, config)
        config += "  - job_name: embedded\n    static_configs:\n"
        config += f"      - targets: ['{self.embedded}']\n"
        config += "  - job_name: textfile\n    static_configs:\n"
        config += f"      - targets: [127.0.0.1:{self.webhook.port}]\n"
        self.start(
            "pushgateway", ["prometheus-pushgateway", f"--web.listen-address={self.pushgateway}"]
        )
        file = self.folder / "live-prometheus.yaml"
        file.write_text(config)
        self.start(
            "prometheus",
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={self.folder}/prometheus",
                f"--web.listen-address={self.prometheus}",
            ],
        )
        eventually("Prometheus scrapes Theatre", lambda: self.query('up{job="theatre"} == 1'))

    def query(self, text):
        url = f"http://{self.prometheus}/api/v1/query?"
        status, answer = get(url + urllib.parse.urlencode({"query": text}))
        answer = json.loads(answer)
        assert status == 200 and answer["status"] == "success", f"{text}: {answer}"
        return answer["data"]["result"]

    def firing(self, alert):
        status, answer = get(f"http://{self.prometheus}/api/v1/alerts")
        assert status == 200
        alerts = json.loads(answer)["data"]["alerts"]
        return [one for one in alerts if one["labels"]["alertname"] == alert]

    def scrape(self):
        """What the Theatre on servers shows."""
        return get(f"http://{self.admin}/metrics")[1]

    def pid(self, server):
        return int((self.data / "dev" / server / "server.pid").read_text())

    def postgres(self, database, statement):
        url = re.search(r'\[store\]\nurl = "(postgres://[^"]+)/theatre"', self.config.read_text())
        return run("psql", "-qAt", "-v", "ON_ERROR_STOP=1", f"{url[1]}/{database}", "-c", statement)

    def down(self):
        if self.has_servers:
            with contextlib.suppress(OSError, ValueError):
                os.kill(self.pid("kafka"), signal.SIGCONT)
        self.ending.set()
        if self.fleet:
            self.fleet.join(60)
        for name, process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(60 if name == "theatre" else 20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.has_servers:
            self.theatre("dev", "down", check=False)


def servers_fleet_and_monitoring_come_up(site):
    site.up()
    site.is_up = True


def metrics_follow_the_conventions(site):
    run("promtool", "check", "metrics", input=site.scrape())
    done = run("promtool", "check", "metrics", check=False, input="# TYPE a counter\na 1\n")
    assert done.returncode != 0, "a counter without an ending and help was passed over"


def a_producer_with_another_partitioner(site):
    """A record of a robot comes once more, in another partition than the robot's home."""
    topic = "surgical.robot.telemetry.v1"
    count = len(site.query('theatre_partition_owned{job="theatre"}'))

    def first_of(partition, what):
        command = ["kcat", "-C", "-q", "-e", "-b", site.brokers, "-t", topic, "-c", "1"]
        command += ["-p", str(partition), "-o", "beginning", "-f", what]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout

    home = next(partition for partition in range(count) if first_of(partition, "%k"))
    record = site.folder / "record"
    record.write_bytes(first_of(home, "%s"))
    run(
        "kcat", "-P", "-b", site.brokers, "-t", topic, "-p", (home + 1) % count,
        "-k", first_of(home, "%k").decode(), record,
    )  # fmt: skip
    # It is turned away, and called so.
    eventually(
        "the record is turned away",
        lambda: re.search(
            r'theatre_records_wrong_partition_total\{topic="' + re.escape(topic) + r'"\} [1-9]',
            site.scrape(),
        ),
        60,
    )


def every_metric_of_the_catalogue_is_scraped(site):
    table = (ROOT / "docs/metrics.md").read_text()
    catalogue = set(re.findall(r"^\| `(theatre_\w+)` \|", table, re.M))
    assert len(catalogue) > 40, catalogue
    site.theatre(
        "--config", site.config, "reconcile", "--allow-pending",
        "--metrics-file", site.metrics_file, check=False,
    )
    a_producer_with_another_partitioner(site)

    def missing():
        text = site.scrape() + site.metrics_file.read_text()
        text += get(f"http://{site.embedded}/metrics")[1]
        there = set(re.findall(r"^(theatre_\w+?)(?:_bucket|_sum|_count)?(?:\{| )", text, re.M))
        return catalogue - there - set(ONLY_AFTER_A_FAULT)

    # Late records come last: they are held back, and there are few.
    until = time.monotonic() + 240
    while missing() and time.monotonic() < until:
        time.sleep(1)
    assert not missing(), missing()
    strange = set(ONLY_AFTER_A_FAULT) - catalogue
    assert not strange, f"exceptions that are no metric: {strange}"
    # What is scraped is in the catalogue, too.
    text = site.scrape()
    there = set(re.findall(r"^# TYPE (theatre_\w+) ", text, re.M))
    assert there <= catalogue, there - catalogue


def every_query_of_the_boards_answers(site):
    queries = []
    for file in sorted(BOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                text = re.sub(r"\$(cluster|namespace|job|instance)\b", ".*", target["expr"])
                text = text.replace("$__rate_interval", "1m")
                queries.append((f"{file.stem}: {panel['title']}", text))
    assert len(queries) > 50, len(queries)
    # Some wait for the first lake files, loads and late records.
    until = time.monotonic() + 150
    while True:
        empty = [(place, text) for place, text in queries if not site.query(text)]
        empty = [one for one in empty if one[0] not in EMPTY_PANELS]
        if not empty or time.monotonic() > until:
            break
        time.sleep(2)
    assert not empty, "\n".join(f"{place}: {text}" for place, text in empty)
    assert not site.query("theatre_gone_total"), "a metric that is not there answers"


def recorded_series_are_there(site):
    names = re.findall(r"record: (\S+)", (RULES / "recording.yaml").read_text())
    assert len(names) > 8, names
    for name in names:
        asked = RECORDED_AFTER_A_FAULT.get(name, name)
        eventually(f"{name} is recorded", lambda asked=asked: site.query(asked))
    fresh = float(site.query("theatre:freshness:bad_ratio")[0]["value"][1])
    assert fresh == 0.0, fresh


def the_watchdog_comes_and_nothing_else_pages(site):
    eventually("the watchdog", lambda: site.webhook.got("TheatreWatchdog", "firing"))
    for notification in site.webhook.seen:
        for one in notification["alerts"]:
            assert one["labels"]["severity"] != "page", one
            runbook = one["annotations"]["runbook_url"]
            assert runbook == f"docs/runbooks/{one['labels']['alertname']}.md", runbook
            assert "runbooks" not in one["labels"], one


def fault(site, alert, begin, end, meanwhile=lambda: None):
    """Forces a fault until its alert reaches the webhook, ends it, and waits until it clears. What
    is to be seen of it meanwhile is looked at before it ends."""
    since = len(site.webhook.seen)
    assert not site.webhook.got(alert, "firing", since)
    begun = time.monotonic()
    begin()
    try:
        one = eventually(
            f"{alert} reaches the webhook", lambda: site.webhook.got(alert, "firing", since), 150
        )
        reached = time.monotonic() - begun
        description = one["annotations"]["description"]
        meanwhile()
    finally:
        end()
    ended = time.monotonic()
    eventually(
        f"{alert} clears", lambda: site.webhook.got(alert, "resolved", since), 150
    )
    cleared = time.monotonic() - ended
    print(f"    {alert}: after {reached:.0f} s, cleared after {cleared:.0f} s: {description}")
    eventually("readiness", lambda: get(f"http://{site.admin}/readyz")[0] == 200)


def a_producer_of_poison_is_reported_and_clears(site):
    done = threading.Event()

    def produce():
        garbage = "".join(f"robot-{number}:no record at all\n" for number in range(50))
        while not done.is_set():
            run(
                "kcat", "-P", "-b", site.brokers, "-t", "surgical.robot.telemetry.v1", "-K", ":",
                "-X", "partitioner=murmur2_random", input=garbage,
            )
            done.wait(0.5)

    producer = threading.Thread(target=produce, daemon=True)
    fault(site, "TheatreDeadLettersRising", producer.start, done.set)
    producer.join(30)
    dead = site.theatre("--config", site.config, "dlq", "list", "--output", "json").stdout
    assert "bad_frame" in dead, dead[:500]


def a_stopped_kafka_is_reported_and_clears(site):
    broker = site.pid("kafka")
    since = len(site.webhook.seen)

    def what_follows_is_held_back():
        """The process is not ready either, for the same reason: that reaches nobody."""

        def not_ready():
            firing = site.firing("TheatreNotReady")
            return any(one["state"] == "firing" for one in firing) and (
                held_back(site.alertmanager).get((None, "TheatreNotReady")) is not None
            )

        eventually("TheatreNotReady reaches Alertmanager", not_ready, 90)
        assert held_back(site.alertmanager)[None, "TheatreNotReady"], "it is not held back"
        assert not held_back(site.alertmanager)[None, "TheatreConsumerStalled"]
        assert not site.webhook.got("TheatreNotReady", "firing", since)

    fault(
        site,
        "TheatreConsumerStalled",
        lambda: os.kill(broker, signal.SIGSTOP),
        lambda: os.kill(broker, signal.SIGCONT),
        what_follows_is_held_back,
    )


def a_warehouse_that_refuses_is_reported_and_clears(site):
    table = "robot_telemetry"
    fault(
        site,
        "TheatreWarehouseLoadFailing",
        lambda: site.postgres("dev", f"ALTER TABLE {table} RENAME TO {table}_away"),
        lambda: site.postgres("dev", f"ALTER TABLE {table}_away RENAME TO {table}"),
    )


def first_checks_of_the_runbooks_can_be_typed_as_they_stand(site):
    """Where the process runs there is the program, the variable with its configuration, and no
    more: each command has to be known there and to find what it asks."""
    commands = {}
    for page in sorted(RUNBOOKS.glob("Theatre*.md")):
        checks = page.read_text().split("## First checks\n")[1].split("\n## ")[0]
        for block in re.findall(r"```sh\n(.*?)```", checks, re.S):
            for line in block.splitlines():
                if line.startswith("theatre "):
                    commands.setdefault(tuple(shlex.split(line, comments=True)), page.stem)
    assert len(commands) > 15, commands
    robot = site.theatre("--config", site.config, "robots", "list", "--output", "json").stdout
    # What a page names for example, as it is called here.
    here = {"robot-0001": json.loads(robot)[0]["robot_id"], "pager": "engineers"}
    environment = dict(
        PATH="", HOME=str(site.folder), THEATRE_CONFIG=str(site.config), THEATRE__ADMIN=site.admin,
        SECRET=SECRET,
    )  # fmt: skip
    done = {}
    for command, page in commands.items():
        words = [here.get(word, word) for word in command[1:]]
        ended = run(THEATRE, *words, check=False, cwd=site.folder, env=environment)
        # Done; or the number of a dead letter for example is none; or it found something.
        if ended.returncode not in (0, 1, 4):
            done[" ".join(command)] = f"{page}: {ended.returncode}: {ended.stdout[-300:]}"
    assert not done, done


def logs_are_json_and_their_levels_change_while_it_runs(site):
    url = f"http://{site.admin}/log"

    def lines():
        return [json.loads(line) for line in site.log.read_text().splitlines()
                if line.startswith("{")]

    started = [line for line in lines() if line["message"] == "started"]
    assert len(started) == 1 and started[0]["admin"] == site.admin, started
    assert get(url) == (200, "theatre_start=info,warn\n"), get(url)
    status, said = get(url, "PUT", b"theatre_kafka=loud")
    assert status == 400 and "such as info" in said, said
    assert not [line for line in lines() if line["level"] == "DEBUG"]
    assert get(url, "PUT", b"debug") == (200, "debug\n")
    eventually("debug", lambda: [line for line in lines() if line["level"] == "DEBUG"])
    assert get(url, "PUT", b"") == (200, "theatre_start=info,warn\n")
    time.sleep(1)
    count = len(lines())
    time.sleep(2)
    later = [line for line in lines()[count:] if line["level"] in ("DEBUG", "INFO")]
    assert not later, later[:3]


def nothing_was_lost_by_it(site):
    """After all faults, the proof: nothing is lost or there twice, and so says its metric."""

    def reconciled():
        done = site.theatre(
            "--config", site.config, "reconcile", "--allow-pending",
            "--metrics-file", site.metrics_file, "--metrics-push", group, check=False,
        )
        return done.returncode == 0

    group = f"http://{site.pushgateway}/metrics/job/theatre_reconcile/namespace/watched"

    eventually("reconcile", reconciled, 60)
    assert "theatre_reconcile_gap_records 0" in site.metrics_file.read_text()
    run("promtool", "check", "metrics", input=site.metrics_file.read_text())
    recorded = 'theatre_reconcile_gap_records{job="textfile"} == 0'
    eventually("it is scraped", lambda: site.query(recorded))
    pushed = 'theatre_reconcile_gap_records{job="theatre_reconcile", namespace="watched"} == 0'
    eventually("what was pushed is scraped", lambda: site.query(pushed))


CHECKS = [
    rules_can_be_read,
    rules_fire_stay_quiet_and_recover,
    two_processes_with_one_address_break_no_rule,
    a_rule_that_is_wrong_is_found,
    the_configuration_of_prometheus_can_be_read,
    the_example_for_alertmanager_can_be_read_and_routes,
    what_follows_from_another_alert_is_held_back_and_nothing_else,
    rules_are_shortened_and_nothing_else,
]
LIVE = [
    servers_fleet_and_monitoring_come_up,
    metrics_follow_the_conventions,
    the_watchdog_comes_and_nothing_else_pages,
    every_metric_of_the_catalogue_is_scraped,
    every_query_of_the_boards_answers,
    recorded_series_are_there,
    first_checks_of_the_runbooks_can_be_typed_as_they_stand,
    logs_are_json_and_their_levels_change_while_it_runs,
    a_producer_of_poison_is_reported_and_clears,
    a_warehouse_that_refuses_is_reported_and_clears,
    a_stopped_kafka_is_reported_and_clears,
    nothing_was_lost_by_it,
]


def tried(group, test, *arguments):
    """Runs a test with as many of the arguments as it takes."""
    with group.test(test.__name__):
        test(*arguments[: test.__code__.co_argcount])


def main():
    live = [] if sys.argv[1:] == ["checks"] else LIVE
    if sys.argv[1:] not in ([], ["checks"]):
        sys.exit("usage: tests/ops/watch/run [checks]")
    group = Group("ops::watch")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="theatre-watch-"))
    site = None
    try:
        for test in CHECKS:
            tried(group, test, folder)
        if live:
            site = Site(folder)
            tried(group, live[0], site)
            for test in live[1:]:
                if site.is_up:
                    tried(group, test, site)
                else:
                    # Nothing can be tried on what did not come up.
                    group.failed += 1
    finally:
        if site:
            site.down()
    if group.failed:
        print(f"logs are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(group.close())


if __name__ == "__main__":
    # A signal ends it like an error does: what was started is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
