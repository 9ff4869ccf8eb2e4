"""Level 0: the chart is rendered, checked against schemas, and compared with snapshots."""

import difflib
import json
import os
import pathlib
import re
import shutil
import tomllib
import urllib.parse

import yaml

import checks
from checks import CHART, EXAMPLES, HERE, ROOT, call, must, paths, refused, test, work

# Every option turned on, as far as they go together.
EVERYTHING = HERE / "values-everything.yaml"
# One process that keeps everything in its data directory.
EMBEDDED = HERE / "values-embedded.yaml"
ALL_VALUES = {**EXAMPLES, "everything": EVERYTHING, "embedded": EMBEDDED}
# Versions of Kubernetes: from the oldest that the chart allows to the newest that has schemas.
VERSIONS = tuple(f"1.{minor}" for minor in range(30, 38))
WITH_API = ("--set", "api.enabled=true")
# For which the chart is rendered where it does not matter.
VERSION = "1.34.4"


def helm(*arguments, **options):
    """Runs helm with its own folders, so that it finds nothing of the user's."""
    home = work() / "helm"
    env = {f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}
    env.update(options.pop("env", {}))
    return call(paths()["helm"], *arguments, env=env, **options)


def template(values, *arguments, chart=CHART, version=VERSION, check=True):
    """The chart rendered with a file of values, as text."""
    files = [] if values is None else ["--values", values]
    done = helm(
        "template", "theatre", chart, "--namespace", "theatre", "--kube-version", version,
        *files, *arguments, check=check,
    )  # fmt: skip
    return done.stdout


def objects(text: str) -> list:
    return [one for one in yaml.safe_load_all(text) if one]


def find(rendered: list, kind: str, ending: str = "") -> dict:
    found = [
        one for one in rendered if one["kind"] == kind and one["metadata"]["name"].endswith(ending)
    ]
    must(len(found) == 1, f"{len(found)} objects are a {kind} called ...{ending}")
    return found[0]


def copy_of_the_chart(name: str) -> pathlib.Path:
    """A copy of the chart that a test may change."""
    copy = work() / name
    shutil.copytree(CHART, copy, dirs_exist_ok=True)
    return copy


def replace_in(path: pathlib.Path, old: str, new: str) -> None:
    text = path.read_text()
    must(old in text, f"{path.name} has no '{old}'")
    path.write_text(text.replace(old, new))


def kubeconform(text: str, version: str, check=True):
    """Checks objects against the schemas of a version of Kubernetes, and of the operators."""
    schemas = f"{paths()['schemas']}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    # Of the operators' own kinds the API server of level 1 knows the schemas.
    skip = "ServiceMonitor,PrometheusRule,ScaledObject"
    return call(
        paths()["kubeconform"], "-strict", "-summary", "-skip", skip, "-schema-location", schemas,
        text=text, check=check,
    )  # fmt: skip


@test
def the_chart_is_linted_strictly_with_each_file_of_values():
    for values in ALL_VALUES.values():
        helm("lint", "--strict", CHART, "--values", values)


@test
def each_file_of_values_renders_objects_of_every_kubernetes():
    must(sorted(os.listdir(paths()["schemas"])) == list(VERSIONS), "others have schemas")
    for path in sorted((CHART / "templates").rglob("*.*")):
        must(".Capabilities" not in path.read_text(), f"{path.name} goes by the version: render all")
    # All at once: most of the time goes into reading schemas.
    texts = [template(values) for values in ALL_VALUES.values()]
    texts.append(template(EXAMPLES["eks-production"], *WITH_API))
    for version in VERSIONS:
        said = kubeconform("\n---\n".join(texts), version).stdout
        must(re.search(r"Summary: \d{2,} resources", said), f"hardly any was looked at: {said}")
    for version in (VERSIONS[0], VERSIONS[-1]):
        template(EXAMPLES["laptop"], version=f"{version}.0")


@test
def the_api_has_the_time_that_its_stop_may_take():
    text = template(EXAMPLES["eks-production"], *WITH_API)
    deployment = find(objects(text), "Deployment", "-api")
    pod = deployment["spec"]["template"]["spec"]
    must(pod["terminationGracePeriodSeconds"] == 30, "5 + 20 + 5 seconds for the API")
    must("api" in pod["containers"][0]["args"], "the API's pods run another command")


@test
def the_api_has_a_service_account_of_its_own_unless_it_is_to_have_the_pipelines():
    def account(*words):
        values = [f"--set=api.{word}" for word in ("enabled=true", *words)]
        rendered = objects(template(EXAMPLES["laptop"], *values))
        made = {one["metadata"]["name"]: one for one in rendered if one["kind"] == "ServiceAccount"}
        pod = find(rendered, "Deployment", "-api")["spec"]["template"]["spec"]
        name = pod["serviceAccountName"]
        notes = made.get(name, {"metadata": {}})["metadata"].get("annotations")
        return name, name in made, notes

    must(account() == ("theatre-api", True, None), f"{account()}")
    found = account("serviceAccount.annotations.a=b", "serviceAccount.name=mine")
    must(found == ("mine", True, {"a": "b"}), f"{found}")
    found = account("serviceAccount.create=false", "serviceAccount.name=mine")
    must(found == ("mine", False, None), f"{found}")
    found = account("serviceAccount.create=false")
    must(found == ("theatre", True, None), f"{found}")


@test
def a_misspelt_key_of_kubernetes_is_found():
    chart = copy_of_the_chart("misspelt")
    replace_in(
        chart / "templates/pipeline-statefulset.yaml", "podManagementPolicy:", "podManagmentPolicy:"
    )
    text = template(EXAMPLES["laptop"], chart=chart)
    for version in (VERSIONS[0], VERSIONS[-1]):
        done = kubeconform(text, version, check=False)
        must(done.returncode != 0, f"Kubernetes {version} has podManagmentPolicy")
        must("podManagmentPolicy" in done.stdout, done.stdout)


def plain_template() -> list:
    """The command that renders the chart, without values."""
    return [paths()["helm"], "template", "theatre", CHART, "--kube-version", VERSION]


def with_laptop(*settings):
    sets = [word for setting in settings for word in ("--set", setting)]
    return [*plain_template(), "--values", EXAMPLES["laptop"], *sets]


# Values that cannot work: settings on top of the laptop's, and what the refusal says.
REFUSED = [
    (["pipeline.replica=2"], "replica"),
    (["config.save_intervall=5s"], "save_intervall"),
    (["config.log.session_timout=60s"], "session_timout"),
    (["config.save_interval=5"], "save_interval"),
    (["config.save_interval=5 parsecs"], "does not match pattern"),
    (["config.admin=0.0.0.0:1"], "admin"),
    (["config.log.group_instance_id=one"], "group_instance_id"),
    (["config.log.security=sasl"], "security"),
    (["files.theatre\\.toml=x"], "theatre.toml"),
    (["pipeline.drainSeconds=30"], "drainSeconds"),
    (["pipeline.terminationGracePeriodSeconds=60"], "60 is not longer than a stop may take, 90"),
    (["pipeline.terminationGracePeriodSeconds=90"], "90 is not longer than a stop may take, 90"),
    (
        ["pipeline.terminationGracePeriodSeconds=120", "config.store.statement_timeout=1m"],
        "120 is not longer than a stop may take, 120",
    ),
    (
        ["pipeline.terminationGracePeriodSeconds=100", "pipeline.preStopSeconds=10"],
        "100 is not longer than a stop may take, 100",
    ),
    (["api.terminationGracePeriodSeconds=25"], "api.terminationGracePeriodSeconds: it must be"),
    (["pipeline.resources.limits.memory=2Gi"], "pipeline.resources: limits.memory must be"),
    (["jobs.resources.limits.memory=2Gi"], "jobs.resources: limits.memory must be"),
    (["pipeline.resources.limits.memory=lots"], "memory"),
    (
        ["api.enabled=true", "api.resources.limits.memory=256Mi",
         "api.resources.requests.memory=256Mi"],
        "api.resources: with 256Mi of memory a pod would be killed when many send at once; bodies "
        "of records may take 384Mi",
    ),
    (
        ["api.enabled=true", "config.api.ingests=64", "api.resources.limits.memory=2Gi",
         "api.resources.requests.memory=2Gi"],
        "bodies of records may take 4224Mi",
    ),
    (["config.store.url=postgres://theatre:hush@db/theatre"], "config.store.url: it holds a pass"),
    (["config.registry.url=http://user:hush@registry:8081"], "config.registry.url: it holds a"),
    (["config.log.properties.ssl\\.key\\.password=hush"], "ssl.key.password is a secret"),
    (["secrets.store.passwordKey="], "secrets.store: existingSecret names a Secret, but none"),
    (["secrets.kafka.passwordKey=password"], "secrets.kafka: passwordKey is set, but existing"),
    (["secrets.objectStore.existingSecret=keys"], "secrets.objectStore: static keys are for"),
    (["secrets.pseudonymKey.existingSecret="], "secrets.pseudonymKey.existingSecret: with a log"),
    (["secrets.store.urlKey=url"], "config.store.url and secrets.store.urlKey are both set"),
    (["config.lake.enabled=true"], "lake, warehouse would be lost with the pod"),
    (
        ["config.lake.enabled=true", "pipeline.replicas=3"],
        "pipeline.replicas: lake, warehouse would be in the data directory of each pod",
    ),
    (["keda.enabled=true"], "keda.prometheusAddress: it is needed"),
    (
        ["keda.enabled=true", "keda.prometheusAddress=http://p:9090", "keda.maxReplicas=5"],
        "keda.maxReplicas: 5 pods cannot share 4 partitions",
    ),
    (
        ["keda.enabled=true", "keda.prometheusAddress=http://p:9090", "keda.minReplicas=5"],
        "keda.minReplicas: 5 is more than keda.maxReplicas, 4",
    ),
    (
        ["keda.enabled=true", "keda.prometheusAddress=http://p:9090", "keda.awsRegion=eu-central-1"],
        "keda.authenticationRef: it is needed with keda.awsRegion",
    ),
    (["image.digest=sha256:abc"], "digest"),
    (["image.repository="], "image.repository: this chart is not of a release"),
    (["jobs.topics=apply"], "topics"),
    (["jobs.run.resources.limits.memory=2Gi"], "jobs.run.resources: limits.memory must be"),
    (["jobs.run.command=reconcile"], "command"),
    (["monitoring.prometheusRule.runbookUrl=docs/runbooks"], "runbookUrl"),
]


@test
def values_that_cannot_work_are_refused_with_the_reason():
    for settings, reason in REFUSED:
        refused(reason, *with_laptop(*settings))
    call(*with_laptop("pipeline.terminationGracePeriodSeconds=91"))


@test
def a_release_without_any_values_is_refused_with_what_is_missing():
    refused(
        "log, store, lake, warehouse would be in the data directory of each pod",
        *plain_template(),
    )


@test
def a_released_chart_runs_its_own_image_unless_another_one_is_named():
    digest = "sha256:" + "0123456789abcdef" * 4
    released = f"ghcr.io/owner/name/theatre@{digest}"
    chart = copy_of_the_chart("released")
    replace_in(chart / "Chart.yaml", 'theatre/image: ""', f"theatre/image: {released}")

    def image(*settings):
        sets = [word for setting in settings for word in ("--set", f"image.{setting}")]
        text = template(EXAMPLES["laptop"], *sets, chart=chart)
        return find(objects(text), "StatefulSet")["spec"]["template"]["spec"]["containers"][0][
            "image"
        ]

    other = digest.replace("0", "f")
    expected = {
        ("repository=",): released,
        ("repository=", "tag=1.2.3"): "ghcr.io/owner/name/theatre:1.2.3",
        ("repository=", f"digest={other}"): f"ghcr.io/owner/name/theatre@{other}",
        # A copy in another registry may have another digest.
        ("repository=mine/theatre",): "mine/theatre:0.1.0",
        ("repository=mine/theatre", f"digest={other}", "tag=v1"): f"mine/theatre@{other}",
    }
    for settings, wanted in expected.items():
        must(image(*settings) == wanted, f"{settings}: {image(*settings)}")


def peers(policy: dict, port: str) -> list:
    """Who may reach a port; nothing where anybody may."""
    found = [
        rule
        for rule in policy["spec"]["ingress"]
        if any(one["port"] == port for one in rule["ports"])
    ]
    must(len(found) == 1, f"{len(found)} rules are about {port}")
    return found[0].get("from", [])


@test
def what_is_asked_for_is_let_through_by_the_policies_and_nobody_else():
    rendered = objects(template(EXAMPLES["eks-production"], "--set", "api.enabled=true"))
    monitoring = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    }
    labels = find(rendered, "Pod", "-healthy")["metadata"]["labels"]
    pipeline = peers(find(rendered, "NetworkPolicy", "-pipeline"), "admin")
    test_pod = [one for one in pipeline if one != monitoring]
    must(len(pipeline) == 2 and len(test_pod) == 1, f"{pipeline}")
    wanted = test_pod[0]["podSelector"]["matchLabels"]
    must(set(wanted) > {"app.kubernetes.io/component"}, f"pods of any release may: {wanted}")
    must(wanted.items() <= labels.items(), f"helm test has {labels}, let through: {wanted}")
    api = find(rendered, "NetworkPolicy", "-api")
    must(peers(api, "admin") == [monitoring], f"{peers(api, 'admin')}")
    must(peers(api, "http") == [{"ipBlock": {"cidr": "10.0.0.0/16"}}], f"{peers(api, 'http')}")
    # Without peers, anybody may; without a pod of `helm test`, it is not named.
    bare = objects(template(EXAMPLES["staging"]))
    must(peers(find(bare, "NetworkPolicy", "-pipeline"), "admin") == [], "it names peers")
    untested = objects(template(EXAMPLES["eks-production"], "--set", "tests.enabled=false"))
    found = peers(find(untested, "NetworkPolicy", "-pipeline"), "admin")
    must(found == [monitoring], f"{found}")


@test
def an_older_kubernetes_is_refused():
    refused(
        "incompatible with Kubernetes v1.29.0", *with_laptop(), "--kube-version", "1.29.0"
    )


def toml_of(rendered: list) -> str:
    return find(rendered, "ConfigMap", "theatre")["data"]["theatre.toml"]


@test
def values_become_the_configuration_that_they_say():
    rendered = objects(template(EVERYTHING))
    written = tomllib.loads(toml_of(rendered))
    expected = yaml.safe_load(EVERYTHING.read_text())["config"]
    # What the chart adds.
    secrets = "/etc/theatre/secrets"
    expected["admin"] = "0.0.0.0:9464"
    expected["pseudonym_key_file"] = f"{secrets}/pseudonym/key"
    expected["log"]["ca_file"] = f"{secrets}/kafka/ca.crt"
    expected["log"]["certificate_file"] = f"{secrets}/kafka/client.crt"
    expected["log"]["key_file"] = f"{secrets}/kafka/client.key"
    expected["log"]["key_password_file"] = f"{secrets}/kafka/client.key.password"
    expected["log"]["password_file"] = f"{secrets}/kafka/password"
    expected["store"] |= {
        "password_file": f"{secrets}/store/password",
        "ca_file": f"{secrets}/store/ca.crt",
    }
    expected["registry"] |= {
        "password_file": f"{secrets}/registry/password",
        "ca_file": f"{secrets}/registry/ca.crt",
    }
    expected["lake"]["credentials_file"] = f"{secrets}/object-store/credentials"
    must(written == expected, f"written: {written}\nexpected: {expected}")
    # A secret for the object store is none for Redshift on AWS.
    must("credentials_file" not in written["warehouse"], "Redshift gets the store's keys")
    volumes = find(rendered, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    sources = next(one for one in volumes if one["name"] == "secrets")["projected"]["sources"]
    mounted = {item["path"] for one in sources for item in one["secret"]["items"]}
    named = {
        value.removeprefix(f"{secrets}/")
        for section in [written, *written.values()]
        if isinstance(section, dict)
        for value in section.values()
        if isinstance(value, str) and value.startswith(secrets)
    }
    must(mounted == named, f"mounted: {mounted}, named in the configuration: {named}")


def program():
    """The program, if it has been built: the one that is named, or the newest in target."""
    named = os.environ.get("THEATRE_BIN")
    if named:
        return named
    built = [ROOT / "target" / profile / "theatre" for profile in ("debug", "release", "dist")]
    built = sorted((one for one in built if one.is_file()), key=lambda one: one.stat().st_mtime)
    return built[-1] if built else None


@test
def the_program_takes_the_configuration_of_each_file_of_values():
    theatre = program()
    if theatre is None:
        checks.group.left_out("the program", "it is not built (cargo build), so it cannot be asked")
        return
    certificate, key = work() / "ca.pem", work() / "key.pem"
    call(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=tests",
        "-keyout", key, "-out", certificate,
    )  # fmt: skip
    for name, values in ALL_VALUES.items():
        folder = work() / "etc" / name
        folder.mkdir(parents=True)
        for file, text in find(objects(template(values)), "ConfigMap", "theatre")["data"].items():
            text = text.replace("/etc/theatre/secrets", str(folder))
            (folder / file).write_text(text.replace("/etc/rds", str(folder)))
        written = tomllib.loads((folder / "theatre.toml").read_text())
        # Files that the configuration names: those of secrets, and others that are mounted.
        for section in [written, *written.values()]:
            for setting, value in section.items() if isinstance(section, dict) else ():
                if not setting.endswith("_file"):
                    continue
                path = pathlib.Path(value)
                path.parent.mkdir(exist_ok=True)
                if setting in ("ca_file", "certificate_file"):
                    shutil.copy(certificate, path)
                elif setting == "key_file":
                    shutil.copy(key, path)
                else:
                    path.write_bytes(b"7" * 32)
        done = call(
            theatre, "--data", folder / "data", "--config", folder / "theatre.toml",
            "config", "check",
        )  # fmt: skip
        must("good" in done.stdout, done.stdout)


@test
def a_pod_keeps_its_name_in_the_group_and_gets_the_time_that_a_stop_may_take():
    rendered = objects(template(EXAMPLES["eks-production"]))
    spec = find(rendered, "StatefulSet")["spec"]
    must(spec["podManagementPolicy"] == "Parallel", "pods start one after another")
    must(spec["updateStrategy"] == {"type": "RollingUpdate"}, spec["updateStrategy"])
    pod = spec["template"]["spec"]
    env = {one["name"]: one for one in pod["containers"][0]["env"]}
    name = env["THEATRE__LOG__GROUP_INSTANCE_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    must(name == "metadata.name", name)
    must(pod["terminationGracePeriodSeconds"] == 60 + 30 + 15, "grace is not drain + checkpoint")
    longer = objects(
        template(
            EXAMPLES["laptop"], "--set", "config.store.statement_timeout=1500ms",
            "--set", "pipeline.preStopSeconds=7", "--set", "pipeline.drainSeconds=70",
        )
    )  # fmt: skip
    pod = find(longer, "StatefulSet")["spec"]["template"]["spec"]
    must(pod["terminationGracePeriodSeconds"] == 7 + 70 + 2 + 15, "grace follows no value")
    sleep = pod["containers"][0]["lifecycle"]["preStop"]
    must(sleep == {"sleep": {"seconds": 7}}, f"preStop: {sleep}")


@test
def a_changed_configuration_restarts_the_pods_and_nothing_else_does():
    def checksum(*arguments):
        rendered = objects(template(EXAMPLES["laptop"], *arguments))
        pod = find(rendered, "StatefulSet")["spec"]["template"]
        return pod["metadata"]["annotations"]["checksum/config"]

    before = checksum()
    must(checksum("--set", "pipeline.minReadySeconds=20") == before, "another value changed it")
    must(checksum("--set", "config.save_interval=4s") != before, "theatre.toml did not")
    must(checksum("--set", "files.rules\\.toml=x") != before, "a file beside it did not")


@test
def a_new_version_of_the_chart_alone_restarts_no_pod():
    chart = copy_of_the_chart("newer")
    replace_in(chart / "Chart.yaml", "\nversion: 0.1.0", "\nversion: 0.1.1")
    pods = [
        find(objects(template(EXAMPLES["laptop"], chart=one)), "StatefulSet")["spec"]["template"]
        for one in (CHART, chart)
    ]
    must(pods[0] == pods[1], "the pods differ")


@test
def hooks_come_before_everything_that_they_need_not():
    rendered = objects(template(EXAMPLES["eks-production"]))
    weights = {}
    for one in rendered:
        notes = one["metadata"].get("annotations") or {}
        if "pre-install" in notes.get("helm.sh/hook", ""):
            weights[one["kind"], one["metadata"]["name"]] = int(notes["helm.sh/hook-weight"])
            must(notes["helm.sh/hook"] == "pre-install,pre-upgrade", notes)
    jobs = {name: weight for (kind, name), weight in weights.items() if kind == "Job"}
    must(
        sorted(jobs, key=jobs.get)
        == ["theatre-migrate", "theatre-migrate-warehouse", "theatre-topics"],
        f"jobs: {jobs}",
    )
    others = [weight for (kind, _), weight in weights.items() if kind != "Job"]
    must(max(others) < min(jobs.values()), f"something that a job needs comes late: {weights}")
    for name in jobs:
        pod = find(rendered, "Job", name)["spec"]["template"]["spec"]
        needs = {
            ("ServiceAccount", pod["serviceAccountName"]),
            ("ConfigMap", pod["volumes"][0]["configMap"]["name"]),
        }
        must(needs <= set(weights), f"{name} needs {needs} before the release is there")


@test
def jobs_are_left_out_where_there_is_nothing_for_them_to_do():
    jobs = {
        values: sorted(
            one["metadata"]["name"]
            for one in objects(template(ALL_VALUES[values]))
            if one["kind"] == "Job"
        )
        for values in ("laptop", "staging", "embedded")
    }
    expected = ["theatre-migrate", "theatre-topics"]
    must(jobs == {"laptop": expected, "staging": expected, "embedded": []}, f"{jobs}")


# Commands that run once, as the chart's README has them.
RUN_ONCE = [
    ["reconcile", "--allow-pending"],
    ["report", "busiest_robots"],
    ["state", "rebuild", "--from", "log"],
    ["run", "--until-drained"],
    ["state", "repartition", "--partitions", "96"],
]


def run_once(command, *arguments, values=EXAMPLES["eks-production"]):
    """The job that the README makes of a command, as it renders it."""
    given = f"jobs.run.command={json.dumps(command)}"
    return template(values, "--show-only", "templates/run.yaml", "--set-json", given, *arguments)


@test
def a_command_that_runs_once_has_what_the_release_has():
    release = objects(template(EXAMPLES["eks-production"]))
    made = {(one["kind"], one["metadata"]["name"]) for one in release}
    pipeline = find(release, "StatefulSet")["spec"]["template"]["spec"]
    for command in RUN_ONCE:
        text = run_once(command)
        for version in VERSIONS:
            kubeconform(text.replace("generateName", "name"), version)
        job = objects(text)[0]
        must(job["kind"] == "Job" and "name" not in job["metadata"], f"{job['metadata']}")
        must(job["metadata"]["generateName"] == "theatre-run-", f"{job['metadata']}")
        must(not job["metadata"].get("annotations"), "it is a hook of the release")
        must(job["spec"]["backoffLimit"] == 0, "it is tried again")
        pod = job["spec"]["template"]["spec"]
        must(pod["containers"][0]["args"][1:] == command, f"{pod['containers'][0]['args']}")
        needs = {
            ("ServiceAccount", pod["serviceAccountName"]),
            ("ConfigMap", pod["volumes"][0]["configMap"]["name"]),
        }
        must(needs <= made, f"{needs} are not of the release")
        must(pod["serviceAccountName"] == pipeline["serviceAccountName"], "another account")
    must("templates/run.yaml" not in template(EVERYTHING), "a release has the job, too")


@test
def a_command_that_runs_once_may_have_another_account_and_more_variables():
    env = "jobs.run.env[0].name=THEATRE__LOG__CREATE_TOPICS"
    text = run_once(
        ["state", "repartition", "--partitions", "96"],
        "--set", "jobs.run.serviceAccountName=theatre-topics",
        "--set", env, "--set-string", "jobs.run.env[0].value=true",
    )  # fmt: skip
    for version in VERSIONS:
        kubeconform(text.replace("generateName", "name"), version)
    pod = objects(text)[0]["spec"]["template"]["spec"]
    must(pod["serviceAccountName"] == "theatre-topics", pod["serviceAccountName"])
    wanted = {"name": "THEATRE__LOG__CREATE_TOPICS", "value": "true"}
    must(wanted in pod["containers"][0]["env"], f"{pod['containers'][0]['env']}")


@test
def the_readme_names_commands_that_run_once_as_they_are_tried_here():
    readme = (CHART / "README.md").read_text().partition("## Commands that run once")[2]
    readme = readme.partition("\n### ")[0]
    lines = [line for line in readme.splitlines() if line.startswith("run ")]
    named = [line.partition("#")[0].split()[1:] for line in lines]
    must(all(command in RUN_ONCE for command in named), f"{named}")
    must(all(command in named for command in RUN_ONCE), f"{named}")
    # The function itself, with what it calls in place of Helm and kubectl.
    script = "run() (" + readme.partition("run() (")[2].partition("\n)")[0] + "\n)\n"
    stand_ins = work() / "stand-ins"
    stand_ins.mkdir(exist_ok=True)
    for name in ("helm", "kubectl"):
        file = stand_ins / name
        file.write_text(f'#!/bin/sh\nprintf "%s|" {name} "$@" >&2\necho job.batch/made\n')
        file.chmod(0o755)
    path = f"{stand_ins}:{os.environ['PATH']}"
    done = call("bash", "-c", f"{script}run state repartition --partitions 96 2>&1",
                env={"PATH": path})  # fmt: skip
    given = 'jobs.run.command=["state","repartition","--partitions","96"]'
    must(f"|--set-json|{given}|" in done.stdout, done.stdout)
    must("kubectl|create|" in done.stdout and "|job.batch/made|" in done.stdout, done.stdout)


@test
def every_container_is_restricted_and_its_memory_is_promised():
    for name, values in ALL_VALUES.items():
        for pod in pods_of(objects(template(values))):
            security = pod["securityContext"]
            must(security["runAsNonRoot"] and security["runAsUser"] > 0, f"{name}: root")
            must(security["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: seccomp")
            must(pod["automountServiceAccountToken"] is False, f"{name}: token")
            for container in pod["containers"] + pod.get("initContainers", []):
                must(
                    container["securityContext"]
                    == {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    f"{name}: {container['securityContext']}",
                )
                resources = container["resources"]
                must(
                    resources["requests"]["memory"] == resources["limits"]["memory"],
                    f"{name}: {resources}",
                )


def pods_of(rendered: list) -> list:
    """Specifications of all pods that objects make."""
    pods = []
    for one in rendered:
        spec = one.get("spec") or {}
        if one["kind"] == "Pod":
            pods.append(spec)
        elif one["kind"] == "CronJob":
            pods.append(spec["jobTemplate"]["spec"]["template"]["spec"])
        elif "template" in spec:
            pods.append(spec["template"]["spec"])
    must(pods, "there are no pods")
    return pods


@test
def no_secret_is_made_and_none_stands_in_a_config_map():
    for name, values in ALL_VALUES.items():
        for one in objects(template(values)):
            must(one["kind"] != "Secret", f"{name} makes a Secret")


@test
def rules_and_boards_are_those_of_the_files_and_none_without_files():
    values = EXAMPLES["eks-production"]
    chart = copy_of_the_chart("monitoring")
    for folder in ("rules", "boards"):
        for path in (chart / "files" / folder).iterdir():
            path.unlink()
    kinds = {one["kind"] for one in objects(template(values, chart=chart))}
    must("PrometheusRule" not in kinds, "rules out of nothing")
    rules = (
        "groups:\n  - name: theatre\n    rules:\n      - alert: Silent\n        expr: up == 0\n"
        "        annotations:\n          summary: '{{ $labels.pod }} is down'\n"
    )
    (chart / "files/rules/fleet_rules.yaml").write_text(rules)
    # A test of rules lies beside them, and is none.
    (chart / "files/rules/fleet_tests.yaml").write_text("rule_files: [fleet_rules.yaml]\n")
    board = json.dumps({"title": "Fleet", "panels": [{"expr": "sum by (pod) (up{a=~\"$a\"})"}]})
    (chart / "files/boards/fleet.json").write_text(board)
    rendered = objects(template(values, chart=chart))
    rule = find(rendered, "PrometheusRule")
    must(rule["spec"] == yaml.safe_load(rules), f"{rule['spec']}")
    must(rule["metadata"]["name"] == "theatre-fleet-rules", rule["metadata"]["name"])
    board_map = find(rendered, "ConfigMap", "-board-fleet")
    must(json.loads(board_map["data"]["fleet.json"]) == json.loads(board), "another board")
    must(board_map["metadata"]["labels"]["grafana_dashboard"] == "1", "no sidecar finds it")


@test
def the_rules_and_boards_of_the_chart_are_installed_whole():
    # Links begin with what the files have.
    label = ["--set", "monitoring.prometheusRule.runbookUrl="]
    rendered = objects(template(EXAMPLES["eks-production"], *label))
    for path in sorted((CHART / "files/rules").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        if "groups" not in content:
            continue
        ending = f"theatre-{path.stem.lower().replace('_', '-')}"
        must(find(rendered, "PrometheusRule", ending)["spec"] == content, f"{path.name} differs")
    for path in sorted((CHART / "files/boards").glob("*.json")):
        ending = f"-board-{path.stem.lower().replace('_', '-')}"
        data = find(rendered, "ConfigMap", ending)["data"]
        must(json.loads(data[path.name]) == json.loads(path.read_text()), f"{path.name} differs")
        must(len(data[path.name]) < 1_000_000, f"{path.name} is too long for a ConfigMap")


@test
def a_scaled_pipeline_leaves_the_number_of_replicas_to_keda():
    rendered = objects(template(EVERYTHING))
    must("replicas" not in find(rendered, "StatefulSet")["spec"], "an upgrade would reset it")
    scaled = find(rendered, "ScaledObject")["spec"]
    must(scaled["maxReplicaCount"] == 24, "more replicas than partitions")
    asked = {
        one["name"]: (one["metadata"]["query"], one["metadata"]["threshold"])
        for one in scaled["triggers"]
    }
    own = '{namespace="theatre", pod=~"theatre-pipeline-[0-9]+"}'
    expected = {
        "lag": (f"sum(theatre_consumer_lag_records{own})", "100000"),
        "recommended": (f"ceil(sum(theatre_recommended_replicas{own}))", "1"),
    }
    must(asked == expected, f"{asked}")
    named = {one.get("authenticationRef", {}).get("name") for one in scaled["triggers"]}
    must(named == {"prometheus"}, f"{named}")
    others = ["--set", "keda.query=mine", "--set", "keda.replicasQuery=yours"]
    triggers = find(objects(template(EVERYTHING, *others)), "ScaledObject")["spec"]["triggers"]
    must([one["metadata"]["query"] for one in triggers] == ["mine", "yours"], f"{triggers}")


@test
def links_to_runbooks_begin_with_their_address_or_with_the_label_of_prometheus():
    def links(*settings):
        rendered = objects(template(EVERYTHING, *settings))
        return {
            rule["alert"]: rule["annotations"]["runbook_url"]
            for one in rendered
            if one["kind"] == "PrometheusRule"
            for group in one["spec"]["groups"]
            for rule in group["rules"]
            if "alert" in rule
        }

    name = "monitoring.prometheusRule.runbookUrl"
    for settings, beginning in [
        ((), "{{ $externalLabels.runbooks }}"),
        (("--set", f"{name}=https://docs.example.com/run/"), "https://docs.example.com/run"),
    ]:
        found = links(*settings)
        must(len(found) > 20, f"{len(found)} alerts")
        wrong = {
            alert: link for alert, link in found.items() if link != f"{beginning}/{alert}.md"
        }
        must(not wrong, f"{wrong}")


@test
def what_reconcile_finds_reaches_the_rules_that_stand_on_it():
    """Rules that look for what is never pushed would be quiet for ever."""
    for name, values in ALL_VALUES.items():
        text = template(values)
        if "alert: TheatreReconcileGap" not in text:
            continue
        rendered = objects(text)
        job = find(rendered, "CronJob", "-reconcile")["spec"]["jobTemplate"]["spec"]["template"]
        (pushed,) = [
            urllib.parse.urlsplit(argument.partition("=")[2])
            for argument in job["spec"]["containers"][0]["args"]
            if argument.startswith("--metrics-push=")
        ]
        policies = [
            one["spec"]["egress"]
            for one in rendered
            if one["kind"] == "NetworkPolicy" and "egress" in one["spec"]
        ]
        for egress in policies:
            ports = {port["port"] for rule in egress for port in rule.get("ports", ())}
            must(pushed.port in ports, f"{name}: no policy lets it to port {pushed.port}")


@test
def the_notes_say_which_alerts_cannot_come_and_which_links_lead_nowhere():
    # Helm shows notes only where there is a cluster: in an object they are rendered without.
    chart = copy_of_the_chart("notes")
    templates = chart / "templates"
    text = (templates / "NOTES.txt").read_text()
    (templates / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{text}{{{{ end }}}}')
    (templates / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {notes: {{ include "notes" . | toJson }}}\n'
    )

    def notes(*settings):
        words = [word for setting in settings for word in ("--set", setting)]
        rendered = objects(template(EXAMPLES["staging"], *words, chart=chart))
        return find(rendered, "ConfigMap", "notes")["data"]["notes"]

    lost, silent, links = "nothing proves", "tells nobody what it finds", "they lead nowhere"
    for settings, expected in [
        ((), set()),
        (("reconcile.pushgateway=",), {silent}),
        (("reconcile.enabled=false",), {lost}),
        (("monitoring.prometheusRule.runbookUrl=",), {links}),
        (("reconcile.enabled=false", "monitoring.prometheusRule.enabled=false"), set()),
    ]:
        text = notes(*settings)
        must("is installed as theatre" in text, text)
        said = {one for one in (lost, silent, links) if one in text}
        must(said == expected, f"{settings}: {said}")


@test
def queries_of_a_managed_prometheus_are_signed_by_the_role_of_keda():
    given = {
        "enabled": "true",
        "prometheusAddress": "https://aps-workspaces.test/workspaces/ws-1",
        "awsRegion": "eu-central-1",
        "authenticationRef": "theatre-prometheus",
    }
    words = [f"--set=keda.{name}={value}" for name, value in given.items()]
    rendered = objects(template(EXAMPLES["eks-production"], *words))
    triggers = find(rendered, "ScaledObject")["spec"]["triggers"]
    must([one["name"] for one in triggers] == ["lag", "recommended"], f"{triggers}")
    for trigger in triggers:
        must(trigger["metadata"]["awsRegion"] == "eu-central-1", f"{trigger}")
        must(trigger["metadata"]["identityOwner"] == "operator", f"{trigger}")
        must(trigger["authenticationRef"] == {"name": "theatre-prometheus"}, f"{trigger}")


@test
def the_rendered_objects_are_those_of_the_snapshots():
    for name, values in ALL_VALUES.items():
        snapshot = HERE / "snapshots" / f"{name}.txt"
        text = without_files(template(values))
        if checks.renew:
            snapshot.parent.mkdir(exist_ok=True)
            snapshot.write_text(text)
            continue
        known = snapshot.read_text() if snapshot.exists() else ""
        if known != text:
            lines = difflib.unified_diff(
                known.splitlines(), text.splitlines(), str(snapshot.name), "rendered", n=2
            )
            raise checks.Failed(
                "\n".join(list(lines)[:60])
                + "\nif this is meant: tests/ops/kubernetes/run renew, and look at what changed"
            )


def without_files(text: str) -> str:
    """Only the names of rules and boards: what is in them has tests of its own."""
    kept = []
    for document in text.split("\n---\n"):
        if "/templates/boards.yaml" in document or "/templates/prometheusrule.yaml" in document:
            name = next(line for line in document.splitlines() if line.startswith("  name: "))
            document = f"# the content of a file\n{name}"
        kept.append(document)
    return "\n---\n".join(kept)
