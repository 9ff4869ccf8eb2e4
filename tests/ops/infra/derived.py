"""What processes do that is no recorded request, and what IAM has to allow for it: a list, written
by what the programs do (`derived.json`), and what ECS does, by the definitions of tasks. The shell
that produces is a shell, in deployments with `ShellProduces`."""

import json
import pathlib
import re

import deploying
from traffic import Need

WRITTEN = json.loads((pathlib.Path(__file__).parent / "derived.json").read_text())


def topics(sources, own=frozenset()):
    """Topics of the sources by what they are for, with inputs of one's own; `sources` gives the
    text below a folder."""

    def named(folder):
        return set(re.findall(r'"(surgical\.[a-z.-]+\.v\d+)"', sources(folder)))

    outputs, read = named("actors/src/outputs"), named("runtime/config/src") | own
    actions = {each for each in read if each.endswith((".acks.v1", ".control.v1"))}
    return {
        "inputs": read - actions - outputs,
        "actions": actions,
        "outputs": outputs,
        "dead letters": {f"{each}.dlq" for each in read - outputs},
    }


class Places:
    """ARNs of what the list names, in one deployment."""

    def __init__(self, aws, deployment, kinds):
        self.deployment, self.kinds = deployment, kinds
        out = deploying.exported(aws, deployment)
        self.cluster = out["LogClusterArn"]
        begin, _, self.log = self.cluster.partition(":cluster/")
        place = begin.removeprefix("arn:aws:kafka:")
        self.logs = f"arn:aws:logs:{place}:log-group:/{deployment}"
        self.users = f"arn:aws:rds-db:{place}:dbuser:{out['StoreResourceId']}"
        self.begin = begin
        lake = f"arn:aws:s3:::{out['LakeBucketName']}"
        self.fixed = {
            "*": "*",
            "cluster": self.cluster,
            "workspace": out["PrometheusArn"],
            "key of sessions": out["LogsKeyArn"],
            "key of data": out["DataKeyArn"],
            "lake": lake,
            "files of the lake": f"{lake}/lake/any.parquet",
        }

    def of(self, text):
        """The ARNs of a thing in the list."""
        if text in self.fixed:
            return [self.fixed[text]]
        kind, _, name = text.partition(":")
        name = name.format(deployment=self.deployment)
        if kind == "topics":
            return [f"{self.begin}:topic/{self.log}/{each}" for each in self.kinds[name]]
        if kind in ("topic", "group", "transactional-id"):
            return [f"{self.begin}:{kind}/{self.log}/{name}"]
        if kind == "dbuser":
            return [f"{self.users}/{name}"]
        if kind == "log":
            return [f"{self.logs}/{name}:log-stream:any"]
        raise KeyError(text)


def of_list(places):
    """The needs of the list, as they are recorded: by role and need, how it came and how often."""
    return {
        (role, Need(action, arn)): (f"derived: {each['why']}", 1)
        for each in WRITTEN
        for thing in each["on"]
        for arn in places.of(thing)
        for role in each["roles"]
        for action in each["actions"]
    }


def of_ecs(aws, deployment):
    """What ECS needs to start the tasks of a deployment: images, secrets, parameters, logs."""
    ecs, found = aws("ecs"), {}
    key = deploying.exported(aws, deployment)["SecretsKeyArn"]
    families = ecs.list_task_definition_families(familyPrefix=f"{deployment}-")["families"]
    for family in families:
        task = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
        role = task["executionRoleArn"].rpartition("/")[2].removeprefix(f"{deployment}-")
        for container in task["containerDefinitions"]:
            line = f"derived: ECS starts {container['name']} of {family}"
            needs = [*of_image(container["image"]), *of_secrets(container, task, key)]
            options = container["logConfiguration"]["options"]
            place = ":".join(task["taskDefinitionArn"].split(":")[3:5])
            group = f"arn:aws:logs:{place}:log-group:{options['awslogs-group']}"
            for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                needs.append(Need(action, f"{group}:log-stream:any"))
            found |= {(role, need): (line, 1) for need in needs}
    return found


def of_scheduler(aws, deployment):
    """What starts the nightly proof: the task of its schedule, with the roles of the task."""
    schedule = aws("scheduler").get_schedule(Name=f"{deployment}-reconcile")
    role = schedule["Target"]["RoleArn"].rpartition("/")[2].removeprefix(f"{deployment}-")
    arn = schedule["Target"]["EcsParameters"]["TaskDefinitionArn"]
    task = aws("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
    cluster = (("ecs:cluster", schedule["Target"]["Arn"]),)
    handed = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
    needs = [
        Need("ecs:RunTask", arn, cluster),
        Need("iam:PassRole", task["taskRoleArn"], handed),
        Need("iam:PassRole", task["executionRoleArn"], handed),
    ]
    return {(role, need): ("derived: the schedule runs its task", 1) for need in needs}


def of_keda(aws, deployment):
    """What scales the pods by the lag: a question to managed Prometheus, where there are pods."""
    pages = aws("iam").get_paginator("list_roles").paginate()
    if f"{deployment}-keda" not in {each["RoleName"] for page in pages for each in page["Roles"]}:
        return {}
    need = Need("aps:QueryMetrics", deploying.exported(aws, deployment)["PrometheusArn"])
    return {("keda", need): ("derived: KEDA asks for the lag", 1)}


def of_image(image):
    """What is needed to pull an image; of a public one, nothing."""
    own = re.match(r"(\d+)\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:]+):", image)
    if not own:
        return []
    repository = f"arn:aws:ecr:{own[2]}:{own[1]}:repository/{own[3]}"
    names = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    return [
        Need("ecr:GetAuthorizationToken", "*"),
        *(Need(f"ecr:{name}", repository) for name in names),
    ]


def of_secrets(container, task, key):
    """What is needed to read secrets, each of which has the key of secrets, and parameters."""
    needs = []
    for each in container.get("secrets", []):
        source = each["valueFrom"]
        if ":secretsmanager:" in source:
            needs += [Need("secretsmanager:GetSecretValue", source), Need("kms:Decrypt", key)]
        else:
            place = ":".join(task["taskDefinitionArn"].split(":")[3:5])
            needs.append(Need("ssm:GetParameters", f"arn:aws:ssm:{place}:parameter{source}"))
    return needs
