"""What infra/deploy asks of AWS by its command line, as actions and resources: the table that a
recorder takes in place of that for Theatre."""

import json
import re
import urllib.parse

from traffic import ANY, Need, Unknown, model, target

# Calls that know no resource.
WITHOUT = {
    "cloudformation:ListExports",
    "cloudformation:ValidateTemplate",
    "ecr:GetAuthorizationToken",
    "kafka:GetBootstrapBrokers",
}


def of_cloudformation(request, names, region, _status):
    """A stack by its name; all of them without. Who names a role hands it over."""
    form = dict(urllib.parse.parse_qsl(request.body.decode(), keep_blank_values=True))
    action = f"cloudformation:{form['Action']}"
    name = form.get("StackName", "")
    if not name and action != "cloudformation:DescribeStacks" and action not in WITHOUT:
        raise Unknown("it names no stack")
    begin = f"arn:aws:cloudformation:{region}:{names.account}:stack"
    arn = name if name.startswith("arn:") else f"{begin}/{name}/any"
    needs = [Need(action, arn if name else ANY)]
    if "RoleARN" in form:
        handed = (("iam:PassedToService", "cloudformation.amazonaws.com"),)
        needs.append(Need("iam:PassRole", form["RoleARN"], handed))
    return needs


def of_secrets(request, names, region, _status):
    """A secret by its ARN, which has a key of its own."""
    operation = target(request, "secretsmanager", "secretsmanager")
    via = (("kms:ViaService", f"secretsmanager.{region}.amazonaws.com"),)
    of_key = {"GetSecretValue": ["kms:Decrypt"], "PutSecretValue": ["kms:GenerateDataKey"]}
    key = f"arn:aws:kms:{region}:{names.account}:key/any"
    secret = Need(f"secretsmanager:{operation}", json.loads(request.body)["SecretId"])
    return [secret, *(Need(each, key, via) for each in of_key[operation])]


def of_images(request, names, region, _status):
    """A repository by its name."""
    operation = target(request, "AmazonEC2ContainerRegistry_V20150921", "ecr")
    action = f"ecr:{operation}"
    if action in WITHOUT:
        return [Need(action, ANY)]
    name = json.loads(request.body)["repositoryName"]
    return [Need(action, f"arn:aws:ecr:{region}:{names.account}:repository/{name}")]


def by_path(request, service):
    """The operation of a service that goes by methods and paths, and what its path names."""
    path = request.target.partition("?")[0]
    of_service = model(service)
    for operation in of_service.operation_names:
        http = of_service.operation_model(operation).http
        form = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", http["requestUri"].partition("?")[0])
        found = re.fullmatch(form, path)
        if found and http["method"] == request.method:
            return operation, {k: urllib.parse.unquote(v) for k, v in found.groupdict().items()}
    raise Unknown(f"{service} has no such operation")


def of_prometheus(request, names, region, _status):
    """A namespace of rules in a workspace; the one that is made is named in the body."""
    operation, named = by_path(request, "amp")
    name = named.get("name") or json.loads(request.body)["name"]
    place = f"arn:aws:aps:{region}:{names.account}:rulegroupsnamespace"
    return [Need(f"aps:{operation}", f"{place}/{named['workspaceId']}/{name}")]


def of_kafka(request, _names, _region, _status):
    """Only addresses are asked for."""
    action = f"kafka:{by_path(request, 'kafka')[0]}"
    if action not in WITHOUT:
        raise Unknown("the resource of this operation is not known")
    return [Need(action, ANY)]


SERVICES = {
    "cloudformation": of_cloudformation,
    "secretsmanager": of_secrets,
    "ecr": of_images,
    "aps": of_prometheus,
    "kafka": of_kafka,
    # Everyone may ask who he is.
    "sts": lambda *_: [],
}
