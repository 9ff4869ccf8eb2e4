"""What IAM has to allow for what programs ask of AWS, and whether the roles do: the tests."""

import copy
import json
import pathlib

import driven
import process
import rights
import traffic
from harness import must

# Actions that are allowed and were never asked for, each with the reason.
UNUSED = json.loads((pathlib.Path(__file__).parent / "unused.json").read_text())


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
    with group.test("a_request_that_is_not_known_is_found"):
        recorder = traffic.Recorder(names)
        recorder.add("job", traffic.Request("GET", "/lake/a?acl", signed), 200)
        recorder.add("job", traffic.Request("GET", "/lake/a", {}), 200)
        must(len(recorder.unknown) == 2 and not recorder.seen, f"{recorder.unknown}")
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


def roles_at_work(group, aws, endpoint, there):
    """The roles of theatre-prod, while their tasks are at work."""
    theatre = process.program(there / "programs")
    with process.Servers(theatre, there) as servers:
        made = driven.Deployment(aws, endpoint, "theatre-prod", servers, theatre, there)
        try:
            with group.test("the_tasks_of_all_roles_do_their_work_with_their_requests_recorded"):
                driven.prepare(made)
                driven.everything(made)
        finally:
            made.close()
    recorder, roles, buckets = made.recorder, made.policies(), made.buckets()
    with group.test("every_request_to_aws_is_known_as_actions_and_resources"):
        must(not recorder.unknown, "\n".join(recorder.unknown))
        must(recorder.requests > 100, f"only {recorder.requests} requests were recorded")
        must(set(roles) == {"pipeline", "topics", "api", "shell"}, f"{set(roles)} were at work")
    with group.test("roles_may_do_all_that_their_tasks_asked_for"):
        found = rights.denied(roles, buckets, recorder.seen)
        must(not found, "\n".join(found))
    with group.test("roles_may_do_nothing_else_without_a_written_reason"):
        found = rights.unused(roles, recorder.seen, UNUSED)
        must(not found, "\n".join(found))
        must(all(len(reason) > 20 for reason in UNUSED.values()), "a reason is missing")
    with group.test("a_right_that_is_missing_of_another_resource_or_too_much_is_found"):
        planted(roles, buckets, recorder.seen)


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
    more = copy.deepcopy(roles)
    more["api"][name] = roles["pipeline"][name]
    found = rights.unused(more, seen, UNUSED)
    must(found == ["api may sns:Publish, and never does"], f"{found}")
