"""Whether the role with which CloudFormation works may do what the templates want of it: what the
handlers of each kind of resource call stands in the schemas that cfn-lint brings along, and what
the policy of AWS allows that the role has in the copy that moto brings along."""

import functools
import json
import pathlib
import re

import cfnlint
from moto.iam.aws_managed_policies import aws_managed_policies_data
from rights import listed, matches
from templates import actions, statements, substitution, words

SCHEMAS = pathlib.Path(cfnlint.__file__).parent / "data/schemas"
OF_AWS = json.loads(aws_managed_policies_data)
DONE = ("create", "read", "update", "delete")
NAME = "theatre-try"
ACCOUNT = "arn:aws:iam::123456789012"
# Places that the handlers of a kind name in their calls of IAM; all others name roles that a
# template makes or imports.
LINKED = f"{ACCOUNT}:role/aws-service-role/kafka.amazonaws.com/AWSServiceRoleForKafka"
PLACES = [
    (r"AWS::MSK::Cluster iam:(Attach|Put)RolePolicy", LINKED),
    (r".* iam:CreateServiceLinkedRole", LINKED),
    (r".* iam:\w*OpenIDConnectProvider\w*", f"{ACCOUNT}:oidc-provider/oidc.test/id/1"),
    (r".* iam:\w+RolePolic\w+", f"{ACCOUNT}:role/{NAME}-one"),
    (r".* iam:\w+Policy(Versions?)?", f"{ACCOUNT}:policy/{NAME}-one"),
    (r".* iam:.*", f"{ACCOUNT}:role/{NAME}-one"),
]
# What handlers may call, and never do for these templates: kinds and actions as a pattern.
EXCEPTIONS = {
    r"AWS::IAM::ManagedPolicy iam:(At|De)tach(Group|User)Policy": (
        "no policy here is given to a group or a user, which only people would do"
    ),
    r"AWS::IAM::Role iam:DeleteRolePermissionsBoundary": (
        "no role may lose its boundary, which bounds what CloudFormation can give away"
    ),
    r"AWS::EKS::Cluster iam:\w*InstanceProfile": (
        "only a cluster in automatic mode has a profile of instances made for it"
    ),
}


@functools.cache
def handlers(kind, region="eu-central-1"):
    """What the handlers of a kind call, of those that make, read, change and remove one."""
    names = json.loads((SCHEMAS / f"providers/{region}.json").read_text())
    schema = json.loads((SCHEMAS / f"resources/{names[kind]}.json").read_text())
    given = schema["handlers"]
    return {each for one in DONE for each in given.get(one, {}).get("permissions", [])}


def policies(role):
    """The statements of a role of a template: its own, and those of the policies of AWS."""
    own = [each["PolicyDocument"] for each in role.get("Policies", [])]
    found = [each for document in own for each in document["Statement"]]
    for arn in role.get("ManagedPolicyArns", []):
        found += OF_AWS[substitution(arn).rpartition("/")[2]]["Document"]["Statement"]
    return found


def named(statement, action):
    """Whether a statement speaks of an action."""
    given = listed(statement.get("Action", statement.get("NotAction")))
    there = any(matches(each.lower(), action.lower()) for each in given)
    return there if "Action" in statement else not there


def text(resource):
    """A resource of a statement as it is in an account."""
    filled = {"AWS::Partition": "aws", "AWS::AccountId": ACCOUNT[-12:], "Deployment": NAME}
    return re.sub(r"\$\{([\w:]+)\}", lambda found: filled[found[1]], substitution(resource))


def may(statements, action, place):
    """Whether statements allow an action on a place, and none denies it. Conditions are taken to
    hold: the templates are held against them by rules of their own."""
    fits = [
        each
        for each in statements
        if named(each, action)
        and any(matches(text(one), place) for one in listed(each["Resource"]))
    ]
    return {each["Effect"] for each in fits} == {"Allow"}


def place_of(kind, action):
    """What a call of a handler names."""
    fits = [place for form, place in PLACES if re.fullmatch(form, f"{kind} {action}")]
    return fits[0] if fits else "arn:aws:any:any:123456789012:any"


# What gives a role rights.
GIVES = ["AttachRolePolicy", "CreateRole", "PutRolePermissionsBoundary", "PutRolePolicy"]
WITHIN = {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}
BOUNDED = ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]
# What may do more than the others, and is not changed by CloudFormation.
OWN = [
    f"{ACCOUNT}:policy/{NAME}-boundary",
    f"{ACCOUNT}:role/{NAME}-deploy",
    f"{ACCOUNT}:role/{NAME}-stacks",
]


def rights_that_are_bounded(all_templates):
    """CloudFormation gives roles their rights within the boundary only, and changes neither the
    boundary nor the roles beside it; every other role has the boundary, which takes away nothing
    that its policies say."""
    made = all_templates["deployment"]["Resources"]
    given = policies(made["StacksRole"]["Properties"])
    found = [
        f"iam:{action} is allowed without the boundary"
        for action in GIVES
        for each in given
        if may([each], f"iam:{action}", f"{ACCOUNT}:role/{NAME}-one")
        and each.get("Condition") != WITHIN
    ]
    known = {action for each in given for action in listed(each.get("Action", []))}
    found += [
        f"{action} is allowed on {place}"
        for action in sorted(known | {f"iam:{each}" for each in GIVES})
        for place in OWN
        if action.startswith("iam:") and may(given, action, place)
    ]
    bounds = made["Boundary"]["Properties"]["PolicyDocument"]["Statement"]
    for name, template in all_templates.items():
        if name == "deployment":
            continue
        rights = [each for _, each in statements(template)]
        for logical, resource in template["Resources"].items():
            if resource["Type"] == "AWS::IAM::Role":
                role = resource["Properties"]
                of_aws = [each for each in role.get("ManagedPolicyArns", []) if "Fn::Sub" in each]
                rights += policies({"ManagedPolicyArns": of_aws})
                if role.get("PermissionsBoundary") != {"Fn::If": BOUNDED}:
                    found.append(f"{name}: {logical} has no boundary")
        found += [
            f"{name}: the boundary takes away {action}"
            for each in rights
            for action in actions(each)
            if not may(bounds, action, place_of("AWS::IAM::Role", action))
        ]
    return found


def hands_that_may(all_templates):
    """The role may call whatever a handler of a kind of the templates calls, each exception is
    needed, and no template names a role that is none of the deployment's."""
    role = all_templates["deployment"]["Resources"]["StacksRole"]["Properties"]
    given = policies(role)
    others = {name: each for name, each in all_templates.items() if name != "deployment"}
    kinds = {each["Type"] for one in others.values() for each in one["Resources"].values()}
    found, needed = [], set()
    for kind in sorted(kinds):
        for action in sorted(handlers(kind)):
            key = f"{kind} {action}"
            excepted = {each for each in EXCEPTIONS if re.fullmatch(each, key)}
            if may(given, action, place_of(kind, action)):
                continue
            needed |= excepted
            if not excepted:
                found.append(f"{key} is not allowed on {place_of(kind, action)}")
    found += [f"an exception is needed no more: {each}" for each in EXCEPTIONS.keys() - needed]
    for name, template in others.items():
        for each in words(template["Resources"]):
            for role_name in re.findall(r"^arn:[^ ]*:iam::[^ ]*:role/([^ ]+)$", each):
                if not role_name.startswith("${Deployment}-"):
                    found.append(f"{name}: {role_name} cannot be handed over")
    return found
