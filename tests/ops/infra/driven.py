"""The tasks of a deployment at work, as a first start and its users run them, on servers of this
machine, with a proxy before all that AWS guards by IAM: the object store, the Data API, Glue and
SNS. What they ask for is held against the policies of their roles, as they are deployed."""

import json
import os
import re
import types
import urllib.request

import deploying
import process
import rights
from harness import eventually, must
from traffic import Names, Proxy, Recorder

# A topic of robots with a schema that is in Glue, not in the program.
TOPIC = "surgical.theatre.lights.v1"
SCHEMA = {
    "type": "record",
    "name": "Lights",
    "fields": [
        {"name": "robot_id", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "brightness", "type": "double"},
    ],
}
# What an image of one's own would bring along; fewer partitions and less patience than usual change
# nothing of what is asked for.
CONFIGURATION = """
save_interval = "1s"
lake_roll_age = "3s"
export_age = "2s"

[glue]
region = "eu-central-1"
registry = "{registry}"
endpoint = "{proxy}"

[[input]]
topic = "{input}"
kind = "telemetry"
dataset = "lights"
schemas = "glue"

[[notify]]
name = "clinic"
kind = "sns"
topic = "{topic}"
url = "{proxy}"
"""
# The topic of SNS that the deployment may publish on.
ALERTS = "arn:aws:sns:eu-central-1:123456789012:clinic"
# A key of its own that the topic has.
KEY_OF_ALERTS = "arn:aws:kms:eu-central-1:210987654321:key/11111111-2222-3333-4444-555555555555"


class FirstUpload:
    """An object store that takes no part of the first upload that it sees, so that the upload has
    to be given up."""

    def __init__(self):
        self.upload = None

    def __call__(self, request):
        is_part = request.method == "PUT" and "partNumber=" in request.target
        if request.service != "s3" or not is_part:
            return False
        upload = request.target.partition("uploadId=")[2].partition("&")[0]
        self.upload = self.upload or upload
        return upload == self.upload


class Deployment:
    """The tasks of a deployment; their processes reach AWS through the proxy of their role."""

    def __init__(self, aws, endpoint, name, servers, theatre, folder):
        self.aws, self.name, self.theatre, self.folder = aws, name, theatre, folder
        # Regions are those of the tasks: keys are used by the S3 of a region.
        self.servers = {
            key: value for key, value in servers.variables.items() if not key.endswith("REGION")
        }
        self.upstream = {
            "s3": self.servers["THEATRE__LAKE__ENDPOINT"],
            "redshift-data": self.servers["THEATRE__WAREHOUSE__ENDPOINT"],
            "glue": endpoint,
            "sns": endpoint,
        }
        self.recorder = Recorder(names(aws, name, self.servers))
        self.proxies, self.tasks, self.topics = {}, {}, set()

    def close(self):
        for each in self.proxies.values():
            each.close()

    def definition(self, family):
        """The definition of a task."""
        return definition(self.aws, self.name, family)

    def role(self, family):
        """The role of a task, without the name of the deployment."""
        arn = self.definition(family)["taskRoleArn"]
        return arn.rpartition("/")[2].removeprefix(f"{self.name}-")

    def proxy(self, role):
        """The proxy of a role. To the pipeline's the object store is not always kind."""
        if role not in self.proxies:
            more = {"fails": FirstUpload()} if role == "pipeline" else {}
            self.proxies[role] = Proxy(self.recorder, role, self.upstream, **more)
        return self.proxies[role].address

    def task(self, family, container="theatre"):
        """A task with its files, and the variables that lead its processes to servers of here."""
        if family in self.tasks:
            return self.tasks[family]
        folder = self.folder / f"{self.name}-{family}"
        folder.mkdir()
        task = process.Task(self.aws, f"{self.name}-{family}", folder, self.theatre, container)
        if "files" in task.containers:
            task.write_files("the store of here has no TLS")
        address = self.proxy(self.role(family))
        file = folder / "theatre.toml"
        file.write_text(
            CONFIGURATION.format(registry=self.name, proxy=address, input=TOPIC, topic=ALERTS)
        )
        variables = {
            **self.servers,
            **{key: value for key, value in os.environ.items() if key.startswith("AWS_")},
            "THEATRE_CONFIG": str(file),
            "THEATRE__PARTITIONS": "4",
            "THEATRE__LAKE__ENDPOINT": address,
            "THEATRE__WAREHOUSE__ENDPOINT": address,
        }
        self.tasks[family] = (task, types.SimpleNamespace(variables=variables))
        return self.tasks[family]

    def does(self, family, *words, **more):
        """A command in a task, as infra/job runs it."""
        task, given = self.task(family)
        return task.does(given, *words, **more)


def definition(aws, deployment, family):
    """The definition of a task."""
    name = f"{deployment}-{family}"
    return aws("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]


def names(aws, deployment, servers):
    """What names of servers here are in a deployment, and what its policies call them."""
    containers = definition(aws, deployment, "job")["containerDefinitions"]
    given = next(each["environment"] for each in containers if each["name"] == "theatre")
    there = {each["name"]: each["value"] for each in given}
    bucket, lake = (
        each["THEATRE__LAKE__URL"].removeprefix("s3://").partition("/")[0]
        for each in (there, servers)
    )
    asked = aws("s3").get_bucket_encryption(Bucket=bucket)
    rule = asked["ServerSideEncryptionConfiguration"]["Rules"][0]
    key = rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    account = aws("sts").get_caller_identity()["Account"]
    there_is = warehouses(aws, deployment, there, servers)
    secrets = administrators(aws, deployment, account) if there_is else {}
    return Names(account, {lake: (bucket, key)}, there_is, {ALERTS: KEY_OF_ALERTS}, secrets)


def administrators(aws, deployment, account):
    """The secret by which the users of a warehouse are made."""
    (container,) = definition(aws, deployment, "warehouse-users")["containerDefinitions"]
    given = {each["name"]: each["value"] for each in container["environment"]}
    name, region = given["THEATRE__WAREHOUSE__SECRET_ARN"], given["THEATRE__WAREHOUSE__REGION"]
    arn = f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf"
    return {name: (arn, deploying.exported(aws, deployment)["SecretsKeyArn"])}


def warehouses(aws, deployment, there, servers):
    """The warehouse of here as the one of a deployment, if it has one by its variables."""
    account = aws("sts").get_caller_identity()["Account"]
    if there.get("THEATRE__WAREHOUSE__ENABLED") == "false":
        return {}
    place, warehouse = (
        each["THEATRE__WAREHOUSE__URL"].removeprefix("redshift://") for each in (there, servers)
    )
    if there["THEATRE__WAREHOUSE__KIND"] == "serverless":
        arn = deploying.exported(aws, deployment)["WarehouseArn"]
        return {warehouse: (arn, arn)}
    begin = f"arn:aws:redshift:{there['THEATRE__WAREHOUSE__REGION']}:{account}"
    cluster = f"{begin}:cluster:{place.partition('/')[0]}"
    return {warehouse: (cluster, f"{begin}:dbname:{place}")}


def prepare(made):
    """What someone else has made: a schema, and a topic that alerts are sent to."""
    made.aws("sns").create_topic(Name=ALERTS.rpartition(":")[2])
    made.aws("glue").create_schema(
        RegistryId={"RegistryName": made.name},
        SchemaName=TOPIC,
        DataFormat="AVRO",
        Compatibility="NONE",
        SchemaDefinition=json.dumps(SCHEMA),
    )


def everything(made):
    """All that users do with a deployment."""
    first_start(made)
    service(made)
    interface(made)
    by_hand(made)
    repartition(made)


def first_start(made):
    """What `infra/job setup` runs."""
    made.does("job", "migrate")
    said = made.does("topics", "topics", "create").stdout
    made.topics = set(re.findall(r"\bsurgical\.[a-z0-9.]*[a-z0-9]\b", said))
    warehouse(made)


def warehouse(made):
    """The same of the warehouse: its tables, and who may do what with them."""
    made.does("job", "migrate", "--warehouse")
    (container,) = made.definition("warehouse-users")["containerDefinitions"]
    said = made.does("warehouse-users", *container["command"]).stdout
    for name, may in [("pipeline", "load"), ("shell", "load"), ("api", "read")]:
        line = re.search(rf"IAMR:{made.name}-{name} +(\w+)", said)
        must(line and line[1] == may, f"{name} may not {may}: {said}")


def service(made):
    """The service reads what is sent from the shell, gives up an upload, and loads files."""
    task, given = made.task("pipeline")
    with task.started(given) as (running, health):
        eventually("it is alive", lambda: health().returncode == 0)
        more = {"THEATRE__LOG__CREATE_TOPICS": "true"}
        made.does("shell", "simulate", "--robots", "8", "--ticks", "600", **more)
        for action in ("s3:AbortMultipartUpload", "redshift-data:ListStatements"):
            seen = lambda: made.recorder.count("pipeline", action)  # noqa: B023, E731
            eventually(f"{action} is called", seen, patience=300)
        code = task.stop(running)
        must(code == 0, f"it ended with {code}")


def by_hand(made):
    """What people run once, each with infra/job or in the shell."""
    made.does("job", "run", "--until-drained")
    made.does("job", "doctor", "--deadline", "120s")
    made.does("job", "report", "busiest_robots")
    made.does("job", "notify", "test", "clinic")
    made.does("reconcile", "reconcile", "--allow-pending")
    made.does("shell", "doctor", "--write", "--deadline", "120s")
    made.does("shell", "report", "busiest_robots")
    made.does("shell", "notify", "test", "clinic")


def interface(made):
    """The HTTP interface answers, from the lake, too, and appends what is sent to it: a record, a
    silence, and a change of a rule."""
    words = ["token", "create", "--role", "admin", "--name", "try", "--output", "json"]
    secret = json.loads(made.does("job", *words).stdout)[0]["secret"]
    task, given = made.task("api", "api")
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def asked(path, sent=None):
        address = f"http://127.0.0.1{process.PORTS[':8080']}/api/v1/{path}"
        body = json.dumps(sent).encode() if sent else None
        once = {**headers, "Idempotency-Key": path}
        request = urllib.request.Request(address, body, once)
        with urllib.request.urlopen(request, timeout=60) as answer:
            must(answer.status == (202 if sent else 200), f"{path}: {answer.status}")
            return json.load(answer)

    with task.started(given) as (_, health):
        eventually("the interface is alive", lambda: health().returncode == 0)
        for path in ("robots", "alerts", "pipeline", "datasets", "reports/busiest_robots"):
            must(asked(path), f"{path}: nothing")
        event = {"event_id": "e-1", "event_type": "started", "event_time": 1_767_225_600_000_000}
        asked("datasets/robot_events/records", [{"robot_id": "robot-0001", **event}])
        asked("silences", {"robot": "robot-0001", "for": "1h", "reason": "it is being cleaned"})
        between = "from=2026-01-01T00:00:00Z&to=2026-01-01T00:05:00Z&dataset=robot_telemetry"
        rows = asked(f"robots/robot-0001/telemetry?{between}")["items"]
        must(rows, "no row of telemetry is read from the lake")
        rule = asked("rules")["items"][0]["id"]
        asked(f"rules/{rule}/disable", {"comment": "it is tried out"})


def repartition(made):
    """What comes last, since there are more partitions then."""
    made.does("topics", "state", "rebuild", "--from", "lake")
    made.does("topics", "state", "repartition", "--partitions", "6")
