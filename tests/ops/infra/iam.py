"""What IAM has to allow for what programs ask of AWS, and whether the roles do: the tests."""

import copy
import http.client
import json
import pathlib
import urllib.parse

import asked
import deploying
import derived
import driven
import process
import rights
import traffic
from harness import must

HERE = pathlib.Path(__file__).parent
# What is allowed and was never asked for, by role, action and resource, each with the reason.
UNUSED = json.loads((HERE / "unused.json").read_text())
# Patterns of resources that may stand in policies, each with the reason.
PATTERNS = json.loads((HERE / "patterns.json").read_text())
REASONS = rights.Reasons(UNUSED, PATTERNS)

# Roles without a policy that can be looked at here, by how their names begin.
NOT_LOOKED_AT = {
    "store-monitoring": "has a policy of AWS alone",
    "network-FlowLogRole": "the network writes its log with it, by no call of anything here",
    "stacks": "CloudFormation makes all resources with it: hands.py looks at it",
    "deploy": "infra/deploy is recorded by a test of its own",
    "eks": "has policies of AWS alone",
    "nodes": "has policies of AWS alone",
}

# Deployments, each with its roles that do the work of another one: they need what that one needs.
DEPLOYMENTS = {
    "theatre-prod": {},
    "theatre-dev": {"shell": "shell that produces"},
    "theatre-eks": {"irsa": "pipeline", "irsa-api": "api"},
}
# How the Data API logs in, by the kind of warehouse of each.
LOG_INS = {
    "theatre-prod": {"redshift-serverless:GetCredentials"},
    "theatre-dev": set(),
    "theatre-eks": {"redshift:GetClusterCredentialsWithIAM"},
}
# What the collector beside a task of ECS does, and none beside a pod.
OF_COLLECTOR = ("aps:", "logs:")


def requests(group):
    """Requests to AWS as actions of IAM, and policies that allow or deny them."""
    scope = "Credential=A/20260101/eu-central-1/s3/aws4_request"
    signed = {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host"}
    names = traffic.Names("1", {"lake": ("lake", "key")})

    def actions(method, target, **more):
        request = traffic.Request(method, target, {**signed, **more})
        return [need.action for need in traffic.needs(request, names)]

    with group.test("a_request_becomes_the_actions_that_it_needs"):
        must(actions("GET", "/lake/?list-type=2&prefix=a/") == ["s3:ListBucket"], "a list")
        must(actions("DELETE", "/lake/a?uploadId=1") == ["s3:AbortMultipartUpload"], "an end")
        part = actions("PUT", "/lake/a?partNumber=1&uploadId=1")
        must(part == ["s3:PutObject", "kms:GenerateDataKey", "kms:Decrypt"], f"{part}")
    with group.test("a_request_of_who_deploys_is_known_by_its_path"):
        path = "/v1/clusters/arn%3Aaws%3Akafka%3Ar%3A1%3Acluster%2Fa%2Fb/bootstrap-brokers"
        operation, named = asked.by_path(traffic.Request("GET", path, {}), "kafka")
        must(operation == "GetBootstrapBrokers", operation)
        must(named["clusterArn"] == "arn:aws:kafka:r:1:cluster/a/b", f"{named}")
        path = "/workspaces/ws-1/rulegroupsnamespaces/pipeline"
        operation, named = asked.by_path(traffic.Request("PUT", path, {}), "amp")
        must(operation == "PutRuleGroupsNamespace" and named["name"] == "pipeline", f"{named}")
    with group.test("a_request_that_is_not_known_is_found"):
        recorder = traffic.Recorder(names)
        recorder.add("job", traffic.Request("GET", "/lake/a?acl", signed), 200)
        recorder.add("job", traffic.Request("GET", "/lake/a", {}), 200)
        must(len(recorder.unknown) == 2 and not recorder.seen, f"{recorder.unknown}")
        recorder = traffic.Recorder(names, {"s3": broken})
        recorder.add("job", traffic.Request("GET", "/lake/a", signed), 200)
        must("LookupError" in recorder.unknown[0], f"{recorder.unknown}")
    with group.test("a_request_is_recorded_whatever_becomes_of_it"):
        nowhere = "http://127.0.0.1:9"
        gone = through_proxy(names, nowhere, signed)
        must(len(gone.seen) == 2 and not gone.unknown, f"{gone.seen} {gone.unknown}")
        failed = through_proxy(names, nowhere, signed, fails=broken)
        must(len(failed.seen) == 2 and "LookupError" in failed.unknown[0], f"{failed.unknown}")
        other = through_proxy(names, nowhere, signed, method="BREW")
        must("BREW" in other.unknown[0] and not other.seen, f"{other.unknown}")
    with group.test("a_right_counts_for_its_resource_and_what_is_not_allowed_is_denied"):
        where = "arn:aws:s3:::lake"
        statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{where}/lake/*"}
        policies = {"lake": {"Statement": [statement]}}
        need = traffic.Need("s3:GetObject", f"{where}/lake/a")
        other = traffic.Need("s3:GetObject", f"{where}/other/a")
        write = traffic.Need("s3:PutObject", f"{where}/lake/a")
        must(rights.allowed(policies, need), "it is allowed")
        must(not rights.allowed(policies, other), "another prefix is allowed")
        must(not rights.allowed(policies, write), "another action is allowed")
        deny = {"Statement": [{**statement, "Effect": "Deny", "Principal": "*"}]}
        must(not rights.allowed(policies, need, [deny]), "what is denied is allowed")
        seen = {("job", need): ("GET", 1), ("job", write): ("PUT", 1)}
        found = rights.denied({"job": policies}, {}, seen)
        must(len(found) == 1 and "s3:PutObject" in found[0], f"{found}")
        never = rights.Reasons({}, [])
        found = rights.unused({"job": policies}, {}, never)
        must(found == ["never needed: job s3:GetObject on arn:aws:s3:::lake/lake/*"], f"{found}")
        wide = {"lake": {"Statement": [{**statement, "Resource": [f"{where}/lake/*", "x"]}]}}
        found = rights.unused({"job": wide}, {("job", need): ("GET", 1)}, never)
        must(found == ["never needed: job s3:GetObject on x"], f"{found}")
    with group.test("a_pattern_that_reaches_further_than_it_may_is_found_and_an_old_reason"):
        may = {"roles": ["job"], "actions": ["s3:GetObject"], "on": f"{where}/lake/*"}
        written = rights.Reasons({"job s3:* on x": "why"}, [may])
        must(not rights.too_broad({"job": policies}, written), "it may")
        must(written.old() == ["job s3:* on x"], f"{written.old()}")
        far = {"lake": {"Statement": [{**statement, "Resource": "arn:aws:s3:::*"}]}}
        found = rights.too_broad({"job": far}, written)
        must(found == ["as far as this: job s3:GetObject on arn:aws:s3:::*"], f"{found}")
        must(rights.too_broad({"api": policies}, written), "another role may it, too")


def broken(*_):
    """A part of the recorder that fails."""
    raise LookupError("it is broken")


def through_proxy(names, server, headers, method="GET", **more):
    """What is recorded of a request for a file that goes through a proxy to a server."""
    recorder = traffic.Recorder(names)
    proxy = traffic.Proxy(recorder, "job", {"s3": server}, **more)
    try:
        place = urllib.parse.urlsplit(proxy.address).netloc
        connection = http.client.HTTPConnection(place, timeout=60)
        connection.request(method, "/lake/a", headers=headers)
        must(connection.getresponse().status >= 500, "it was answered")
        connection.close()
    finally:
        proxy.close()
    return recorder


def roles_at_work(group, aws, endpoint, sources, there):
    """The roles of every deployment, by what the tasks of one ask for while they are at work; of
    another, what a cluster of Redshift is asked."""
    theatre = process.program(there / "programs")
    with process.Servers(theatre, there) as servers:
        made = driven.Deployment(aws, endpoint, "theatre-prod", servers, theatre, there)
        other = driven.Deployment(aws, endpoint, "theatre-eks", servers, theatre, there)
        try:
            with group.test("the_tasks_of_all_roles_do_their_work_with_their_requests_recorded"):
                driven.prepare(made)
                driven.everything(made)
            with group.test("jobs_make_the_tables_and_users_of_a_cluster_of_redshift"):
                driven.prepare(other)
                driven.warehouse(other)
        finally:
            made.close()
            other.close()
    with group.test("every_request_to_aws_is_known_as_actions_and_resources"):
        unknown = made.recorder.unknown + other.recorder.unknown
        must(not unknown, "\n".join(unknown))
        must(made.recorder.requests > 100, f"only {made.recorder.requests} were recorded")
        wanted = {"pipeline", "topics", "api", "shell", "warehouse-users"}
        must(set(made.proxies) == wanted, f"{set(made.proxies)}")
    kinds = derived.topics(sources, {driven.TOPIC})
    with group.test("topics_that_there_are_are_those_of_the_sources"):
        known = set().union(*kinds.values())
        must(made.topics == known, f"{made.topics ^ known}")
    look_at_deployments(group, aws, made, other, kinds)


def look_at_deployments(group, aws, made, other, kinds):
    """The roles of every deployment, held against what was recorded in one."""
    for name, doubles in DEPLOYMENTS.items():
        here = driven.names(aws, name, made.servers)
        recorded = {**made.recorder.under(here), **other.recorder.under(here)}
        with group.test(f"what_was_recorded_is_asked_of_the_warehouse_and_the_lake_of_{name}"):
            actions = {need.action for _, need in recorded}
            log_ins = actions & set().union(*LOG_INS.values())
            must(log_ins == LOG_INS[name], f"{log_ins}")
            asked = {need.resource.partition("/")[0] for _, need in recorded}
            places = {f"arn:aws:s3:::{bucket}" for bucket, _ in here.buckets.values()}
            must(places == {each for each in asked if ":s3:" in each}, f"{asked}")
        seen = needs(aws, name, kinds, recorded, doubles)
        roles_are_right(group, aws, name, seen, here)


def needs(aws, name, kinds, recorded, doubles):
    """All that the roles of a deployment need: recorded, and derived."""
    written = derived.of_list(derived.Places(aws, name, kinds))
    by_aws = {
        **derived.of_ecs(aws, name),
        **derived.of_scheduler(aws, name),
        **derived.of_keda(aws, name),
    }
    found = {**written, **by_aws, **recorded}
    for double, role in doubles.items():
        found |= {
            (double, need): how
            for (who, need), how in found.items()
            if who == role and not need.action.startswith(OF_COLLECTOR)
        }
    # Roles that only others have the work of are none of the deployment.
    return {key: how for key, how in found.items() if " " not in key[0]}


def roles_are_right(group, aws, name, seen, here):
    """Roles of a deployment allow what is needed, and nothing else."""
    roles = {role: rights.of_role(aws, f"{name}-{role}") for role, _ in seen}
    buckets = {bucket: rights.of_bucket(aws, bucket) for bucket, _ in here.buckets.values()}
    plain = rights.plain_names(name, deploying.exported(aws, name))
    with group.test(f"every_role_of_{name}_is_looked_at"):
        begin = f"{name}-"
        pages = aws("iam").get_paginator("list_roles").paginate()
        there = [each["RoleName"] for page in pages for each in page["Roles"]]
        mine = {each.removeprefix(begin) for each in there if each.startswith(begin)}
        left = {each for each in mine - roles.keys() if not each.startswith(tuple(NOT_LOOKED_AT))}
        must(not left, f"{left}")
    with group.test(f"roles_of_{name}_may_do_all_that_their_processes_ask_for"):
        found = rights.denied(roles, buckets, seen)
        must(not found, "\n".join(found))
    with group.test(f"roles_of_{name}_may_do_nothing_else_without_a_written_reason"):
        found = rights.unused(roles, seen, REASONS, plain)
        must(not found, "\n".join(found))
    with group.test(f"roles_of_{name}_reach_no_further_than_is_written"):
        found = rights.too_broad(roles, REASONS, plain)
        must(not found, "\n".join(found))
    with group.test(f"the_policy_of_the_log_of_{name}_is_enough_by_itself"):
        log_is_enough(roles["pipeline"][f"{name}-log"], seen)
    with group.test(f"a_right_of_{name}_that_is_missing_of_another_resource_or_too_much_is_found"):
        missing(name, roles, buckets, seen)
        too_much(name, roles, seen, plain)


def log_is_enough(policy, seen):
    """Roles of stacks that come after the one with the policies are cut off from the log when a
    right moves from one policy to another: so this one has all, and misses each statement."""
    of_log = {
        ("pipeline", need): how
        for (role, need), how in seen.items()
        if role == "pipeline" and need.action.startswith("kafka-cluster:")
    }
    found = rights.denied({"pipeline": {"log": policy}}, {}, of_log)
    must(of_log and not found, "\n".join(found))
    for number in range(len(policy["Statement"])):
        less = copy.deepcopy(policy)
        del less["Statement"][number]
        must(rights.denied({"pipeline": {"log": less}}, {}, of_log), f"{number} is not missed")


def deployer(group, aws, endpoint, template, settings, there):
    """infra/deploy with the role of who deploys: a deployment from nothing to nothing."""
    name = settings["Deployment"]
    aws("cloudformation").create_stack(
        StackName=f"{name}-deployment",
        TemplateBody=template,
        Parameters=[
            {"ParameterKey": "Deployment", "ParameterValue": name},
            {"ParameterKey": "TrustedPrincipalArn", "ParameterValue": "arn:aws:iam::1:role/ci"},
        ],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    account = aws("sts").get_caller_identity()["Account"]
    hands = f"arn:aws:iam::{account}:role/{name}-stacks"
    recorder = traffic.Recorder(traffic.Names(account), asked.SERVICES)
    proxy = traffic.Proxy(recorder, "deploy", dict.fromkeys(asked.SERVICES, endpoint))
    try:
        bounds = f"arn:aws:iam::{account}:policy/{name}-boundary"
        settings = {**settings, "StacksRoleArn": hands, "PermissionsBoundaryArn": bounds}
        deploying.deploy_and_destroy(group, aws, endpoint, proxy.address, settings, there)
    finally:
        proxy.close()
    roles = {"deploy": rights.of_role(aws, f"{name}-deploy")}
    with group.test("who_deploys_may_do_all_that_infra_deploy_asks_for"):
        must(not recorder.unknown, "\n".join(recorder.unknown))
        must(recorder.requests > 100, f"only {recorder.requests} requests were recorded")
        found = rights.denied(roles, {}, recorder.seen)
        must(not found, "\n".join(found))
    with group.test("who_deploys_may_do_nothing_else_without_a_written_reason"):
        plain = rights.plain_names(name, {})
        found = rights.unused(roles, recorder.seen, REASONS, plain)
        found += rights.too_broad(roles, REASONS, plain)
        must(not found, "\n".join(found))


def missing(name, roles, buckets, seen):
    """Rights that are taken from the policies as they are deployed: each must be missed."""
    for role, policy, actions in [
        ("pipeline", "notify", {"sns:Publish", "kms:GenerateDataKey", "kms:Decrypt"}),
        ("irsa", "lake", {"s3:PutObject", "s3:GetObject", "kms:GenerateDataKey"}),
        ("irsa-api", "actions", {"kafka-cluster:WriteData"}),
        ("irsa-api", "reports", {"redshift-data:BatchExecuteStatement"}),
        ("shell", "producer", {"kafka-cluster:WriteData"}),
        ("shell", "simulator", {"kafka-cluster:CreateTopic", "kafka-cluster:WriteData"}),
    ]:
        if f"{name}-{policy}" in roles.get(role, {}):
            without = {**roles, role: {**roles[role]}}
            del without[role][f"{name}-{policy}"]
            found = rights.denied(without, buckets, seen)
            missed = {each.split()[3] for each in found if each.startswith(f"{role} may not ")}
            must(actions <= missed, f"{role} without {policy}: {found}")
            must(all(each.startswith(f"{role} may not ") for each in found), f"{found}")
    other = copy.deepcopy(roles)
    files = other["topics"][f"{name}-lake-read"]["Statement"][1]
    files["Resource"] = files["Resource"].replace("/lake/*", "/raw/*")
    found = rights.denied(other, buckets, seen)
    must(found and all("topics may not s3:GetObject" in each for each in found), f"{found}")
    alone = copy.deepcopy(roles)
    del alone["topics"][f"{name}-log-read"]["Statement"][2]
    found = rights.denied(alone, buckets, seen)
    must(len(found) == 2 and all("Group on " in each for each in found), f"{found}")


def too_much(name, roles, seen, plain):
    """Rights that are put into the policies as they are deployed, each of which must be found."""
    before = rights.Reasons(UNUSED, PATTERNS)
    for role, policy, statement, wider in [
        ("pipeline", "lake", 1, "arn:aws:s3:::*"),
        ("pipeline", "notify", 0, "*"),
        ("api", "inputs-read", 1, "arn:aws:kafka:*:*:topic/*"),
    ]:
        more = copy.deepcopy(roles)
        more[role][f"{name}-{policy}"]["Statement"][statement]["Resource"] = wider
        found = rights.too_broad(more, before, plain)
        must(found and all(each.endswith(f" on {wider}") for each in found), f"{found}")
    for role, policy, statement, resource in [
        ("pipeline", "lake", 1, "arn:aws:s3:::other/*"),
        ("pipeline", "notify", 0, "arn:aws:sns:eu-central-1:123456789012:other"),
    ]:
        more = copy.deepcopy(roles)
        there = more[role][f"{name}-{policy}"]["Statement"][statement]
        there["Resource"] = [*rights.listed(there["Resource"]), resource]
        found = rights.unused(more, seen, before, plain)
        must(found and all(each.endswith(f" on {plain(resource)}") for each in found), f"{found}")
    more = copy.deepcopy(roles)
    more["api"][f"{name}-notify"] = roles["pipeline"][f"{name}-notify"]
    found = rights.unused(more, seen, before, plain)
    # With the rights on keys that a deployment gives for its topics.
    must(any("api sns:Publish on " in each for each in found), f"{found}")
    must(all(each.startswith("never needed: api ") for each in found), f"{found}")


def reasons_are_needed(group):
    """After all roles were looked at."""
    with group.test("every_reason_is_written_out_and_needed"):
        texts = [*UNUSED.values(), *(each["why"] for each in PATTERNS)]
        must(all(len(text) > 20 for text in texts), "a reason is missing")
        must(not REASONS.old(), "needed no more:\n" + "\n".join(REASONS.old()))
