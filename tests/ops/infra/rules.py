"""What must hold of the templates, each as a function that gives what it found. `PLANTED` has a
fault for each, which it must find."""

import copy
import json
import re
from fnmatch import fnmatch

import botocore.session
from botocore import xform_name
from derived import topics
from templates import (
    INFRA,
    ROOT,
    actions,
    exports,
    imports,
    referenced,
    statements,
    substitution,
    walk,
    words,
)

CALLS = json.loads((ROOT / "tests/ops/infra/calls.json").read_text())

# Policies that Theatre itself has; the others are those of services and of who deploys.
OF_THEATRE = {
    "LogReadAccess",
    "InputsReadAccess",
    "LogAccess",
    "StoreAccess",
    "LakeAccess",
    "LakeReadAccess",
    "WarehouseAccess",
    "SchemaAccess",
    "NotifyAccess",
    "TopicsAccess",
}

# Parameters that a program asks for, or that only an alternative wants.
ASKED_FOR = {"Brokers", "ApiCertificateArn", "AdministratorArn", "TrustedPrincipalArn"}

# Actions that are not called as the commands of the AWS command line are.
PREFIXES = {"amp": "aps", "elbv2": "elasticloadbalancing"}
OTHER_NAMES = {
    "ecr:GetLoginPassword": "ecr:GetAuthorizationToken",
    "eks:UpdateKubeconfig": "eks:DescribeCluster",
}
# What the README has an administrator do, each with the reason.
OF_ADMINISTRATORS = {
    "cloudformation:Deploy": "the stack with the role of who deploys is made before there is one",
    "kms:CancelKeyDeletion": "all data was to go",
    "rds:RestoreDbInstanceToPointInTime": "it makes a copy of all data",
}

# Calls of the sources that no role may make, each with the reason.
NOT_ALLOWED = {"create_bucket": "theatre lake create: on AWS the bucket is made by buckets.yaml"}


def names_that_are_imported(all_templates, orders):
    """Every import has its export, in a stack that is made before; for each order of stacks that
    infra/stacks gives."""
    found = []
    given = {name: exports(template) for name, template in all_templates.items()}
    named = set().union(*orders) | {"deployment"}
    found += [f"infra/stacks never names {name}" for name in all_templates.keys() - named]
    for order in orders:
        there = set()
        for name in order:
            if name not in all_templates:
                found.append(f"infra/stacks names {name}, which is no template")
                continue
            wanted = imports(all_templates[name])
            # Those that stand behind a condition on the warehouse are not asked for without one.
            if not any(each.startswith("warehouse") for each in order):
                wanted = {each for each in wanted if not each.startswith("Warehouse")}
            found += [f"{name}: imports {each}, which is not there yet" for each in wanted - there]
            there |= given[name]
    return sorted(set(found))


def exports_that_stay(all_templates):
    """No export that another stack imports stands behind a condition: where the condition does not
    hold any more, the export is in use, and CloudFormation refuses to take it away."""
    wanted = set().union(*(imports(template) for template in all_templates.values()))
    return [
        f"{name}: {each} is imported, and made under the condition {output['Condition']}"
        for name, template in all_templates.items()
        for output in template.get("Outputs", {}).values()
        if "Condition" in output
        for each in exports({"Outputs": {"one": output}}) & wanted
    ]


def exports_that_are_read(all_templates):
    """Every export is imported, or read by the programs beside the templates."""
    wanted = set().union(*(imports(template) for template in all_templates.values()))
    files = ["deploy", "destroy", "job", "shell", "settings", "stacks"]
    programs = "".join((INFRA / name).read_text() for name in files)
    return [
        f"{name}: no one reads {each}"
        for name, template in all_templates.items()
        for each in exports(template)
        if each not in wanted and not re.search(rf"\b{each}\b", programs)
    ]


def parameters_that_are_used(all_templates):
    """Every parameter has its use, and every condition."""
    found = []
    for name, template in all_templates.items():
        used = referenced(template)
        found += [
            f"{name}: the parameter {each} is never used"
            for each in template.get("Parameters", {})
            if each not in used
        ]
        texts = {word for word in words({k: v for k, v in template.items() if k != "Parameters"})}
        found += [
            f"{name}: the condition {each} is never used"
            for each in template.get("Conditions", {})
            if each not in texts
        ]
    return found


def alarms_that_notify(all_templates):
    """Every alarm, budget and rule of events reaches a topic, and every topic a person."""
    found = []
    subscribed = set()
    topics = {}
    for template in all_templates.values():
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::SNS::Topic":
                topics[name] = resource
            if resource["Type"] == "AWS::SNS::Subscription":
                subscribed.add(resource["Properties"]["TopicArn"]["Ref"])
    found += [f"the topic {name} has no subscriber" for name in topics.keys() - subscribed]
    receivers = {f"{name}Arn" for name in topics}
    for file, template in all_templates.items():
        for name, resource in template["Resources"].items():
            properties = resource["Properties"]
            where = {
                "AWS::CloudWatch::Alarm": ["AlarmActions", "OKActions"],
                "AWS::Events::Rule": ["Targets"],
                "AWS::Budgets::Budget": ["NotificationsWithSubscribers"],
            }.get(resource["Type"], [])
            for part in where:
                if not imports(properties.get(part, [])) & receivers:
                    found.append(f"{file}: {name} notifies no one ({part})")
    return found


def rights_that_are_used(all_templates):
    """Theatre may do what it calls, and nothing else: both lists are the same, and each call stands
    where the list says."""
    allowed = {}
    for template in all_templates.values():
        for name, statement in statements(template):
            if name in OF_THEATRE:
                for action in actions(statement):
                    allowed.setdefault(action, set()).add(name)
    found = [f"allowed, and not called: {each}" for each in allowed.keys() - CALLS.keys()]
    found += [f"called, and not allowed: {each}" for each in CALLS.keys() - allowed.keys()]
    for action, call in CALLS.items():
        if call.get("role") == "topics" and allowed.get(action, set()) != {"TopicsAccess"}:
            found.append(f"{action}: only the jobs that make topics may")
    return found


def topics_that_may_be_written(all_templates, sources):
    """Theatre may write every topic of its outputs and none of its inputs; producers the other way
    round, but for what people say of alerts and rules: that comes from the HTTP interface and the
    shell. The interface reads both of these, and nothing else."""

    def patterns(policy, sid):
        document = all_templates["access"]["Resources"][policy]["Properties"]["PolicyDocument"]
        part = next(each for each in document["Statement"] if each["Sid"] == sid)
        return [substitution(each).rpartition("/")[2] for each in part["Resource"]]

    kinds = topics(sources)
    outputs, data, by_people = kinds["outputs"], kinds["inputs"], kinds["actions"]
    results = outputs | kinds["dead letters"]
    found = [] if outputs and data and by_people else ["there are no topics in the sources"]
    for policy, sid, mine, others in [
        ("LogAccess", "Write", results, data | by_people),
        ("ProducerAccess", "Write", data, results | by_people),
        ("ActionsAccess", "Write", by_people, results | data),
        ("InputsReadAccess", "Read", data | by_people, results),
    ]:
        allowed = patterns(policy, sid)
        may = {each for each in mine | others for form in allowed if fnmatch(each, form)}
        found += [f"{policy}, {sid}: {each} is left out" for each in mine - may]
        found += [f"{policy}, {sid}: {each} is let in" for each in others & may]
    return found


def calls_of(text):
    """Actions that commands of the AWS command line in a text call."""
    found = set()
    for service, command in re.findall(r"\baws ([a-z0-9-]+) ([a-z0-9-]+)", text):
        # Everyone may ask who he is and set up his machine; a waiter repeats a call that the
        # programs make, too; and one message says that aws is missing.
        if service not in ("sts", "is", "configure") and command != "wait":
            call = "".join(word.capitalize() for word in command.split("-"))
            action = f"{PREFIXES.get(service, service)}:{call}"
            found.add(OTHER_NAMES.get(action, action))
    return found


def calls_of_people():
    """Actions that infra/deploy, infra/job, infra/shell and the commands of the README call."""
    programs = [(INFRA / name).read_text() for name in ["deploy", "job", "shell", "stacks"]]
    return set().union(*map(calls_of, programs)), calls_of((INFRA / "README.md").read_text())


def deployer_may(all_templates):
    """The role of who deploys may call what the programs call, and the commands of the README that
    want no administrator."""
    allowed = {
        action
        for name, statement in statements(all_templates["deployment"])
        if name == "DeployRole"
        for action in actions(statement)
    }
    by_programs, by_hand = calls_of_people()
    wanted = by_programs | (by_hand - OF_ADMINISTRATORS.keys())
    found = [f"the deployer may not: {each}" for each in sorted(wanted - allowed)]
    found += [f"no one does: {each}" for each in OF_ADMINISTRATORS.keys() - by_hand]
    return found


def calls_that_are_listed(sources):
    """Every call in the list stands in the sources, and every call of an SDK there in the list."""
    found = []
    listed = set()
    for action, call in CALLS.items():
        texts = sources(call["where"]) if "where" in call else ""
        for word in call.get("call", []):
            listed.add(word.strip(".()"))
            if word not in texts:
                found.append(f"{action}: {word} does not stand in {call['where']}")
    session = botocore.session.get_session()
    for service, folder in [("s3", "runtime/s3/src"), ("redshift-data", "runtime/redshift/src")]:
        names = session.get_service_model(service).operation_names
        operations = {xform_name(name) for name in names}
        called = set(re.findall(r"\.(\w+)\(\)", sources(folder))) & operations
        found += [
            f"{folder} calls {each}, which calls.json does not know"
            for each in called - listed - NOT_ALLOWED.keys()
        ]
    return found


def wildcards_that_are_explained(texts):
    """A statement for every resource has a comment above it that says why."""
    found = []
    for name, text in texts.items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.strip() != 'Resource: "*"':
                continue
            at = number
            while not re.match(r"\s*- (Sid|Effect):", lines[at]):
                at -= 1
            if not lines[at - 1].strip().startswith("#"):
                found.append(f"{name}:{number + 1}: every resource, without a reason")
    return found


def metrics_that_exist(texts):
    """Names of metrics in templates are those of the program."""
    known = set(re.findall(r"^\| `(theatre_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    return [
        f"{name}: there is no metric {each}"
        for name, text in texts.items()
        for each in sorted(set(re.findall(r"theatre_[a-z_]+", text)) - known)
        # The master user of the databases.
        if each != "theatre_admin"
    ]


def logs_that_have_an_end(all_templates):
    """Every log group that a task writes to is made by a template, with an end."""
    found = []
    made = set()
    for name, template in all_templates.items():
        for logical, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Logs::LogGroup":
                made.add(substitution(resource["Properties"]["LogGroupName"]))
                if "RetentionInDays" not in resource["Properties"]:
                    found.append(f"{name}: {logical} keeps its logs for ever")
    for name, template in all_templates.items():
        for each in walk(template):
            group = substitution(each.get("awslogs-group", each.get("LogGroupName", "")))
            if isinstance(group, str) and group.startswith("/") and group not in made:
                found.append(f"{name}: no template makes the log group {group}")
    return found


def buckets_that_agree(all_templates, writer):
    """Every bucket refuses what comes without TLS, and a bucket that refuses other encryption lets
    in what names none, as long as the writer names none."""
    found = []
    resources = all_templates["buckets"]["Resources"]
    buckets = {name for name, each in resources.items() if each["Type"] == "AWS::S3::Bucket"}
    for name in buckets:
        policy = resources.get(f"{name}Policy", {"Properties": {}})["Properties"]
        rules = policy.get("PolicyDocument", {"Statement": []})["Statement"]
        by_sid = {each["Sid"]: each for each in rules}
        if by_sid.get("TlsOnly", {}).get("Condition") != {"Bool": {"aws:SecureTransport": "false"}}:
            found.append(f"{name} lets in what comes without TLS")
        other = by_sid.get("OtherEncryption")
        if other and "server_side_encryption" not in writer:
            absent = other["Condition"].get("Null", {}).get("s3:x-amz-server-side-encryption")
            if absent != "false":
                found.append(f"{name} refuses what names no encryption, as Theatre does")
        public = resources[name]["Properties"]["PublicAccessBlockConfiguration"]
        if not all(public.values()) or len(public) != 4:
            found.append(f"{name} may become public")
        uploads = json.dumps(resources[name]["Properties"]["LifecycleConfiguration"])
        if '"DaysAfterInitiation": {"Ref": "UploadDays"}' not in uploads:
            found.append(f"{name} keeps uploads that no one completes, or ends them too early")
    days = all_templates["buckets"]["Parameters"]["UploadDays"]
    if days["MinValue"] <= 7 or days["Default"] <= 7:
        found.append("uploads may be ended before the longest outage that Kafka outlasts is over")
    return found


def settings_that_fit(all_templates, settings):
    """A file of parameters names only what templates have, within their constraints, and gives
    what has no default."""
    found = []
    for name, each in settings.items():
        for file, template in all_templates.items():
            for parameter, form in template.get("Parameters", {}).items():
                value = each.get(parameter, form.get("Default"))
                text = str(value).lower() if isinstance(value, bool) else str(value)
                allowed = [str(one) for one in form.get("AllowedValues", [])]
                if parameter in each and allowed and text not in allowed:
                    found.append(f"{name}: {parameter} is {text}; {file} takes {allowed}")
                pattern = form.get("AllowedPattern")
                if parameter in each and pattern and not re.fullmatch(pattern, text):
                    found.append(f"{name}: {parameter} is {text}; {file} takes {pattern}")
                for bound, beyond in [("MinValue", -1), ("MaxValue", 1)]:
                    if value is not None and bound in form:
                        if (float(text) - form[bound]) * beyond > 0:
                            found.append(f"{name}: {parameter} {text} is beyond {form[bound]}")
                if value is None and parameter not in ASKED_FOR:
                    found.append(f"{name}: {file} wants {parameter}")
    return found


def changed(templates, *path, to):
    """A copy of the templates with one value changed, or taken away with `to=None`."""
    copied = copy.deepcopy(templates)
    *way, last = path
    part = copied
    for step in way:
        part = part[step]
    if to is None:
        del part[last]
    else:
        part[last] = to
    return copied
