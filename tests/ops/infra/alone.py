"""The programs of infra/ with an `aws` that answers from a list: what moto has no time for, such as
changes that take hours, and what it cannot do, such as tasks that end or stacks that fail."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from harness import must, run
from templates import INFRA

AWS = """#!{python} -IS
import json, pathlib, re, sys

here, words = pathlib.Path(__file__).parent, " ".join(sys.argv[1:])
with open(here / "asked", "a") as asked:
    asked.write(words + "\\n")
for number, (form, answers) in enumerate(json.loads((here / "answers.json").read_text())):
    if re.search(form, words):
        place = here / f"{{number}}.count"
        count = int(place.read_text()) if place.exists() else 0
        place.write_text(str(count + 1))
        for times, text, code in answers:
            if count < times:
                break
            count -= times
        print(text, file=sys.stderr if code else sys.stdout)
        sys.exit(code)
"""
SLEEP = """#!/bin/sh
echo "$1" >>"$(dirname "$0")/slept"
"""
SETTINGS = {"Deployment": "theatre-x", "Region": "eu-central-1", "Partitions": 12, "ImageTag": "1"}
TASK = "arn:aws:ecs:eu-central-1:1:task/theatre-x/0123"
GONE = (1, "An error occurred (ValidationError): Stack with id theatre-x does not exist", 254)


class Answers:
    """An `aws` that answers by the first form that fits, each answer so many times and the last one
    from then on; what no form fits is answered with nothing."""

    def __init__(self, *answers, **settings):
        self.answers = [
            (form, [(1, given, 0)] if isinstance(given, str) else given)
            for form, given in [
                *answers,
                ("sts get-caller-identity", "123456789012"),
                ("cloudformation list-exports", exports("LogClusterArn=arn:log")),
                ("cloudformation describe-stacks --output json", "[]"),
                ("cloudformation describe-change-set .*Changes", "Add\tNone\tAWS::X::Y\tOne"),
                ("kafka get-bootstrap-brokers", "b-1.log.test:9098"),
            ]
        ]
        self.settings = {**SETTINGS, **settings}

    def __enter__(self):
        self.held = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.held.name)
        for name, text in [("aws", AWS.format(python=sys.executable)), ("sleep", SLEEP)]:
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        (self.folder / "answers.json").write_text(json.dumps(self.answers))
        self.file = self.folder / "settings.json"
        self.file.write_text(json.dumps(self.settings))
        return self

    def __exit__(self, *_):
        self.held.cleanup()

    def infra(self, name, *words):
        """Runs a program of infra/ with the settings."""
        path = {"PATH": f"{self.folder}:{os.environ['PATH']}"}
        options = {"env": {**os.environ, **path}, "stdin": subprocess.DEVNULL}
        return run(INFRA / name, self.file, *words, check=False, **options)

    def asked(self):
        """What `aws` was asked, in the order of asking."""
        return (self.folder / "asked").read_text().splitlines()

    def slept(self):
        """Seconds that were waited."""
        place = self.folder / "slept"
        return sum(map(int, place.read_text().split())) if place.exists() else 0


def exports(*pairs):
    """The answer of list-exports."""
    given = [pair.split("=") for pair in pairs]
    return json.dumps({"Exports": [{"Name": f"theatre-x-{k}", "Value": v} for k, v in given]})


def in_order(asked, *parts):
    """Whether calls were made one after the other, each named by a part of it."""
    rest = iter(asked)
    missed = [part for part in parts if not any(part in call for call in rest)]
    must(not missed, f"not, or not in this order: {missed}; asked was:\n" + "\n".join(asked))


def waits(group):
    """Changes that take hours, and stacks that could not be made."""
    look = "cloudformation describe-stacks --output text"
    one = "cloudformation describe-stacks --stack-name"
    hours = [(250, "CREATE_IN_PROGRESS", 0), (1, "CREATE_COMPLETE", 0)]
    with group.test("deploy_waits_for_a_stack_that_takes_longer_than_an_hour"):
        with Answers((look, ""), (one, hours)) as answers:
            done = answers.infra("deploy", "--stack", "images", "--yes", "--no-jobs")
            must(done.returncode == 0, done.stdout)
            must(answers.slept() > 3600, f"it waited {answers.slept()} s")
            in_order(answers.asked(), "execute-change-set", one, "update-termination-protection")
    with group.test("deploy_says_why_a_stack_could_not_be_made"):
        failed = [(2, "CREATE_IN_PROGRESS", 0), (1, "ROLLBACK_COMPLETE", 0)]
        events = ("describe-stack-events", "Repository\tThere is one already")
        with Answers((look, ""), (one, failed), events) as answers:
            done = answers.infra("deploy", "--stack", "images", "--yes", "--no-jobs")
            must(done.returncode == 1 and "There is one already" in done.stdout, done.stdout)
    with group.test("deploy_goes_on_after_a_change_that_it_began_before"):
        others = [(3, "UPDATE_IN_PROGRESS", 0), (1, "UPDATE_COMPLETE", 0)]
        state = (look, "theatre-x-images\tUPDATE_IN_PROGRESS")
        with Answers(state, (one, others)) as answers:
            done = answers.infra("deploy", "--stack", "images", "--yes", "--no-jobs")
            must(done.returncode == 0, done.stdout)
            in_order(answers.asked(), one, "--change-set-type UPDATE", "execute-change-set")
    with group.test("deploy_takes_away_what_a_stack_that_failed_has_left_and_is_protected"):
        state = (look, "theatre-x-api\tROLLBACK_FAILED")
        again = [GONE, (1, "CREATE_COMPLETE", 0)]
        given = {"Api": True, "ApiCertificateArn": "arn:aws:acm:eu-central-1:1:certificate/1"}
        balancer = ("elbv2 describe-load-balancers", "arn:balancer")
        with Answers(state, (one, again), balancer, **given) as answers:
            words = ["--stack", "api", "--yes", "--no-jobs"]
            plan = answers.infra("deploy", "--plan", *words[:2])
            must(plan.returncode == 0 and "delete-stack" not in "".join(answers.asked()), "a plan")
            done = answers.infra("deploy", *words)
            must(done.returncode == 0, done.stdout)
            lifted = "--load-balancer-arn arn:balancer --attributes Key=deletion_protection.enabled"
            in_order(answers.asked(), lifted, "delete-stack", one, "--change-set-type CREATE")
    with group.test("what_cannot_be_asked_for_is_not_taken_for_gone"):
        denied = [(1, "An error occurred (ExpiredToken): it has expired", 254)]
        with Answers((look, "theatre-x-budget\tCREATE_COMPLETE"), (one, denied)) as answers:
            done = answers.infra("destroy")
            must(done.returncode != 0 and "ExpiredToken" in done.stdout, done.stdout)


def says_how_to_push(group):
    """How an image comes into the repository: for the processors of the tasks, where that is said
    without a builder that emulates others."""
    look = ("cloudformation describe-stacks --output text", "")
    uri = "1.dkr.ecr.eu-central-1.amazonaws.com/theatre-x"
    given = [
        look,
        ("cloudformation describe-stacks --stack-name", "CREATE_COMPLETE"),
        ("list-exports", exports(f"RepositoryUri={uri}")),
        ("ecr describe-images", [(1, "ImageNotFoundException", 254)]),
    ]
    with group.test("deploy_says_how_to_push_an_image_for_the_processors_of_the_tasks"):
        for architecture, platform in [("ARM64", "linux/arm64"), ("X86_64", "linux/amd64")]:
            with Answers(*given, Architecture=architecture) as answers:
                done = answers.infra("deploy", "--stack", "access", "--yes")
            must(done.returncode == 1 and f"--tag {uri}:1" in done.stdout, done.stdout)
            must(f"docker build --platform {platform} " in done.stdout, done.stdout)
            login = "get-login-password --region eu-central-1 | docker login"
            host = f"--password-stdin {uri.partition('/')[0]}\n"
            must(login in done.stdout and host in done.stdout, done.stdout)


def data_goes(group):
    """infra/destroy where all data is to go."""
    look = "cloudformation describe-stacks --output text"
    words = ["--data", "--yes-lose-all-data-of", "theatre-x"]
    names = ["log-provisioned", "warehouse-serverless", "schemas", "keys"]
    states = (look, "\n".join(f"theatre-x-{name}\tCREATE_COMPLETE" for name in names))
    keys = ["DataKeyArn=arn:key/data", "LogsKeyArn=arn:key/logs", "SecretsKeyArn=arn:key/secrets"]
    given = [
        states,
        ("cloudformation describe-stacks --stack-name", [GONE]),
        ("list-exports", exports(*keys)),
        ("get-namespace", [(3, "{}", 0), (1, "ResourceNotFoundException", 254)]),
        ("kms describe-key", "Enabled"),
        ("head-bucket|ecr describe|describe-secret", [(1, "none", 254)]),
    ]
    log = "kafka list-clusters-v2"
    with group.test("the_log_goes_before_its_stack_and_keys_after_all_that_needs_them"):
        with Answers((log, [(5, "arn:log", 0), (1, "", 0)]), *given) as answers:
            done = answers.infra("destroy", *words)
            must(done.returncode == 0, done.stdout)
            asked = answers.asked()
            stack = "delete-stack --stack-name theatre-x-"
            in_order(asked, "delete-cluster", log, log, f"{stack}log", f"{stack}keys")
            snapshot = "delete-namespace --namespace-name theatre-x-warehouse --final-snapshot-name"
            key = "schedule-key-deletion --key-id"
            in_order(asked, snapshot, "get-namespace", f"{key} data", f"{stack}keys")
            in_order(asked, "glue delete-registry --registry-id RegistryName=theatre-x", key)
            must(answers.slept() >= 60, f"it waited {answers.slept()} s")
    with group.test("a_log_that_cannot_be_asked_for_is_not_taken_for_gone"):
        with Answers((log, [(1, "AccessDenied", 254)]), *given) as answers:
            done = answers.infra("destroy", *words)
            must(done.returncode != 0, done.stdout)
            must("theatre-x-log-provisioned" not in "".join(answers.asked()), "the stack went")


def streams(every):
    """Where the containers of tasks write: group and stream without the task, by family."""
    found = {}
    for template in every.values():
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::ECS::TaskDefinition":
                family = resource["Properties"]["Family"]["Fn::Sub"]
                found[family.removeprefix("${Deployment}-")] = {
                    place_of(each) for each in resource["Properties"]["ContainerDefinitions"]
                }
    return found


def place_of(container):
    """Group and stream of a container, without the task."""
    options = container["LogConfiguration"]["Options"]
    group = options["awslogs-group"]["Fn::Sub"].replace("${Deployment}", "theatre-x")
    return group, f"{options['awslogs-stream-prefix']}/{container['Name']}"


def shows_logs(every):
    """Jobs whose log infra/job looks for where no container of the job's task writes."""
    given = [
        ("ecs run-task", TASK),
        ("ecs describe-tasks", "0"),
        ("logs get-log-events", "it worked"),
    ]
    there, found, families = streams(every), [], set()
    for words in (["setup"], ["reconcile"], ["state", "repartition"], ["doctor"]):
        with Answers(*given) as answers:
            done = answers.infra("job", *words)
            must(done.returncode == 0 and "it worked" in done.stdout, done.stdout)
            family = None
            for call in answers.asked():
                part = call.split()
                if call.startswith("ecs run-task"):
                    family = part[part.index("--task-definition") + 1].removeprefix("theatre-x-")
                    families.add(family)
                if call.startswith("logs get-log-events"):
                    stream = part[part.index("--log-stream-name") + 1]
                    looked = part[part.index("--log-group-name") + 1], stream.rpartition("/")[0]
                    if looked not in there[family]:
                        found.append(f"{family} does not write to {looked}")
    wanted = {"database-user", "warehouse-users", "job", "topics", "reconcile"}
    must(families == wanted, f"{families}")
    return found
