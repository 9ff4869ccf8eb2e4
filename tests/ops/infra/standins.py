"""Kinds that moto's CloudFormation passes over in silence. Most of them moto does have: they are
made through its own API, and can be asked for afterwards. The rest, in `REMEMBERED`, is kept as a
name with the attributes that AWS would give it: what is asked of it is that the template names
properties that exist (cfn-lint knows them all) and that what refers to it finds something."""

import json
import uuid

import boto3
from moto.core.common_models import CloudFormationModel

ACCOUNT = "123456789012"

# Kinds that moto has nothing for at all, each with what was tried instead.
REMEMBERED = {
    "AWS::MSK::Configuration": "cfn-lint; rules.brokers_as_configured",
    "AWS::RedshiftServerless::Namespace": "cfn-lint",
    "AWS::RedshiftServerless::Workgroup": "cfn-lint",
    "AWS::APS::Scraper": "cfn-lint; rules.scraper_that_finds_pods",
    "AWS::EKS::Addon": "cfn-lint",
    "AWS::EKS::PodIdentityAssociation": "cfn-lint",
    "AWS::EKS::AccessEntry": "cfn-lint",
}


class Kind:
    """How a resource of a kind is made. `make` takes clients and properties and gives the physical
    id and the attributes; `remove` takes clients, id and properties."""

    def __init__(self, make, remove=None):
        self.make = make
        self.remove = remove


KINDS = {}
# Moto finds its classes by weak references.
KEPT = []


def kind(name, remove=None):
    def keep(make):
        KINDS[name] = Kind(make, remove)
        return make

    return keep


def lower_first(value):
    """Properties of CloudFormation as services take them that begin names in lower case."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: lower_first(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [lower_first(inner) for inner in value]
    return value


@kind("AWS::S3::BucketPolicy")
def bucket_policy(aws, wanted):
    policy = json.dumps(wanted["PolicyDocument"])
    aws("s3").put_bucket_policy(Bucket=wanted["Bucket"], Policy=policy)
    return wanted["Bucket"], {}


def remove_secret(aws, name, _):
    aws("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@kind("AWS::SecretsManager::Secret", remove_secret)
def secret(aws, wanted):
    client = aws("secretsmanager")
    text = {}
    if "GenerateSecretString" in wanted:
        form = wanted["GenerateSecretString"]
        made = client.get_random_password(
            PasswordLength=int(form["PasswordLength"]),
            ExcludePunctuation=form["ExcludePunctuation"],
        )
        text = {"SecretString": made["RandomPassword"]}
    made = client.create_secret(Name=wanted["Name"], KmsKeyId=wanted["KmsKeyId"], **text)
    return made["ARN"], {}


@kind("AWS::Logs::MetricFilter")
def metric_filter(aws, wanted):
    transformations = [
        {
            "metricName": each["MetricName"],
            "metricNamespace": each["MetricNamespace"],
            "metricValue": each["MetricValue"],
        }
        for each in wanted["MetricTransformations"]
    ]
    name = f"filter-{uuid.uuid4().hex[:8]}"
    aws("logs").put_metric_filter(
        logGroupName=wanted["LogGroupName"],
        filterName=name,
        filterPattern=wanted["FilterPattern"],
        metricTransformations=transformations,
    )
    return name, {}


@kind("AWS::ApplicationAutoScaling::ScalableTarget")
def scalable_target(aws, wanted):
    words = ["ServiceNamespace", "ResourceId", "ScalableDimension"]
    place = {word: wanted[word] for word in words}
    aws("application-autoscaling").register_scalable_target(
        **place,
        MinCapacity=int(wanted["MinCapacity"]),
        MaxCapacity=int(wanted["MaxCapacity"]),
    )
    parts = ["ResourceId", "ScalableDimension", "ServiceNamespace"]
    return "|".join(wanted[part] for part in parts), {}


@kind("AWS::ApplicationAutoScaling::ScalingPolicy")
def scaling_policy(aws, wanted):
    resource, dimension, namespace = wanted["ScalingTargetId"].split("|")
    policy = dict(wanted["TargetTrackingScalingPolicyConfiguration"])
    policy["TargetValue"] = float(policy["TargetValue"])
    for word in ["ScaleInCooldown", "ScaleOutCooldown"]:
        if word in policy:
            policy[word] = int(policy[word])
    if "DisableScaleIn" in policy:
        policy["DisableScaleIn"] = str(policy["DisableScaleIn"]).lower() == "true"
    aws("application-autoscaling").put_scaling_policy(
        PolicyName=wanted["PolicyName"],
        ServiceNamespace=namespace,
        ResourceId=resource,
        ScalableDimension=dimension,
        PolicyType=wanted["PolicyType"],
        TargetTrackingScalingPolicyConfiguration=policy,
    )
    return f"{namespace}|{resource}|{wanted['PolicyName']}", {}


def remove_ingress(aws, name, _):
    # By a filter, which finds none where the rule went with its group: for AWS, too, it is removed.
    named = {"Name": "security-group-rule-id", "Values": [name]}
    rules = aws("ec2").describe_security_group_rules(Filters=[named])
    for rule in rules["SecurityGroupRules"]:
        aws("ec2").revoke_security_group_ingress(
            GroupId=rule["GroupId"], SecurityGroupRuleIds=[name]
        )


# Moto has it, without a name by which a rule could be asked for.
@kind("AWS::EC2::SecurityGroupIngress", remove_ingress)
def security_group_ingress(aws, wanted):
    rule = {
        "IpProtocol": wanted["IpProtocol"],
        "FromPort": int(wanted["FromPort"]),
        "ToPort": int(wanted["ToPort"]),
    }
    note = {"Description": wanted["Description"]}
    if "SourceSecurityGroupId" in wanted:
        rule["UserIdGroupPairs"] = [{"GroupId": wanted["SourceSecurityGroupId"], **note}]
    else:
        rule["IpRanges"] = [{"CidrIp": wanted["CidrIp"], **note}]
    made = aws("ec2").authorize_security_group_ingress(
        GroupId=wanted["GroupId"], IpPermissions=[rule]
    )
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}


def remove_msk(aws, arn, _):
    aws("kafka").delete_cluster(ClusterArn=arn)


@kind("AWS::MSK::Cluster", remove_msk)
def msk_cluster(aws, wanted):
    made = aws("kafka").create_cluster(
        ClusterName=wanted["ClusterName"],
        KafkaVersion=wanted["KafkaVersion"],
        NumberOfBrokerNodes=int(wanted["NumberOfBrokerNodes"]),
        BrokerNodeGroupInfo={
            "InstanceType": wanted["BrokerNodeGroupInfo"]["InstanceType"],
            "ClientSubnets": wanted["BrokerNodeGroupInfo"]["ClientSubnets"],
            "SecurityGroups": wanted["BrokerNodeGroupInfo"]["SecurityGroups"],
        },
        ClientAuthentication=wanted["ClientAuthentication"],
    )
    return made["ClusterArn"], {}


@kind("AWS::MSK::ServerlessCluster", remove_msk)
def msk_serverless(aws, wanted):
    made = aws("kafka").create_cluster_v2(
        ClusterName=wanted["ClusterName"],
        Serverless={
            "VpcConfigs": [
                {"SubnetIds": each["SubnetIds"], "SecurityGroupIds": each["SecurityGroups"]}
                for each in wanted["VpcConfigs"]
            ],
            "ClientAuthentication": wanted["ClientAuthentication"],
        },
    )
    return made["ClusterArn"], {}


def remove_configuration(aws, arn, _):
    """AWS deletes none that a cluster has; here, both have the name of the deployment's log."""
    name = arn.split("/")[1]
    listed = aws("kafka").list_clusters_v2()["ClusterInfoList"]
    if any(each["ClusterName"] == name for each in listed):
        raise RuntimeError(f"a cluster has the configuration {name}")


@kind("AWS::MSK::Configuration", remove_configuration)
def msk_configuration(_, wanted):
    arn = f"arn:aws:kafka:eu-central-1:{ACCOUNT}:configuration/{wanted['Name']}/{uuid.uuid4()}-1"
    return arn, {"Arn": arn, "LatestRevision.Revision": 1}


@kind("AWS::Glue::Registry")
def glue_registry(aws, wanted):
    made = aws("glue").create_registry(RegistryName=wanted["Name"])
    return made["RegistryArn"], {"Arn": made["RegistryArn"]}


@kind("AWS::RedshiftServerless::Namespace")
def namespace(_, wanted):
    return wanted["NamespaceName"], {}


@kind("AWS::RedshiftServerless::Workgroup")
def workgroup(_, wanted):
    place = f"arn:aws:redshift-serverless:eu-central-1:{ACCOUNT}:workgroup"
    return wanted["WorkgroupName"], {"Workgroup.WorkgroupArn": f"{place}/{uuid.uuid4()}"}


@kind("AWS::CloudWatch::Alarm")
def alarm(aws, wanted):
    call = {**wanted, "Threshold": float(wanted["Threshold"])}
    for word in ["Period", "EvaluationPeriods", "DatapointsToAlarm"]:
        if word in call:
            call[word] = int(call[word])
    for each in call.get("Metrics", []):
        for inner in [each, each.get("MetricStat", {})]:
            if "Period" in inner:
                inner["Period"] = int(inner["Period"])
    aws("cloudwatch").put_metric_alarm(**call)
    return wanted["AlarmName"], {}


@kind("AWS::Budgets::Budget")
def budget(aws, wanted):
    call = dict(wanted["Budget"])
    call["BudgetLimit"] = {name: str(value) for name, value in call["BudgetLimit"].items()}
    aws("budgets").create_budget(AccountId=ACCOUNT, Budget=call)
    for each in wanted["NotificationsWithSubscribers"]:
        each["Notification"]["Threshold"] = float(each["Notification"]["Threshold"])
        aws("budgets").create_notification(
            AccountId=ACCOUNT, BudgetName=call["BudgetName"], **each
        )
    return call["BudgetName"], {}


def remove_workspace(aws, arn, _):
    aws("amp").delete_workspace(workspaceId=arn.rpartition("/")[2])


@kind("AWS::APS::Workspace", remove_workspace)
def workspace(aws, wanted):
    made = aws("amp").create_workspace(alias=wanted["Alias"])
    name = made["workspaceId"]
    address = f"https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/{name}/"
    facts = {"WorkspaceId": name, "Arn": made["arn"], "PrometheusEndpoint": address}
    return made["arn"], facts


@kind("AWS::APS::Scraper")
def scraper(_, wanted):
    return f"arn:aws:aps:eu-central-1:{ACCOUNT}:scraper/{wanted['Alias']}", {}


@kind("AWS::ServiceDiscovery::PrivateDnsNamespace")
def dns_namespace(aws, wanted):
    client = aws("servicediscovery")
    client.create_private_dns_namespace(Name=wanted["Name"], Vpc=wanted["Vpc"])
    found = client.list_namespaces()["Namespaces"]
    name = next(each["Id"] for each in found if each["Name"] == wanted["Name"])
    return name, {"Id": name}


@kind("AWS::ServiceDiscovery::Service")
def dns_service(aws, wanted):
    records = [{**each, "TTL": int(each["TTL"])} for each in wanted["DnsConfig"]["DnsRecords"]]
    made = aws("servicediscovery").create_service(
        Name=wanted["Name"],
        NamespaceId=wanted["NamespaceId"],
        DnsConfig={**wanted["DnsConfig"], "DnsRecords": records},
    )["Service"]
    return made["Id"], {"Arn": made["Arn"], "Id": made["Id"]}


@kind("AWS::Scheduler::Schedule")
def schedule(aws, wanted):
    target = dict(wanted["Target"])
    ecs = dict(target["EcsParameters"])
    # Only the outermost of these names begins in lower case in this service.
    place = ecs["NetworkConfiguration"]["AwsvpcConfiguration"]
    ecs["NetworkConfiguration"] = {"awsvpcConfiguration": place}
    target["EcsParameters"] = ecs
    target["RetryPolicy"] = {name: int(each) for name, each in target["RetryPolicy"].items()}
    aws("scheduler").create_schedule(**{**wanted, "Target": target})
    return wanted["Name"], {}


@kind("AWS::SNS::Subscription")
def subscription(aws, wanted):
    made = aws("sns").subscribe(
        TopicArn=wanted["TopicArn"],
        Protocol=wanted["Protocol"],
        Endpoint=wanted["Endpoint"],
        ReturnSubscriptionArn=True,
    )
    return made["SubscriptionArn"], {}


@kind("AWS::SNS::TopicPolicy")
def topic_policy(aws, wanted):
    for topic in wanted["Topics"]:
        aws("sns").set_topic_attributes(
            TopicArn=topic,
            AttributeName="Policy",
            AttributeValue=json.dumps(wanted["PolicyDocument"]),
        )
    return "|".join(wanted["Topics"]), {}


def remove_cluster(aws, name, _):
    aws("eks").delete_cluster(name=name)


@kind("AWS::EKS::Cluster", remove_cluster)
def eks_cluster(aws, wanted):
    made = aws("eks").create_cluster(
        name=wanted["Name"],
        version=wanted["Version"],
        roleArn=wanted["RoleArn"],
        resourcesVpcConfig={"subnetIds": wanted["ResourcesVpcConfig"]["SubnetIds"]},
        encryptionConfig=lower_first(wanted["EncryptionConfig"]),
    )["cluster"]
    group = aws("ec2").create_security_group(
        GroupName=f"eks-{wanted['Name']}", Description="made by EKS", VpcId=first_vpc(aws, wanted)
    )
    facts = {
        "Arn": made["arn"],
        "OpenIdConnectIssuerUrl": made["identity"]["oidc"]["issuer"],
        "ClusterSecurityGroupId": group["GroupId"],
    }
    return wanted["Name"], facts


def first_vpc(aws, wanted):
    subnet = wanted["ResourcesVpcConfig"]["SubnetIds"][0]
    return aws("ec2").describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]


def remove_nodes(aws, name, _):
    cluster, nodes = name.split("/")
    aws("eks").delete_nodegroup(clusterName=cluster, nodegroupName=nodes)


@kind("AWS::EKS::Nodegroup", remove_nodes)
def eks_nodes(aws, wanted):
    aws("eks").create_nodegroup(
        clusterName=wanted["ClusterName"],
        nodegroupName=wanted["NodegroupName"],
        nodeRole=wanted["NodeRole"],
        subnets=wanted["Subnets"],
        instanceTypes=wanted["InstanceTypes"],
        scalingConfig={k: int(v) for k, v in lower_first(wanted["ScalingConfig"]).items()},
    )
    return f"{wanted['ClusterName']}/{wanted['NodegroupName']}", {}


@kind("AWS::EKS::Addon")
def addon(_, wanted):
    return f"{wanted['ClusterName']}|{wanted['AddonName']}", {}


@kind("AWS::EKS::PodIdentityAssociation")
def pod_identity(_, wanted):
    return f"{wanted['ClusterName']}|a-{uuid.uuid4().hex[:8]}", {}


@kind("AWS::EKS::AccessEntry")
def access_entry(_, wanted):
    return f"{wanted['PrincipalArn']}|{wanted['ClusterName']}", {}


@kind("AWS::IAM::OIDCProvider")
def issuer(aws, wanted):
    made = aws("iam").create_open_id_connect_provider(
        Url=wanted["Url"], ClientIDList=wanted["ClientIdList"], ThumbprintList=["0" * 40]
    )
    return made["OpenIDConnectProviderArn"], {"Arn": made["OpenIDConnectProviderArn"]}


def model(name, how, endpoint):
    """A class of moto for a kind, which it finds among the subclasses of its model."""

    def aws_in(region):
        return lambda service: boto3.client(service, region_name=region, endpoint_url=endpoint)

    class Made(CloudFormationModel):
        # moto files its classes by the second part of their module.
        __module__ = "moto.standins.models"

        def __init__(self, physical_id, facts, properties):
            self.physical_id = physical_id
            self.facts = facts
            self.properties = properties

        @property
        def physical_resource_id(self):
            return self.physical_id

        @staticmethod
        def cloudformation_name_type():
            return ""

        @staticmethod
        def cloudformation_type():
            return name

        @classmethod
        def has_cfn_attr(cls, attribute):
            return True

        def get_cfn_attribute(self, attribute):
            return self.facts[attribute]

        @classmethod
        def create_from_cloudformation_json(
            cls, resource_name, cloudformation_json, account_id, region_name, **_
        ):
            properties = cloudformation_json["Properties"]
            return cls(*how.make(aws_in(region_name), properties), properties)

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
        ):
            original_resource.properties = cloudformation_json["Properties"]
            return original_resource

        @classmethod
        def delete_from_cloudformation_json(
            cls, resource_name, cloudformation_json, account_id, region_name
        ):
            if how.remove:
                how.remove(aws_in(region_name), resource_name, cloudformation_json)

        def is_created(self):
            return True

    Made.__name__ = name.replace("::", "")
    return Made


def install(endpoint):
    """Gives moto the kinds that it passes over. To be called before its first template."""
    KEPT.extend(model(name, how, endpoint) for name, how in KINDS.items())
