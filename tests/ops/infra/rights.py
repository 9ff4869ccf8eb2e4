"""Policies of IAM, evaluated as AWS does: what no statement allows is denied, and what one denies
stays so. A kind of statement that is not known here is a failure, and no silent yes."""

import fnmatch
import json
import re


class NotUnderstood(Exception):
    """A policy has something that is not evaluated here."""


def listed(value):
    return value if isinstance(value, list) else [value]


def matches(pattern, text):
    """A pattern of IAM: `*` and `?`, and nothing else, are wild."""
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None


def applies(statement, need, context):
    """Whether a statement speaks of this need."""
    odd = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
    if odd or statement.get("Principal", "*") != "*":
        raise NotUnderstood(f"{odd or statement['Principal']} in {statement}")
    named = any(
        matches(each.lower(), need.action.lower()) for each in listed(statement["Action"])
    )
    there = any(matches(each, need.resource) for each in listed(statement["Resource"]))
    return named and there and holds(statement.get("Condition", {}), context)


def holds(conditions, context):
    """Whether all conditions hold for what is known of the request."""
    for operator, pairs in conditions.items():
        for key, wanted in pairs.items():
            value, texts = context.get(key), [str(each) for each in listed(wanted)]
            if operator == "StringEquals":
                held = value in texts
            elif operator == "StringNotEquals":
                held = value not in texts
            elif operator == "Bool":
                held = value is not None and value.lower() in [each.lower() for each in texts]
            elif operator == "ArnEquals":
                held = value is not None and any(matches(each, value) for each in texts)
            elif operator == "Null":
                held = (value is None) == (texts == ["true"])
            else:
                raise NotUnderstood(f"the condition {operator}")
            if not held:
                return False
    return True


def allowed(policies, need, resource_policies=()):
    """Whether policies of a role, and those of the resource that only deny, let it be done. The
    endpoints of AWS that the task has are those with TLS."""
    context = {"aws:SecureTransport": "true", **dict(need.context)}
    own = [each for policy in policies.values() for each in listed(policy["Statement"])]
    others = [each for policy in resource_policies for each in listed(policy["Statement"])]
    if any(each["Effect"] != "Deny" for each in others):
        raise NotUnderstood("the policy of a resource allows something")
    effects = {each["Effect"] for each in [*own, *others] if applies(each, need, context)}
    return effects == {"Allow"}


def of_role(aws, name):
    """The policies that a role has, by name, as they are deployed."""
    iam = aws("iam")
    found = {}
    for each in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=each["PolicyArn"], VersionId=version)
        found[each["PolicyName"]] = document["PolicyVersion"]["Document"]
    for each in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        found[each] = iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"]
    return found


def of_bucket(aws, name):
    """The policy of a bucket."""
    return json.loads(aws("s3").get_bucket_policy(Bucket=name)["Policy"])


def denied(roles, buckets, seen):
    """What was asked for and is not allowed, with a request that asked for it."""
    found = []
    for (role, need), (line, _) in seen.items():
        bucket = need.resource.removeprefix("arn:aws:s3:::").partition("/")[0]
        others = [buckets[bucket]] if bucket in buckets else []
        if not allowed(roles[role], need, others):
            found.append(f"{role} may not {need.action} on {need.resource}, as it did by: {line}")
    return sorted(found)


def unused(roles, seen, reasons):
    """What is allowed and was never asked for, where no reason is written; and reasons without
    need. A reason is for actions of a role, or of all roles as `*`; they may be patterns."""
    asked = {(role, need.action) for role, need in seen}
    found, needed = [], set()
    for role, policies in roles.items():
        granted = {
            action
            for policy in policies.values()
            for statement in listed(policy["Statement"])
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
        }
        for action in sorted(granted - {action for who, action in asked if who == role}):
            keys = [key for key in reasons if matches(key, f"{role} {action}")]
            needed.update(keys)
            if not keys:
                found.append(f"{role} may {action}, and never does")
    old = reasons.keys() - needed
    found += [f"a reason is written that is needed no more: {key}" for key in old]
    return sorted(found)
