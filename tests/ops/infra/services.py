"""What the services of AWS ask of templates, and neither cfn-lint nor moto looks at: each rule as a
function that gives what it found, as in `rules.py`."""

import json
import re

from rights import matches
from templates import (
    INFRA,
    ROOT,
    actions,
    imports,
    referenced,
    statements,
    substitution,
    walk,
    words,
)

TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"

# Metrics that cannot go beyond a setting, with its name: a threshold of their own may lie above it.
BOUNDED = {
    "ComputeCapacity": "MaxCapacity",
    "DatabaseConnections": "MaxConnections",
    "FreeStorageSpace": "StorageGib",
}
# Hours from one nightly run to the next.
NIGHTLY = 24

# What the load balancer asks the tasks themselves, or those beside them, and lets no one else ask.
PROBES = {"/livez", "/readyz", "/health"}

# Kinds that notify topics, each with the service that sends for it.
SENDERS = {
    "AWS::CloudWatch::Alarm": "cloudwatch.amazonaws.com",
    "AWS::Events::Rule": "events.amazonaws.com",
    "AWS::Budgets::Budget": "budgets.amazonaws.com",
}
OF_ALERTMANAGER = "aps.amazonaws.com"
# Those that send no condition keys along, neither to a topic nor to its key.
WITHOUT_CONDITION = {"events.amazonaws.com"}


def resources(all_templates, kind):
    """All resources of a kind: template, name and properties."""
    for file, template in all_templates.items():
        for name, resource in template["Resources"].items():
            if resource["Type"] == kind:
                yield file, name, resource.get("Properties", {})


def capacity_that_is_associated(all_templates):
    """A strategy of capacity names only providers that the cluster is associated with: ECS refuses
    others, also those of Fargate, which need no more than that."""
    clusters = list(resources(all_templates, "AWS::ECS::Cluster"))
    there = {each for *_, cluster in clusters for each in cluster.get("CapacityProviders", [])}
    return [
        f"{file}: no cluster is associated with {each['CapacityProvider']}"
        for file, template in all_templates.items()
        for each in walk(template)
        if "CapacityProvider" in each and each["CapacityProvider"] not in there
    ]


def paths_that_are_served(all_templates):
    """The load balancer forwards every route of the interface but the probes, has no pattern that
    no route fits, and asks for health by a probe. `docs/openapi.json` is made of the routes."""
    routes = set(json.loads((ROOT / "docs/openapi.json").read_text())["paths"])
    if not routes > PROBES | {"/"}:
        return ["the document of the interface has no page, or no probes"]
    patterns = {
        pattern
        for _, _, rule in resources(all_templates, "AWS::ElasticLoadBalancingV2::ListenerRule")
        for condition in rule["Conditions"]
        for pattern in condition["PathPatternConfig"]["Values"]
    }
    reached = {form: {route for route in routes if matches(form, route)} for form in patterns}
    served = set().union(*reached.values())
    found = [f"the load balancer forwards no {route}" for route in routes - PROBES - served]
    found += [f"the load balancer lets everyone ask for {route}" for route in served & PROBES]
    found += [f"there is no route below {pattern}" for pattern in patterns if not reached[pattern]]
    for _, name, group in resources(all_templates, "AWS::ElasticLoadBalancingV2::TargetGroup"):
        if group["HealthCheckPath"] not in PROBES:
            found.append(f"{name}: {group['HealthCheckPath']} is no probe")
    return found


def senders(all_templates):
    """The services that notify each topic, by the topic's name."""
    found = {name: set() for _, name, _ in resources(all_templates, "AWS::SNS::Topic")}
    for kind, service in SENDERS.items():
        for _, _, properties in resources(all_templates, kind):
            for name in imports(properties):
                if name.removesuffix("Arn") in found:
                    found[name.removesuffix("Arn")].add(service)
    for _, _, workspace in resources(all_templates, "AWS::APS::Workspace"):
        for text in words(workspace.get("AlertManagerDefinition", {})):
            for name, services in found.items():
                if f"${{{name}}}" in text:
                    services.add(OF_ALERTMANAGER)
    return found


def let_in(document, action):
    """The services that a policy lets do something: true where it asks for a condition."""
    allowed = {}
    for statement in document["Statement"]:
        principal = statement["Principal"]
        named = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement["Effect"] == "Allow" and action in statement["Action"]:
            for service in [named] if isinstance(named, str) else named:
                allowed[service] = "Condition" in statement
    return allowed


def senders_that_are_let_in(all_templates):
    """The policy of each topic lets in the services that notify it and no others, and the key of
    the topics lets in all of them; with a condition on the account, but for those that send none
    along: what they send is dropped, and nothing says so."""
    found = []
    wanted = senders(all_templates)
    policies = {
        topic["Ref"]: (policy["PolicyDocument"], "sns:Publish")
        for _, _, policy in resources(all_templates, "AWS::SNS::TopicPolicy")
        for topic in policy["Topics"]
    }
    wanted["SecretsKey"] = set().union(*wanted.values())
    for _, name, key in resources(all_templates, "AWS::KMS::Key"):
        policies[name] = key["KeyPolicy"], "kms:GenerateDataKey"
    for name, services in wanted.items():
        allowed = let_in(*policies[name])
        found += [f"{name}: {each} is not let in" for each in services - allowed.keys()]
        found += [f"{name}: {each} sends nothing" for each in allowed.keys() - services]
        found += [
            f"{name}: {each} with or without a condition, the other way round"
            for each, asked in allowed.items()
            if asked == (each in WITHOUT_CONDITION)
        ]
    return found


def counts_that_are_left_to_scaling(all_templates):
    """A service that is scaled gives no number of tasks: each change of the stack would set it, and
    take away in the busiest hour what scaling has added."""
    scaled = {
        (file, name)
        for file, _, target in resources(all_templates, TARGET)
        for name in re.findall(r"\$\{(\w+)\.Name\}", json.dumps(target["ResourceId"]))
    }
    return [
        f"{file}: {name} is scaled and has a number of tasks of its own"
        for file, name, service in resources(all_templates, "AWS::ECS::Service")
        if (file, name) in scaled and "DesiredCount" in service
    ]


def alarms_that_can_come(all_templates):
    """An alarm of something that a setting bounds stands at a share of the setting, which is
    the same everywhere (`rules.parameters_that_agree`); and one for a run that is missing looks back further than to the run before,
    and no further than CloudWatch does."""
    found = []
    # What runs print as they end.
    nightly = {
        each["MetricName"]
        for _, _, metrics in resources(all_templates, "AWS::Logs::MetricFilter")
        for each in metrics["MetricTransformations"]
    }
    known = set()
    for file, name, alarm in resources(all_templates, "AWS::CloudWatch::Alarm"):
        metrics = {each["MetricName"] for each in walk(alarm) if "MetricName" in each}
        known |= metrics
        for metric in metrics:
            bound = BOUNDED.get(metric)
            if bound and bound not in referenced({"alarm": alarm}):
                found.append(f"{file}: {name} does not know {bound}, which bounds {metric}")
        if alarm.get("MetricName") in nightly and alarm["Statistic"] == "SampleCount":
            hours = alarm["Period"] * alarm["EvaluationPeriods"] / 3600
            if hours <= NIGHTLY or alarm["DatapointsToAlarm"] != alarm["EvaluationPeriods"]:
                found.append(f"{file}: {name} comes where a run ends later than the one before")
            if hours > 7 * 24 or alarm["Period"] % 60:
                found.append(f"{file}: {name} looks back further than CloudWatch does")
    found += [f"no alarm is of {metric}" for metric in BOUNDED.keys() - known]
    return found


def group_of(value):
    """The security group that a property names."""
    return value["Fn::GetAtt"][0] if isinstance(value, dict) and "Fn::GetAtt" in value else None


def ports_that_are_asked(all_templates):
    """What may leave a security group for another may come in there, and the other way round; the
    load balancer reaches the ports that its targets have, and no others."""
    leave, enter = set(), set()
    for _, name, group in resources(all_templates, "AWS::EC2::SecurityGroup"):
        for each in group.get("SecurityGroupEgress", []):
            if "DestinationSecurityGroupId" in each:
                to = group_of(each["DestinationSecurityGroupId"])
                leave.add((name, to, each["FromPort"], each["ToPort"]))
    for _, _, each in resources(all_templates, "AWS::EC2::SecurityGroupIngress"):
        pair = group_of(each.get("SourceSecurityGroupId")), group_of(each["GroupId"])
        # Within a group, and between networks, addresses say where to.
        if all(pair) and pair[0] != pair[1]:
            enter.add((*pair, each["FromPort"], each["ToPort"]))
    found = [f"{each} may leave, and not come in" for each in leave - enter]
    found += [f"{each} may come in, and not leave" for each in enter - leave]
    wanted = set()
    for _, _, group in resources(all_templates, "AWS::ElasticLoadBalancingV2::TargetGroup"):
        health = group.get("HealthCheckPort", "traffic-port")
        wanted |= {group["Port"], group["Port"] if health == "traffic-port" else int(health)}
    there = {first for name, _, first, last in leave if name == "LoadBalancerGroup"}
    if there != wanted:
        found.append(f"the load balancer may ask {there}, and its targets have {wanted}")
    return found


# What a task reaches by a variable: the group of the server, and its port.
REACHED = {
    "THEATRE__STORE__URL": ("StoreGroup", 5432),
    "THEATRE__LOG__URL": ("LogGroup", 9098),
}


def servers_that_are_reached(all_templates):
    """The security group of each service lets its tasks out to the servers that their variables
    name: they wait for an answer otherwise, and nothing says why."""
    leave = {
        (name, group_of(each["DestinationSecurityGroupId"]), each["FromPort"])
        for _, name, group in resources(all_templates, "AWS::EC2::SecurityGroup")
        for each in group.get("SecurityGroupEgress", [])
        if "DestinationSecurityGroupId" in each
    }
    found, known = [], set()
    for file, name, service in resources(all_templates, "AWS::ECS::Service"):
        task = all_templates[file]["Resources"][service["TaskDefinition"]["Ref"]]["Properties"]
        variables = set(words(task["ContainerDefinitions"]))
        groups = imports(service["NetworkConfiguration"]["AwsvpcConfiguration"]["SecurityGroups"])
        for variable in REACHED.keys() & variables:
            known.add(variable)
            places = {(group.removesuffix("Id"), *REACHED[variable]) for group in groups}
            if not places & leave:
                found.append(f"{file}: {name} does not reach {REACHED[variable]}")
    return found + [f"no service has {each}" for each in REACHED.keys() - known]


def roles_that_are_handed_over(all_templates):
    """Who deploys may hand over the roles of all tasks that infra/job and infra/shell run, and no
    others."""
    policy = next(
        each
        for name, each in statements(all_templates["deployment"])
        if name == "DeployRole" and each.get("Sid") == "Roles"
    )
    handed = {substitution(each).rpartition(":role/")[2] for each in policy["Resource"]}
    roles = {
        f"{name}Arn": substitution(role["RoleName"])
        for _, name, role in resources(all_templates, "AWS::IAM::Role")
        if "RoleName" in role
    }
    wanted = set()
    services = {"ecs", "api"}
    for file, _, task in resources(all_templates, "AWS::ECS::TaskDefinition"):
        for key in ("TaskRoleArn", "ExecutionRoleArn"):
            if file not in services and key in task:
                value = task[key]
                own = {f"{value['Fn::GetAtt'][0]}Arn"} if "Fn::GetAtt" in value else imports(value)
                wanted |= {roles[each] for each in own}
    found = [f"who deploys may not hand over {each}" for each in sorted(wanted - handed)]
    return found + [f"who deploys may hand over {each}" for each in sorted(handed - wanted)]


# Hops that are not encrypted unless a setting says so: the README has the reason.
WITHOUT_TLS = {"ApiTargets": "ApiTargetProtocol"}


def hops_without_tls(all_templates):
    """Every server takes TLS only, but for what the README names with its reason."""
    readme = (INFRA / "README.md").read_text()
    found = [
        f"{name} goes without TLS, and the README does not say {setting}"
        for name, setting in WITHOUT_TLS.items()
        if f"`{setting}`" not in readme
    ]
    for _, name, group in resources(all_templates, "AWS::ElasticLoadBalancingV2::TargetGroup"):
        spoken = [group["Protocol"], group["HealthCheckProtocol"]]
        if spoken not in (["HTTPS"] * 2, [{"Ref": WITHOUT_TLS.get(name)}] * 2):
            found.append(f"{name}: tasks are reached without TLS")
    for _, name, listener in resources(all_templates, "AWS::ElasticLoadBalancingV2::Listener"):
        if listener["Protocol"] != "HTTPS" or "-TLS13-" not in listener["SslPolicy"]:
            found.append(f"{name}: the load balancer is reached without TLS")
    for _, name, cluster in resources(all_templates, "AWS::MSK::Cluster"):
        transit = cluster["EncryptionInfo"]["EncryptionInTransit"]
        if transit != {"ClientBroker": "TLS", "InCluster": True}:
            found.append(f"{name}: brokers are reached without TLS")
    forced = {
        "AWS::RDS::DBParameterGroup": "rds.force_ssl",
        "AWS::Redshift::ClusterParameterGroup": "require_ssl",
        "AWS::RedshiftServerless::Workgroup": "require_ssl",
    }
    for kind, key in forced.items():
        for file, name, properties in resources(all_templates, kind):
            given = properties.get("Parameters", properties.get("ConfigParameters"))
            if isinstance(given, list):
                given = {
                    each.get("ParameterName", each.get("ParameterKey")): each["ParameterValue"]
                    for each in given
                }
            if given.get(key) not in ("1", "true"):
                found.append(f"{file}: {name} lets in what comes without TLS")
    return found


def sessions_that_open(all_templates):
    """Who opens a session in a task may use the key that encrypts it, and so may the task; and who
    deploys has as long as a first deployment takes."""
    found = []
    keys = {
        f"{each['TargetKeyId']['Ref']}Arn": substitution(each["AliasName"])
        for _, _, each in resources(all_templates, "AWS::KMS::Alias")
    }
    _, _, cluster = next(resources(all_templates, "AWS::ECS::Cluster"))
    (key,) = imports(cluster["Configuration"]["ExecuteCommandConfiguration"]["KmsKeyId"])
    deployer = all_templates["deployment"]
    condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": {"Fn::Sub": keys[key]}}}
    if not any(
        "kms:GenerateDataKey" in actions(each) and each.get("Condition") == condition
        for name, each in statements(deployer)
        if name == "DeployRole"
    ):
        found.append(f"who deploys may not use {keys[key]} for a session")
    if not any(
        "kms:Decrypt" in actions(each) and key in imports(each["Resource"])
        for name, each in statements(all_templates["shell"])
        if name == "ShellRole"
    ):
        found.append(f"the shell may not use {keys[key]} for its session")
    lasts = deployer["Resources"]["DeployRole"]["Properties"].get("MaxSessionDuration", 3600)
    if lasts < 4 * 3600:
        found.append(f"a session of who deploys ends after {lasts} s")
    return found


# How infra/destroy removes what stacks keep, by kind.
REMOVED_BY = {
    "AWS::APS::Workspace": "amp delete-workspace",
    "AWS::ECR::Repository": "ecr delete-repository",
    "AWS::Glue::Registry": "glue delete-registry",
    "AWS::KMS::Key": "kms schedule-key-deletion",
    "AWS::MSK::Cluster": "kafka delete-cluster",
    "AWS::MSK::ServerlessCluster": "kafka delete-cluster",
    "AWS::RedshiftServerless::Namespace": "redshift-serverless delete-namespace",
    "AWS::S3::Bucket": "s3api delete-bucket",
    "AWS::SecretsManager::Secret": "secretsmanager delete-secret",
}


def kept_and_never_removed(all_templates):
    """What a stack keeps when it goes is removed by infra/destroy where data is to go, too; and what
    holds the store or the warehouse leaves a last snapshot."""
    text = (INFRA / "destroy").read_text()
    found, kept = [], set()
    for file, template in all_templates.items():
        for name, resource in template["Resources"].items():
            if resource.get("DeletionPolicy", "Delete").startswith("Retain"):
                kept.add(resource["Type"])
                command = REMOVED_BY.get(resource["Type"], "nothing")
                if f"aws {command} " not in text:
                    found.append(f"{file}: {name} is kept, and removed by {command}")
            elif resource["Type"] in ("AWS::RDS::DBInstance", "AWS::Redshift::Cluster"):
                if resource.get("DeletionPolicy") != "Snapshot":
                    found.append(f"{file}: {name} leaves no snapshot")
    if "--final-snapshot-name" not in text:
        found.append("the namespace of the warehouse leaves no snapshot")
    return found + [f"no stack keeps a {each}" for each in REMOVED_BY.keys() - kept]
