"""infra/deploy and infra/destroy, as a person runs them."""

import json
import os
import subprocess

from harness import ROOT, must, run
from templates import INFRA


def exported(aws, deployment):
    """What the stacks of a deployment export."""
    pages = aws("cloudformation").get_paginator("list_exports").paginate()
    begin = f"{deployment}-"
    return {
        each["Name"].removeprefix(begin): each.get("Value", "")
        for page in pages
        for each in page["Exports"]
        if each["Name"].startswith(begin)
    }


def deploy_and_destroy(group, aws, endpoint, deployer, settings, there):
    """A whole deployment, from nothing to nothing: `there` is a folder for it, `deployer` where
    infra/deploy finds AWS. An administrator destroys it."""
    environment = {**os.environ, "AWS_ENDPOINT_URL": endpoint}
    path = there / "try.json"
    path.write_text(json.dumps(settings))
    authorities = there / "authorities.pem"
    authorities.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    environment["THEATRE_AUTHORITIES"] = str(authorities)

    def infra(name, *words, check=True):
        at = {"AWS_ENDPOINT_URL": deployer} if name == "deploy" else {}
        options = {"check": check, "env": {**environment, **at}, "timeout": 1200}
        return run(INFRA / name, path, *words, stdin=subprocess.DEVNULL, **options)

    with group.test("deploy_plans_without_making_anything"):
        said = infra("deploy", "--plan").stdout
        must("theatre-try-keys: to be done" in said and "DataKey" in said, said)
        must("theatre-try-ecs: to be made; its changes are known" in said, said)
        must(not exported(aws, "theatre-try"), "something was made")
    with group.test("deploy_asks_before_it_makes_anything"):
        done = infra("deploy", check=False)
        must(done.returncode == 1 and "--yes" in done.stdout, done.stdout)
    with group.test("deploy_makes_all_stacks_and_prints_the_configuration"):
        said = infra("deploy", "--yes", "--no-jobs").stdout
        must('deployment = "theatre-try"' in said and "rds_iam" in said, said)
        workspace = exported(aws, "theatre-try")["PrometheusWorkspaceId"]
        listed = aws("amp").list_rule_groups_namespaces(workspaceId=workspace)
        files = {path.stem for path in (ROOT / "helm/theatre/files/rules").glob("*.yaml")}
        names = {each["name"] for each in listed["ruleGroupsNamespaces"]}
        must(names == files and files, f"{names} are there, and {files} should be")
    with group.test("deploy_again_changes_nothing"):
        for stack in ["network", "observability", "ecs"]:
            said = infra("deploy", "--yes", "--no-jobs", "--stack", stack).stdout
            must(f"theatre-try-{stack}: nothing has changed" in said, said)
    with group.test("a_changed_setting_is_one_change"):
        path.write_text(json.dumps({**settings, "LogRetentionDays": 30}))
        said = infra("deploy", "--plan", "--stack", "network").stdout
        must("to be done" in said, said)
    with group.test("deploy_stops_where_there_is_no_image_yet"):
        done = infra("deploy", "--yes", "--stack", "access", check=False)
        must(done.returncode == 1 and "docker push" in done.stdout, done.stdout)
    with group.test("a_stack_with_data_is_protected"):
        try:
            aws("cloudformation").delete_stack(StackName="theatre-try-store")
        except aws("cloudformation").exceptions.ClientError as error:
            must("TerminationProtection" in str(error), f"{error}")
        else:
            must(False, "it was deleted")
    with group.test("destroy_keeps_data_unless_it_is_asked_for_twice"):
        infra("destroy")
        there_still = exported(aws, "theatre-try")
        must("StoreHost" in there_still and "ClusterName" not in there_still, f"{there_still}")
        must(infra("destroy", "--data", check=False).returncode == 2, "once was enough")
        words = ["--data", "--yes-lose-all-data-of", "theatre-other"]
        other = infra("destroy", *words, check=False)
        must(other.returncode == 2, "another name was enough")
        must(exported(aws, "theatre-try") == there_still, "something is gone")
    lake = {"Bucket": "theatre-try-lake-123456789012"}
    with group.test("the_lake_refuses_what_comes_without_tls"):
        # The server here has none.
        try:
            aws("s3").put_object(**lake, Key="a", Body=b"1")
        except aws("s3").exceptions.ClientError as error:
            must("403" in str(error), f"{error}")
        else:
            must(False, "it was let in")
    with group.test("destroy_of_data_leaves_nothing_but_keys_that_end"):
        aws("s3").delete_bucket_policy(**lake)
        aws("s3").put_object(**lake, Key="a", Body=b"1")
        aws("s3").put_object(**lake, Key="a", Body=b"2")
        ours, other = names_that_are_left(aws, "theatre-try"), other_log(aws)
        must({"log", "registry", "repository", "secret", "workspace"} <= ours.keys(), f"{ours}")
        infra("destroy", "--data", "--yes-lose-all-data-of", "theatre-try")
        left = exported(aws, "theatre-try")
        must(not left, f"{left}")
        left = names_that_are_left(aws, "theatre-try")
        must(not left, f"{left}")
        must(ours["key"] and not keys_that_stay(aws, ours["key"]), "a key stays")
        there = aws("kafka").list_clusters_v2(ClusterNameFilter=other)["ClusterInfoList"]
        must(there, f"{other}, of another deployment, is gone, too")
    with group.test("destroy_of_data_can_be_repeated"):
        infra("destroy", "--data", "--yes-lose-all-data-of", "theatre-try")


def other_log(aws):
    """A cluster of someone else, whose name begins as that of the deployment's does."""
    name = "theatre-try-log-archive"
    aws("kafka").create_cluster_v2(ClusterName=name, Serverless={"VpcConfigs": []})
    return name


def names_that_are_left(aws, deployment):
    """What stacks keep and cannot be made a second time under its name, by kind; keys by id."""
    clusters = aws("kafka").list_clusters_v2()["ClusterInfoList"]
    secrets = aws("secretsmanager").list_secrets()["SecretList"]
    found = {
        "bucket": [each["Name"] for each in aws("s3").list_buckets()["Buckets"]],
        "log": {each["ClusterName"] for each in clusters} & {f"{deployment}-log"},
        "registry": [each["RegistryName"] for each in aws("glue").list_registries()["Registries"]],
        "repository": [
            each["repositoryName"] for each in aws("ecr").describe_repositories()["repositories"]
        ],
        "secret": [each["Name"] for each in secrets],
        "workspace": [each["alias"] for each in aws("amp").list_workspaces()["workspaces"]],
        "key": [
            each["TargetKeyId"]
            for each in aws("kms").list_aliases()["Aliases"]
            if each["AliasName"].startswith(f"alias/{deployment}-")
        ],
    }
    named = {
        kind: [name for name in names if kind == "key" or name.startswith(deployment)]
        for kind, names in found.items()
    }
    return {kind: names for kind, names in named.items() if names}


def keys_that_stay(aws, keys):
    """Keys for which no end is set."""
    states = {key: aws("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys}
    return [key for key, state in states.items() if state != "PendingDeletion"]
