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
            elif operator == "ForAnyValue:StringEquals":
                held = any(each in texts for each in listed(value or []))
            elif operator == "StringLike":
                held = value is not None and any(matches(each, value) for each in texts)
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


def granted(policies):
    """What policies of a role allow: actions and patterns of resources, with their conditions."""
    for policy in policies.values():
        for statement in listed(policy["Statement"]):
            if statement["Effect"] == "Allow":
                for action in listed(statement["Action"]):
                    for pattern in listed(statement["Resource"]):
                        yield {**statement, "Action": action, "Resource": pattern}


class Reasons:
    """Why a role may what it never does, and which patterns of resources may stand in policies.
    Places are named as `plain` says them, without what is another one in each deployment."""

    def __init__(self, unused, patterns):
        self.unused = unused
        self.patterns = {
            (role, action, each["on"])
            for each in patterns
            for role in each["roles"]
            for action in each["actions"]
        }
        self.needed = set()

    def of_unused(self, text):
        """Whether there is a reason for this: a key may be a pattern, so that one is enough for
        several actions or places."""
        keys = {key for key in self.unused if matches(key, text)}
        self.needed |= keys
        return keys

    def of_pattern(self, key):
        """Whether this pattern is one of those that may stand there."""
        self.needed |= {key} & self.patterns
        return key in self.patterns

    def old(self):
        """What is written and was never needed."""
        return sorted(map(str, (self.unused.keys() | self.patterns) - self.needed))


def unused(roles, seen, reasons, plain=str):
    """Actions that are allowed on a resource and were never asked for there, where no reason is
    written: each pair of an action and a pattern of resources has to have its need."""
    found = set()
    for role, policies in roles.items():
        mine = [need for who, need in seen if who == role]
        for one in granted(policies):
            if not any(applies(one, need, dict(need.context)) for need in mine):
                text = f"{role} {one['Action']} on {plain(one['Resource'])}"
                if not reasons.of_unused(text):
                    found.add(f"never needed: {text}")
    return sorted(found)


def too_broad(roles, reasons, plain=str):
    """Patterns that stand in policies and are none of those that may: a need that one of them
    matches does not show that it has to reach as far as it does."""
    return sorted(
        {
            f"as far as this: {role} {one['Action']} on {plain(one['Resource'])}"
            for role, policies in roles.items()
            for one in granted(policies)
            if re.search(r"[*?]", one["Action"] + one["Resource"])
            and not reasons.of_pattern((role, one["Action"], plain(one["Resource"])))
        }
    )


def plain_names(deployment, exports):
    """Says a resource without the names and ids that are others in each deployment."""
    own = {value: name for name, value in sorted(exports.items()) if len(value) > 12}
    longest = sorted(own, key=lambda value: (-len(value), value))

    def plain(text):
        for value in longest:
            if value != deployment:
                text = text.replace(value, f"{{{own[value]}}}")
        text = re.sub(r"\b\d{12}\b", "{account}", text)
        return text.replace(deployment, "{deployment}").replace("eu-central-1", "{region}")

    return plain
