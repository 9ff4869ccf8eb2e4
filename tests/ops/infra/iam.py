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

# Actions that are allowed and were never asked for, each with the reason.
UNUSED = json.loads((pathlib.Path(__file__).parent / "unused.json").read_text())

# Roles without a policy that can be looked at here, by how their names begin.
NOT_LOOKED_AT = {
    "store-monitoring": "has a policy of AWS alone",
    "network-FlowLogRole": "the network writes its log with it, by no call of anything here",
    "stacks": "CloudFormation makes all resources with it, by a policy of AWS",
    "deploy": "infra/deploy is recorded by a test of its own",
}


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
        recorder = traffic.Recorder(names, {"s3": lambda *_: [][0]})
        recorder.add("job", traffic.Request("GET", "/lake/a", signed), 200)
        must("IndexError" in recorder.unknown[0], f"{recorder.unknown}")
    with group.test("a_request_is_recorded_whatever_becomes_of_it"):
        nowhere = "http://127.0.0.1:9"
        gone = through_proxy(names, nowhere, signed)
        must(len(gone.seen) == 2 and not gone.unknown, f"{gone.seen} {gone.unknown}")
        broken = through_proxy(names, nowhere, signed, fails=lambda _: [][0])
        must(len(broken.seen) == 2 and "IndexError" in broken.unknown[0], f"{broken.unknown}")
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
        found = rights.unused({"job": policies}, {}, {})
        must(found == ["job may s3:GetObject, and never does"], f"{found}")


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
    """The roles of a deployment, while its tasks are at work; of another, a cluster of Redshift."""
    theatre = process.program(there / "programs")
    with process.Servers(theatre, there) as servers:
        made = driven.Deployment(aws, endpoint, "theatre-prod", servers, theatre, there)
        other = driven.Deployment(aws, endpoint, "theatre-eks", servers, theatre, there)
        try:
            with group.test("the_tasks_of_all_roles_do_their_work_with_their_requests_recorded"):
                driven.prepare(made)
                driven.everything(made)
            with group.test("a_job_makes_the_tables_of_a_cluster_of_redshift"):
                driven.prepare(other)
                other.does("job", "migrate", "--warehouse")
        finally:
            made.close()
            other.close()
    with group.test("every_request_to_aws_is_known_as_actions_and_resources"):
        unknown = made.recorder.unknown + other.recorder.unknown
        must(not unknown, "\n".join(unknown))
        must(made.recorder.requests > 100, f"only {made.recorder.requests} were recorded")
        must(set(made.proxies) == {"pipeline", "topics", "api", "shell"}, f"{set(made.proxies)}")
    kinds = derived.topics(sources)
    with group.test("topics_that_there_are_are_those_of_the_sources"):
        known = {*set().union(*kinds.values()), driven.TOPIC, f"{driven.TOPIC}.dlq"}
        must(made.topics == known, f"{made.topics ^ known}")
    roles_are_right(group, aws, made, kinds)
    roles_of_kubernetes(group, aws, other, kinds)


def needs(aws, made, kinds):
    """All that the roles of a deployment need: recorded, and derived."""
    written = derived.of_list(derived.Places(aws, made.name, kinds))
    by_aws = {**derived.of_ecs(aws, made.name), **derived.of_scheduler(aws, made.name)}
    return {**written, **by_aws, **made.recorder.seen}


def roles_are_right(group, aws, made, kinds):
    """Roles of a deployment allow what is needed, and nothing else."""
    seen, buckets = needs(aws, made, kinds), made.buckets()
    roles = {role: rights.of_role(aws, f"{made.name}-{role}") for role, _ in seen}
    with group.test("every_role_of_the_deployment_is_looked_at"):
        begin = f"{made.name}-"
        pages = aws("iam").get_paginator("list_roles").paginate()
        there = [each["RoleName"] for page in pages for each in page["Roles"]]
        mine = {name.removeprefix(begin) for name in there if name.startswith(begin)}
        left = {name for name in mine - roles.keys() if not name.startswith(tuple(NOT_LOOKED_AT))}
        must(not left, f"{left}")
    with group.test("roles_may_do_all_that_their_tasks_ask_for"):
        found = rights.denied(roles, buckets, seen)
        must(not found, "\n".join(found))
    with group.test("the_policy_of_the_log_is_enough_for_the_log_by_itself"):
        name = f"{made.name}-log"
        of_log = {key: how for key, how in seen.items() if is_of_log_of(key, "pipeline")}
        alone = {name: roles["pipeline"][name]}
        must(of_log and not rights.denied({"pipeline": alone}, buckets, of_log), "it is not")
        for number in range(len(alone[name]["Statement"])):
            less = copy.deepcopy(alone)
            del less[name]["Statement"][number]
            must(rights.denied({"pipeline": less}, buckets, of_log), f"{number} is not missed")
    with group.test("roles_may_do_nothing_else_without_a_written_reason"):
        found = rights.unused(roles, seen, reasons(roles))
        must(not found, "\n".join(found))
        must(all(len(reason) > 20 for reason in UNUSED.values()), "a reason is missing")
    with group.test("a_right_that_is_missing_of_another_resource_or_too_much_is_found"):
        planted(roles, buckets, seen)


def is_of_log_of(key, role):
    """Whether this is a need of that role on the log: roles of stacks that are brought up to date
    after their policies have the same policy before and after."""
    who, need = key
    return who == role and need.action.startswith("kafka-cluster:")


def roles_of_kubernetes(group, aws, made, kinds):
    """The role of pods, by either way, may do what the pipeline does; the scraper collects."""
    seen = {
        (role, need): how
        for (role, need), how in needs(aws, made, kinds).items()
        if role == "pipeline" and not need.action.startswith(("aps:", "logs:"))
    }
    for way in ("pipeline", "irsa"):
        with group.test(f"pods_may_do_what_the_pipeline_does_by_the_role_{way}"):
            actions = {need.action for _, need in seen}
            must("redshift:GetClusterCredentialsWithIAM" in actions, "no cluster was asked")
            roles = {"pipeline": rights.of_role(aws, f"{made.name}-{way}")}
            found = rights.denied(roles, made.buckets(), seen)
            must(not found, "\n".join(found))


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
        settings = {**settings, "StacksRoleArn": hands}
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
        found = rights.unused(roles, recorder.seen, reasons(roles))
        must(not found, "\n".join(found))


def reasons(roles):
    """The written reasons of these roles."""
    return {key: why for key, why in UNUSED.items() if key.partition(" ")[0] in roles}


def planted(roles, buckets, seen):
    """Faults in the policies as they are deployed, each of which must be found."""
    name = "theatre-prod-notify"
    without = {**roles, "pipeline": {**roles["pipeline"]}}
    del without["pipeline"][name]
    found = rights.denied(without, buckets, seen)
    must(len(found) == 1 and "pipeline may not sns:Publish" in found[0], f"{found}")
    other = copy.deepcopy(roles)
    files = other["topics"]["theatre-prod-lake-read"]["Statement"][1]
    files["Resource"] = files["Resource"].replace("/lake/*", "/raw/*")
    found = rights.denied(other, buckets, seen)
    must(found and all("topics may not s3:GetObject" in each for each in found), f"{found}")
    alone = copy.deepcopy(roles)
    del alone["topics"]["theatre-prod-log-read"]["Statement"][2]
    found = rights.denied(alone, buckets, seen)
    must(len(found) == 2 and all("Group on " in each for each in found), f"{found}")
    more = copy.deepcopy(roles)
    more["api"][name] = roles["pipeline"][name]
    found = rights.unused(more, seen, reasons(more))
    must(found == ["api may sns:Publish, and never does"], f"{found}")
