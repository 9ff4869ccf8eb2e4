"""The rules of `services.py`, each tried on the templates and on ones with a fault in them."""

import alone
import hands
import services
from harness import must
from rules import changed


def service_rules(group, rule, every):
    """What services refuse, or take and never do: `rule` tries a rule with and without a fault."""
    rule(
        "capacity_comes_from_what_the_cluster_is_associated_with",
        services.capacity_that_is_associated,
        changed(every, "jobs", "Resources", "Cluster", "Properties", "CapacityProviders", to=None),
    )
    patterns = ["api", "Resources", "ApiRule", "Properties", "Conditions", 0, "PathPatternConfig"]
    rule(
        "the_load_balancer_forwards_every_route_and_no_probe",
        services.paths_that_are_served,
        changed(every, *patterns, "Values", to=["/api/*"]),
    )
    with group.test("a_pattern_that_lets_probes_in_is_found"):
        found = services.paths_that_are_served(changed(every, *patterns, "Values", to=["/*"]))
        must(any("/readyz" in each for each in found), f"{found}")
    policy = ["observability", "Resources", "TicketsPolicy", "Properties", "PolicyDocument"]
    account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    rule(
        "topics_and_their_key_let_in_who_notifies_them",
        services.senders_that_are_let_in,
        changed(every, *policy, "Statement", 1, "Condition", to=account),
    )
    with group.test("a_sender_that_is_not_let_in_by_the_key_is_found"):
        policy = ["keys", "Resources", "SecretsKey", "Properties", "KeyPolicy", "Statement"]
        found = services.senders_that_are_let_in(changed(every, *policy, 2, to=None))
        must(found == ["SecretsKey: events.amazonaws.com is not let in"], f"{found}")
    properties = ["ecs", "Resources", "PipelineService", "Properties", "DesiredCount"]
    rule(
        "services_that_are_scaled_give_no_number_of_tasks",
        services.counts_that_are_left_to_scaling,
        changed(every, *properties, to={"Ref": "MinTasks"}),
    )
    missing = ["reconcile", "Resources", "ReconcileMissing", "Properties"]
    rule(
        "alarms_come_when_they_should_and_not_before",
        services.alarms_that_can_come,
        changed(every, *missing, "EvaluationPeriods", to=2),
    )
    with group.test("a_threshold_that_no_one_reaches_is_found"):
        expression = ["alarms", "Resources", "WarehouseCapacity", "Properties", "Metrics", 1]
        found = services.alarms_that_can_come(
            changed(every, *expression, "Expression", to="100 * capacity / 32")
        )
        must(len(found) == 1 and "MaxCapacity" in found[0], f"{found}")
    properties = ["security", "Resources", "ApiFromLoadBalancer", "Properties"]
    rule(
        "security_groups_let_in_what_they_let_out_and_no_more_than_is_asked",
        services.ports_that_are_asked,
        changed(every, *properties, "ToPort", to=9464),
    )
    leave = ["security", "Resources", "ApiGroup", "Properties", "SecurityGroupEgress"]
    rule(
        "services_reach_the_servers_that_their_variables_name",
        services.servers_that_are_reached,
        changed(every, *leave, 1, to=None),
    )
    role = ["jobs", "Resources", "WarehouseUsersRole", "Properties", "RoleName"]
    rule(
        "who_deploys_may_hand_over_the_roles_of_tasks_and_no_others",
        services.roles_that_are_handed_over,
        changed(every, *role, to={"Fn::Sub": "${Deployment}-users"}),
    )
    rule(
        "every_hop_has_tls_or_a_written_reason",
        services.hops_without_tls,
        changed(every, "api", "Resources", "ApiTargets", "Properties", "Protocol", to="HTTP"),
    )
    statement = ["StacksRole", "Properties", "Policies", 0, "PolicyDocument", "Statement", 0]
    listing = every["deployment"]["Resources"]
    for step in [*statement, "Action"]:
        listing = listing[step]
    less = [each for each in listing if each != "iam:ListEntitiesForPolicy"]
    rule(
        "cloudformation_may_call_whatever_the_handlers_of_its_resources_call",
        hands.hands_that_may,
        changed(every, "deployment", "Resources", *statement, "Action", to=less),
    )
    stacks = [*statement[:-1]]
    rule(
        "cloudformation_gives_no_role_more_than_the_boundary_has",
        hands.rights_that_are_bounded,
        changed(every, "deployment", "Resources", *stacks, 1, "Condition", to=None),
    )
    with group.test("a_role_without_the_boundary_is_found_and_one_that_can_change_it"):
        role = ["access", "Resources", "ApiRole", "Properties", "PermissionsBoundary"]
        found = hands.rights_that_are_bounded(changed(every, *role, to=None))
        must(found == ["access: ApiRole has no boundary"], f"{found}")
        found = hands.rights_that_are_bounded(
            changed(every, "deployment", "Resources", *stacks, 2, to=None)
        )
        must(any(each.endswith("-stacks") for each in found), f"{found}")
    with group.test("a_role_that_cannot_be_handed_over_is_found"):
        target = ["ecs", "Resources", "PipelineTarget", "Properties", "RoleARN"]
        linked = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/one/Two"
        found = hands.hands_that_may(changed(every, *target, to={"Fn::Sub": linked}))
        must(len(found) == 1 and "aws-service-role" in found[0], f"{found}")
    policy = every["deployment"]["Resources"]["DeployRole"]["Properties"]["Policies"][0]
    sids = [each["Sid"] for each in policy["PolicyDocument"]["Statement"]]
    deploys = ["deployment", "Resources", "DeployRole", "Properties"]
    session = [*deploys, "Policies", 0, "PolicyDocument", "Statement", sids.index("Session")]
    rule(
        "sessions_open_and_last",
        services.sessions_that_open,
        changed(every, *session, to=None),
    )
    with group.test("a_session_that_is_too_short_is_found"):
        short = changed(every, *deploys, "MaxSessionDuration", to=None)
        must(len(services.sessions_that_open(short)) == 1, "the fault was not found")
    rule(
        "what_stacks_keep_is_removed_where_data_is_to_go_and_leaves_a_snapshot",
        services.kept_and_never_removed,
        changed(every, "access", "Resources", "LogAccess", "DeletionPolicy", to="Retain"),
    )
    container = ["jobs", "Resources", "DatabaseUser", "Properties", "ContainerDefinitions", 0]
    rule(
        "infra_job_shows_what_each_task_that_it_runs_has_printed",
        alone.shows_logs,
        changed(
            every,
            *container,
            *("LogConfiguration", "Options", "awslogs-stream-prefix"),
            to="database-user",
        ),
    )
