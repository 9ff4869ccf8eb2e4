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
    load,
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
    "ReportsAccess",
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


def stacks_to_delete(text, with_ecs, with_eks):
    """The page that compares both names the stacks that only ECS has, in the order in which they can
    go: what imports comes before what exports."""
    named = re.search(r"From ECS, delete the stacks(.*?), in this order", text, re.S)
    wanted = [each for each in reversed(with_ecs) if each not in with_eks]
    there = re.findall(r"`([a-z-]+)`", named[1]) if named else []
    return [] if there == wanted else [f"docs/ecs-or-eks.md names {there}, not {wanted}"]


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


def brokers_that_fit(all_templates):
    """Types of brokers that a template takes are such as it can make: Express brokers have no
    storage that is given to them, and take no number of copies."""
    found = []
    for name, template in all_templates.items():
        form = template.get("Parameters", {}).get("BrokerType")
        if form is None:
            continue
        texts = " ".join(words(template["Resources"])) + json.dumps(template["Resources"])
        of_standard = [
            each
            for each in ("EBSStorageInfo", "kafka:broker-storage", "default.replication.factor")
            if each in texts
        ]
        if of_standard and re.fullmatch(form["AllowedPattern"], "express.m7g.large"):
            found.append(f"{name}: takes Express brokers, which have no {of_standard}")
        if not re.fullmatch(form["AllowedPattern"], form["Default"]):
            found.append(f"{name}: does not take its own default")
    return found


# Properties that MSK lets a configuration of Standard brokers have (its developer guide, "Custom
# Amazon MSK configurations"), as far as they are used here, with the values that it takes.
OF_BROKERS = {
    "auto.create.topics.enable": r"true|false",
    "default.replication.factor": r"\$\{Replicas\}",
    "log.retention.hours": r"\d+",
    "message.max.bytes": r"\d+",
    "min.insync.replicas": r"\$\{InSyncReplicas\}",
    "num.io.threads": r"\d+",
    "num.network.threads": r"\d+",
    "offsets.retention.minutes": r"\d+",
    "replica.fetch.max.bytes": r"\d+",
    "replica.fetch.response.max.bytes": r"\d+",
    "unclean.leader.election.enable": r"true|false",
}


def brokers_as_configured(all_templates, client):
    """The configuration of MSK names properties that MSK lets one set, once each, with values of
    their kind; no topic makes itself, no leader lacks records, and brokers take, copy and keep the
    longest record that Theatre writes: `client` is the source that says how long it is."""
    configuration = all_templates["log-provisioned"]["Resources"]["Configuration"]["Properties"]
    lines = substitution(configuration["ServerProperties"]).splitlines()
    pairs = [line.partition("=")[::2] for line in lines]
    given = dict(pairs)
    found = [f"{name} is no property of MSK" for name in given.keys() - OF_BROKERS.keys()]
    found += ["a property stands there twice"] if len(given) != len(pairs) else []
    found += [
        f"{name}={value} is no value of it"
        for name, value in pairs
        if not re.fullmatch(OF_BROKERS.get(name, ".*"), value)
    ]
    for name in ["auto.create.topics.enable", "unclean.leader.election.enable"]:
        found += [] if given.get(name) == "false" else [f"{name} is not false"]
    # The larger of the two: MSK Serverless, which has no such configuration, takes less.
    body = re.search(r"fn max_message_bytes\(.*?^}", client, re.M | re.S)[0]
    longest = max(map(int, re.findall(r'"(\d+)"', body)))
    for name in ["message.max.bytes", "replica.fetch.max.bytes"]:
        if int(given.get(name, 0)) < longest:
            found.append(f"{name} is less than a record may have, {longest}")
    return found


def scraper_that_finds_pods(all_templates, chart, account):
    """The configuration of the managed scraper is YAML of the form that Prometheus takes, and finds
    the pods of the chart: by the name of their port, in the namespace that the identities are for.
    `chart` is the text of the chart's templates, `account` a service account with its namespace."""
    resources = all_templates["eks"]["Resources"]
    blob = resources["Scraper"]["Properties"]["ScrapeConfiguration"]["ConfigurationBlob"]
    read = load(substitution(blob["Fn::Base64"]))
    found = [f"{each} is no part" for each in read.keys() - {"global", "scrape_configs"}]
    known = {"scrape_interval", "scrape_timeout", "external_labels"}
    found += [f"global has no {each}" for each in read.get("global", {}).keys() - known]
    if not read.get("scrape_configs"):
        return [*found, "it scrapes nothing"]
    for job in read["scrape_configs"]:
        known = {"job_name", "kubernetes_sd_configs", "relabel_configs"}
        found += [f"a job has no {each}" for each in job.keys() - known]
        namespaces = {
            name for each in job["kubernetes_sd_configs"] for name in each["namespaces"]["names"]
        }
        found += [] if namespaces == {account["Namespace"]} else [f"looks at {namespaces}"]
        for each in job["relabel_configs"]:
            known = {"source_labels", "regex", "action", "target_label"}
            found += [f"a change of labels has no {one}" for one in each.keys() - known]
            if each.get("action") == "keep":
                found += (
                    []
                    if each["source_labels"] == ["__meta_kubernetes_pod_container_port_name"]
                    and f"name: {each['regex']}\n" in chart
                    else [f"keeps {each}, which no pod of the chart has"]
                )
        made = {each.get("target_label") for each in job["relabel_configs"]}
        found += [f"no series has a {each}" for each in {"namespace", "pod"} - made]
    # The rules sum by job, and look for this one.
    names = [job["job_name"] for job in read["scrape_configs"]]
    return found + ([] if names == ["theatre"] else [f"jobs are {names}"])


# What MSK measures without being paid for it: docs.aws.amazon.com/msk/latest/developerguide,
# "metrics-details", as far as it is used here.
FREE_OF_KAFKA = {
    "ActiveControllerCount",
    "BytesInPerSec",
    "CpuUser",
    "KafkaDataLogsDiskUsed",
    "OfflinePartitionsCount",
}


def searches_that_name_dimensions(all_templates):
    """Every search of a dashboard names the dimensions that it means: without them it finds the
    same metric per broker and per topic, and a sum has each byte twice. Metrics of brokers are
    those that cost nothing, as long as the cluster measures no others."""
    found = []
    level = all_templates["log-provisioned"]["Resources"]["Cluster"]["Properties"]
    if level["EnhancedMonitoring"] != "DEFAULT":
        found.append("log-provisioned: metrics beyond DEFAULT cost money, and no one looks at them")
    for name, template in all_templates.items():
        for resource in template["Resources"].values():
            texts = list(words(resource))
            if resource["Type"] == "AWS::CloudWatch::Dashboard":
                body = substitution(resource["Properties"]["DashboardBody"])
                json.loads(body)
            searches = [one for text in texts for one in re.findall(r"SEARCH\('[^']*'", text)]
            found += [f"{name}: {one}" for one in searches if not re.match(r"SEARCH\('\{", one)]
            if any("AWS/Kafka" in text for text in texts):
                named = re.findall(r'MetricName=\\?"(\w+)|SELECT \w+\((\w+)\)', "\n".join(texts))
                metrics = {one for pair in named for one in pair if one}
                metrics |= {resource["Properties"].get("MetricName")} - {None}
                paid = metrics - FREE_OF_KAFKA
                found += [f"{name}: {one} is not measured at DEFAULT" for one in sorted(paid)]
                found += [] if metrics else [f"{name}: no metric of Kafka was recognised"]
    return found


# What the add-on of CloudWatch writes to, below /aws/containerinsights/ and the cluster's name.
OF_INSIGHTS = ["application", "dataplane", "host", "performance"]


def groups_of_services(template):
    """Log groups that services of AWS make by themselves, without an end, where no one has made them
    before: each with the name of the resource whose logs they are."""
    resources = template["Resources"]

    def name(value):
        if isinstance(value, dict) and value.get("Ref") in resources:
            properties = resources[value["Ref"]]["Properties"]
            return name(properties.get("Name") or properties.get("ClusterName"))
        return "${Deployment}" if value == {"Ref": "Deployment"} else substitution(value)

    for logical, resource in resources.items():
        kind, given = resource["Type"], resource["Properties"]
        if kind == "AWS::RDS::DBInstance":
            begin, logs = f"rds/instance/{name(given['DBInstanceIdentifier'])}", (
                given.get("EnableCloudwatchLogsExports", [])
            )
        elif kind == "AWS::RedshiftServerless::Namespace":
            begin, logs = f"redshift/{name(given['NamespaceName'])}", given.get("LogExports", [])
        elif kind == "AWS::EKS::Cluster":
            begin, logs = f"eks/{name(given['Name'])}", ["cluster"] if "Logging" in given else []
        elif kind == "AWS::EKS::Addon":
            insights = given["AddonName"] == "amazon-cloudwatch-observability"
            begin = f"containerinsights/{name(given['ClusterName'])}"
            logs = OF_INSIGHTS if insights else []
        elif kind == "AWS::ECS::Cluster":
            on = {"Name": "containerInsights", "Value": "disabled"} not in given["ClusterSettings"]
            begin = f"ecs/containerinsights/{name(given['ClusterName'])}"
            logs = ["performance"] if on else []
        else:
            continue
        for log in logs:
            yield logical, f"/aws/{begin}/{log}"


def logs_that_have_an_end(all_templates):
    """Every log group that a task or a service of AWS writes to is made by a template, with an end,
    and before what writes to it."""
    found = []
    made = {}
    for name, template in all_templates.items():
        for logical, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Logs::LogGroup":
                made[substitution(resource["Properties"]["LogGroupName"])] = name, logical
                if "RetentionInDays" not in resource["Properties"]:
                    found.append(f"{name}: {logical} keeps its logs for ever")
    for name, template in all_templates.items():
        for each in walk(template):
            group = substitution(each.get("awslogs-group", each.get("LogGroupName", "")))
            if isinstance(group, str) and group.startswith("/") and group not in made:
                found.append(f"{name}: no template makes the log group {group}")
        for writer, group in groups_of_services(template):
            place, logical = made.get(group, (None, None))
            if place is None:
                found.append(f"{name}: {writer} makes the log group {group}, without an end")
            after = template["Resources"][writer].get("DependsOn", [])
            if place == name and logical not in ([after] if isinstance(after, str) else after):
                found.append(f"{name}: {writer} may come before its log group {group}")
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


def tasks_that_know_their_log(all_templates):
    """Every container that reads the log is told where that is MSK Serverless, which takes other
    settings of topics."""
    found = []
    for name, template in all_templates.items():
        wanted = {"Name": "THEATRE__LOG__SERVERLESS", "Value": "true"}
        if template.get("Conditions", {}).get("HasServerlessLog") != {
            "Fn::Equals": [{"Ref": "LogKind"}, "serverless"]
        }:
            wanted = None
        for each in walk(template):
            given = each.get("Environment")
            if not isinstance(given, list):
                continue
            if any(one.get("Name") == "THEATRE__LOG__URL" for one in given):
                told = [one["Fn::If"][:2] for one in given if "Fn::If" in one]
                if ["HasServerlessLog", wanted] not in told:
                    found.append(f"{name}: {each['Name']} does not know a serverless log")
    return found


def parameters_that_agree(all_templates):
    """A parameter that several templates have is the same in all: a setting is given to all, and one
    that is left out would otherwise be one thing here and another there."""
    forms = {}
    for name, template in all_templates.items():
        for parameter, form in template.get("Parameters", {}).items():
            form = {key: value for key, value in form.items() if key != "Description"}
            forms.setdefault(parameter, {}).setdefault(json.dumps(form, sort_keys=True), name)
    return [
        f"{parameter} differs between {' and '.join(each.values())}"
        for parameter, each in forms.items()
        if len(each) > 1
    ]


def counted_topics(model, kinds, topics_source):
    """What the model of cost counts as topics is what there is, and as compacted what Theatre makes
    so: `kinds` are topics by what they are for, `topics_source` the source that makes them."""
    every = set().union(*kinds.values())
    found = [] if model.TOPICS == len(every) else [f"there are {len(every)} topics"]
    body = topics_source[topics_source.index("let (cleanup, days)") :]
    parts = body[: body.index("vec![")].split("} else")
    names = [
        pair
        for part in parts
        if '("compact' in part
        for pair in re.findall(r'topic\.(contains|ends_with)\("([a-z0-9.]+)"\)', part)
    ]
    compacted = {
        each
        for each in every - kinds["dead letters"]
        for how, name in names
        if (name in each if how == "contains" else each.endswith(name))
    }
    found += [] if model.COMPACTED == len(compacted) else [f"{len(compacted)} are compacted"]
    found += [f"{each}: differs" for each in every if model.compacted(each) != (each in compacted)]
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
