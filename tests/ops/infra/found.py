"""How a resource of each kind is asked for through boto3, by its physical id: what comes back is
true if it is there."""

# Kinds that are only remembered (`standins.REMEMBERED`) are in none of these.
FIND = {
    "AWS::ApplicationAutoScaling::ScalableTarget": lambda aws, name: (
        aws("application-autoscaling").describe_scalable_targets(
            ServiceNamespace=name.split("|")[2], ResourceIds=[name.split("|")[0]]
        )["ScalableTargets"]
    ),
    # Moto passes the names over that are asked for.
    "AWS::ApplicationAutoScaling::ScalingPolicy": lambda aws, name: any(
        each["PolicyName"] == name.split("|")[2]
        for each in aws("application-autoscaling").describe_scaling_policies(
            ServiceNamespace=name.split("|")[0], ResourceId=name.split("|")[1]
        )["ScalingPolicies"]
    ),
    "AWS::APS::Workspace": lambda aws, arn: (
        aws("amp").describe_workspace(workspaceId=arn.rpartition("/")[2])["workspace"]
    ),
    "AWS::Budgets::Budget": lambda aws, name: (
        aws("budgets").describe_budget(AccountId="123456789012", BudgetName=name)["Budget"]
    ),
    "AWS::CloudWatch::Alarm": lambda aws, name: (
        aws("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    ),
    "AWS::CloudWatch::Dashboard": lambda aws, name: (
        aws("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    ),
    "AWS::EC2::EIP": lambda aws, address: (
        aws("ec2").describe_addresses(PublicIps=[address])["Addresses"]
    ),
    "AWS::EC2::FlowLog": lambda aws, name: (
        aws("ec2").describe_flow_logs(FlowLogIds=[name])["FlowLogs"]
    ),
    "AWS::EC2::InternetGateway": lambda aws, name: (
        aws("ec2").describe_internet_gateways(InternetGatewayIds=[name])["InternetGateways"]
    ),
    "AWS::EC2::LaunchTemplate": lambda aws, name: (
        aws("ec2").describe_launch_templates(LaunchTemplateIds=[name])["LaunchTemplates"]
    ),
    "AWS::EC2::NatGateway": lambda aws, name: (
        aws("ec2").describe_nat_gateways(NatGatewayIds=[name])["NatGateways"]
    ),
    "AWS::EC2::Route": lambda aws, name: any(
        route["DestinationCidrBlock"] == name.split("~")[1]
        and (route.get("GatewayId", "").startswith("igw") or route.get("NatGatewayId"))
        for table in aws("ec2").describe_route_tables(RouteTableIds=[name.split("~")[0]])[
            "RouteTables"
        ]
        for route in table["Routes"]
    ),
    "AWS::EC2::RouteTable": lambda aws, name: (
        aws("ec2").describe_route_tables(RouteTableIds=[name])["RouteTables"]
    ),
    "AWS::EC2::SecurityGroup": lambda aws, name: (
        aws("ec2").describe_security_groups(GroupIds=[name])["SecurityGroups"]
    ),
    "AWS::EC2::SecurityGroupIngress": lambda aws, name: (
        aws("ec2").describe_security_group_rules(SecurityGroupRuleIds=[name])["SecurityGroupRules"]
    ),
    "AWS::EC2::Subnet": lambda aws, name: (
        aws("ec2").describe_subnets(SubnetIds=[name])["Subnets"]
    ),
    # Moto names it by its table.
    "AWS::EC2::SubnetRouteTableAssociation": lambda aws, name: any(
        each["RouteTableAssociationId"] == name and each.get("SubnetId")
        for table in aws("ec2").describe_route_tables()["RouteTables"]
        for each in table["Associations"]
    ),
    "AWS::EC2::VPC": lambda aws, name: aws("ec2").describe_vpcs(VpcIds=[name])["Vpcs"],
    "AWS::EC2::VPCEndpoint": lambda aws, name: (
        aws("ec2").describe_vpc_endpoints(VpcEndpointIds=[name])["VpcEndpoints"]
    ),
    "AWS::EC2::VPCGatewayAttachment": lambda aws, name: any(
        attached["VpcId"] == name
        for each in aws("ec2").describe_internet_gateways()["InternetGateways"]
        for attached in each["Attachments"]
    ),
    "AWS::ECR::Repository": lambda aws, name: (
        aws("ecr").describe_repositories(repositoryNames=[name])["repositories"]
    ),
    "AWS::ECS::Cluster": lambda aws, name: (
        aws("ecs").describe_clusters(clusters=[name])["clusters"]
    ),
    "AWS::ECS::Service": lambda aws, arn: (
        aws("ecs").describe_services(cluster=arn.split("/")[-2], services=[arn])["services"]
    ),
    "AWS::ECS::TaskDefinition": lambda aws, arn: (
        aws("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
    ),
    "AWS::EKS::Cluster": lambda aws, name: aws("eks").describe_cluster(name=name)["cluster"],
    "AWS::EKS::Nodegroup": lambda aws, name: (
        aws("eks").describe_nodegroup(
            clusterName=name.split("/")[0], nodegroupName=name.split("/")[1]
        )["nodegroup"]
    ),
    "AWS::ElasticLoadBalancingV2::Listener": lambda aws, arn: (
        aws("elbv2").describe_listeners(ListenerArns=[arn])["Listeners"]
    ),
    "AWS::ElasticLoadBalancingV2::ListenerRule": lambda aws, arn: (
        aws("elbv2").describe_rules(RuleArns=[arn])["Rules"]
    ),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": lambda aws, arn: (
        aws("elbv2").describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
    ),
    "AWS::ElasticLoadBalancingV2::TargetGroup": lambda aws, arn: (
        aws("elbv2").describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
    ),
    "AWS::Events::Rule": lambda aws, name: (
        aws("events").list_targets_by_rule(Rule=name.rpartition("/")[2])["Targets"]
    ),
    "AWS::Glue::Registry": lambda aws, arn: (
        aws("glue").get_registry(RegistryId={"RegistryArn": arn})["RegistryName"]
    ),
    "AWS::IAM::ManagedPolicy": lambda aws, arn: (
        aws("iam").get_policy(PolicyArn=arn)["Policy"]
    ),
    "AWS::IAM::OIDCProvider": lambda aws, arn: (
        aws("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["Url"]
    ),
    "AWS::IAM::Role": lambda aws, name: aws("iam").get_role(RoleName=name)["Role"],
    "AWS::KMS::Alias": lambda aws, name: any(
        each["AliasName"] == name for each in aws("kms").list_aliases()["Aliases"]
    ),
    "AWS::KMS::Key": lambda aws, name: (
        aws("kms").get_key_rotation_status(KeyId=name)["KeyRotationEnabled"]
    ),
    "AWS::Logs::LogGroup": lambda aws, name: any(
        each["logGroupName"] == name and each.get("retentionInDays")
        for each in aws("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    ),
    "AWS::Logs::MetricFilter": lambda aws, name: (
        aws("logs").describe_metric_filters(filterNamePrefix=name)["metricFilters"]
    ),
    "AWS::MSK::Cluster": lambda aws, arn: any(
        each["ClusterArn"] == arn for each in aws("kafka").list_clusters_v2()["ClusterInfoList"]
    ),
    "AWS::MSK::ServerlessCluster": lambda aws, arn: any(
        each["ClusterArn"] == arn for each in aws("kafka").list_clusters_v2()["ClusterInfoList"]
    ),
    "AWS::RDS::DBInstance": lambda aws, name: (
        aws("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    ),
    "AWS::RDS::DBParameterGroup": lambda aws, name: (
        aws("rds").describe_db_parameter_groups(DBParameterGroupName=name)["DBParameterGroups"]
    ),
    "AWS::RDS::DBSubnetGroup": lambda aws, name: (
        aws("rds").describe_db_subnet_groups(DBSubnetGroupName=name)["DBSubnetGroups"]
    ),
    "AWS::Redshift::Cluster": lambda aws, name: (
        aws("redshift").describe_clusters(ClusterIdentifier=name)["Clusters"]
    ),
    "AWS::Redshift::ClusterParameterGroup": lambda aws, name: (
        aws("redshift").describe_cluster_parameter_groups(ParameterGroupName=name)[
            "ParameterGroups"
        ]
    ),
    "AWS::Redshift::ClusterSubnetGroup": lambda aws, name: (
        aws("redshift").describe_cluster_subnet_groups(ClusterSubnetGroupName=name)[
            "ClusterSubnetGroups"
        ]
    ),
    "AWS::S3::Bucket": lambda aws, name: (
        aws("s3").get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]
    ),
    "AWS::S3::BucketPolicy": lambda aws, name: aws("s3").get_bucket_policy(Bucket=name)["Policy"],
    "AWS::Scheduler::Schedule": lambda aws, name: aws("scheduler").get_schedule(Name=name)["Arn"],
    "AWS::SecretsManager::Secret": lambda aws, arn: (
        aws("secretsmanager").describe_secret(SecretId=arn)["Name"]
    ),
    "AWS::ServiceDiscovery::PrivateDnsNamespace": lambda aws, name: (
        aws("servicediscovery").get_namespace(Id=name)["Namespace"]
    ),
    "AWS::ServiceDiscovery::Service": lambda aws, name: (
        aws("servicediscovery").get_service(Id=name)["Service"]
    ),
    "AWS::SNS::Subscription": lambda aws, arn: (
        aws("sns").get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    ),
    "AWS::SNS::Topic": lambda aws, arn: (
        aws("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    ),
    # Every topic has a policy from the beginning.
    "AWS::SNS::TopicPolicy": lambda aws, name: all(
        "__default" not in aws("sns").get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]
        for arn in name.split("|")
    ),
    "AWS::SSM::Parameter": lambda aws, name: (
        aws("ssm").get_parameter(Name=name)["Parameter"]
    ),
}
