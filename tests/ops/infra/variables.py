"""What the tasks of ECS, theatre.toml and the values of the chart say, and whether that is one."""

import importlib.machinery
import importlib.util
import json
import re
import tomllib

import jsonschema
from templates import INFRA, ROOT, load

LOADER = importlib.machinery.SourceFileLoader("settings", str(INFRA / "settings"))
SETTINGS = importlib.util.module_from_spec(importlib.util.spec_from_loader("settings", LOADER))
LOADER.exec_module(SETTINGS)
text = SETTINGS.text


def exported(cloudformation, deployment):
    pages = cloudformation.get_paginator("list_exports").paginate()
    names = {each["Name"]: each.get("Value", "") for page in pages for each in page["Exports"]}
    begin = f"{deployment}-"
    return {name[len(begin) :]: value for name, value in names.items() if name.startswith(begin)}


def container(ecs, family):
    """The container of a task that runs theatre."""
    definition = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    found = [each for each in definition["containerDefinitions"] if each["name"] == "theatre"]
    return found[0]


def of_task(ecs, family):
    """Variables of a task as keys of the configuration; logging is none of it."""
    pairs = {each["name"]: each["value"] for each in container(ecs, family)["environment"]}
    begin = "THEATRE__"
    return {
        name[len(begin) :].lower().replace("__", "."): value
        for name, value in pairs.items()
        if name.startswith(begin)
    }


def flat(tables):
    """A configuration as paths and texts."""
    found = {}
    for name, value in tables.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": text(inner) for key, inner in value.items()}
        else:
            found[name] = text(value)
    return found


FAMILIES = ("pipeline", "job", "reconcile", "shell")


def differences(cloudformation, ecs, deployment, settings, families=FAMILIES):
    """What theatre.toml and the variables of the pipeline's and the jobs' tasks say otherwise."""
    out = exported(cloudformation, deployment)
    brokers = "b-1.log.test:9098"
    tables = tomllib.loads(SETTINGS.toml(SETTINGS.configuration(settings, out, brokers)))
    wanted = flat(tables)
    found = []
    for family in families:
        there = of_task(ecs, f"{deployment}-{family}")
        for key in wanted.keys() | there.keys():
            if wanted.get(key) != there.get(key):
                found.append(f"{family}: {key}: {there.get(key)}, theatre.toml {wanted.get(key)}")
    topics = of_task(ecs, f"{deployment}-topics")
    if {**topics, "log.create_topics": "false"} != wanted:
        found.append("topics: differs in more than log.create_topics")
    return found


def chart_faults(cloudformation, deployment, settings):
    """What the values for the chart say otherwise than theatre.toml, the chart's schema, or the
    chart's own example for EKS."""
    out = exported(cloudformation, deployment)
    brokers = "b-1.log.test:9098"
    wanted = flat(tomllib.loads(SETTINGS.toml(SETTINGS.configuration(settings, out, brokers))))
    values = SETTINGS.values(settings, out, brokers)
    chart = ROOT / "helm/theatre"
    schema = json.loads((chart / "values.schema.json").read_text())
    checker = jsonschema.validators.validator_for(schema)(schema)
    found = [error.message for error in checker.iter_errors(values)]
    found += account_faults(values, load((ROOT / "infra/templates/eks.yaml").read_text()))
    there = flat(values["config"])
    for key in wanted.keys() - {"admin", "pseudonym_key_file", "store.ca_file"}:
        if there.get(key) != wanted[key]:
            found.append(f"{key}: {there.get(key)}, theatre.toml {wanted[key]}")
    example = load((chart / "examples/values-eks-production.yaml").read_text())
    for table in ["log", "store", "lake", "warehouse"]:
        missing = example["config"][table].keys() - values["config"][table].keys()
        found += [f"the chart's example also says {table}.{key}" for key in missing]
    return found


def account_faults(values, eks):
    """Service accounts of the chart without a role, by Pod Identity and by IRSA, and roles of the
    interface's account that are not those of the interface."""
    name, of_api = values["serviceAccount"]["name"], values["api"]["serviceAccount"]["name"]
    # The last one is for commands that run once, and no value of the chart.
    wanted = {name: "Pipeline", f"{name}-jobs": "Pipeline", of_api: "Api"}
    wanted[f"{name}-topics"] = "Topics"
    properties = [each["Properties"] for each in eks["Resources"].values()]
    given = {
        each["ServiceAccount"]: each["RoleArn"]["Fn::ImportValue"]["Fn::Sub"]
        for each in properties
        if each.get("Namespace") == "theatre" and "ServiceAccount" in each
    }
    found = [f"{each} has no role, or is none" for each in wanted.keys() ^ given.keys()]
    found += [
        f"{account} has {given[account]}"
        for account, role in wanted.items()
        if account in given and given[account] != f"${{Deployment}}-{role}RoleArn"
    ]
    trusted = {"IrsaRole": {name, f"{name}-jobs"}, "IrsaApiRole": {of_api}}
    for role, accounts in trusted.items():
        policy = eks["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Fn::Sub"][0]
        named = set(re.findall(r"system:serviceaccount:theatre:([a-z-]+)", policy))
        found += [] if named == accounts else [f"{role} is for {named}, not {accounts}"]
    return found


def collector_faults(text):
    """Parts of the collector that its pipelines name and that are not there, or the other way."""
    parts = load(text)
    pipelines = parts["service"]["pipelines"].values()
    named = {name for each in pipelines for kind in each.values() for name in kind}
    made = {name for kind in ["receivers", "processors", "exporters"] for name in parts[kind]}
    return named ^ made


def tasks_told_apart(text):
    """Pipelines of the collector to Prometheus in which all tasks would be one instance: each is
    scraped at the same address, so that the label `instance` has to come from the task, which a
    processor before knows."""
    parts = load(text)
    found = []
    for name, pipeline in parts["service"]["pipelines"].items():
        if "prometheusremotewrite" not in pipeline["exporters"]:
            continue
        knows = named = False
        for each in pipeline["processors"]:
            made = parts["processors"][each]
            knows |= "ecs" in made.get("detectors", [])
            wanted = {"from_attribute": "aws.ecs.task.arn", "action": "upsert"}
            wanted["key"] = "service.instance.id"
            named |= knows and wanted in made.get("attributes", [])
        found += [] if named else [f"{name}: all tasks have the same instance"]
    return found


def scaling_faults(values, settings, eks, page):
    """Whether the values for the chart scale the pipeline between MinTasks and MaxTasks, by what the
    cluster has and the page of infra says to install: KEDA, whose pods may query Prometheus."""
    keda = values.get("keda", {"enabled": False})
    most = settings["MaxTasks"] > settings["MinTasks"]
    if keda["enabled"] != most:
        return [f"MaxTasks is {settings['MaxTasks']}, and KEDA is {keda['enabled']}"]
    if not most:
        return []
    wanted = settings["MinTasks"], settings["MaxTasks"]
    found = []
    if (keda["minReplicas"], keda["maxReplicas"]) != wanted:
        found.append(f"KEDA scales otherwise than {wanted}")
    roles = [
        each["Properties"]["RoleArn"]["Fn::GetAtt"][0]
        for each in eks["Resources"].values()
        if each["Type"] == "AWS::EKS::PodIdentityAssociation"
        and each["Properties"]["ServiceAccount"] == "keda-operator"
        and f"--namespace {each['Properties']['Namespace']}" in page
    ]
    may = [json.dumps(eks["Resources"][role]["Properties"]["Policies"]) for role in roles]
    if not any("aps:QueryMetrics" in each for each in may):
        found.append("KEDA may not query Prometheus")
    made = page.partition("kind: TriggerAuthentication")[2].partition("EOF")[0]
    for part in [f"name: {keda['authenticationRef']}", "provider: aws"]:
        found += [] if part in made else [f"no one makes the authentication with {part}"]
    return found
