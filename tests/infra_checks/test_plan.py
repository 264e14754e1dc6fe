"""What the module would make, read from the plan of the run with everything on."""

import json
import re
import unittest

import yaml

from infra_checks import rendered, sources

# Keys below `providers.ec2.NAME`.
EC2_KEYS = {
    "region", "installation", "subnets", "security_groups", "profile", "role", "endpoint_url", "address",
    "jump_host", "instance_profile", "interruption_queue",
}
# Settings that the EC2 deployment brings along.
NEW_KEYS = {"logs.store"}


def leaves(value, path=""):
    """The dotted keys of a settings document."""
    if not isinstance(value, dict):
        return [path]
    return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}".lstrip("."))]


class Plan(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made = sources.resources("terraform", "everything")
        cls.plan = sources.plan("terraform", "everything")

    def of_type(self, kind):
        found = {address: values for address, values in self.made.items() if address.startswith(f"{kind}.")}
        self.assertTrue(found, f"no {kind}")
        return found

    def test_nothing_of_it_looks_like_a_build_machine(self):
        for address, values in self.made.items():
            for key in ("tags", "tags_all"):
                self.assertNotIn("dormouse:installation", values.get(key) or {}, address)
        for tag in self.made["aws_autoscaling_group.orchestrator"]["tag"]:
            self.assertNotEqual(tag["key"], "dormouse:installation")

    def test_nobody_gets_in_from_everywhere(self):
        for address, rule in self.of_type("aws_vpc_security_group_ingress_rule").items():
            self.assertNotEqual(rule["cidr_ipv4"], "0.0.0.0/0", address)
            self.assertIsNone(rule["cidr_ipv6"], address)
            self.assertEqual(rule["from_port"], rule["to_port"], address)

    def test_build_machines_accept_ssh_from_the_orchestrator_and_nothing_else(self):
        text = sources.text_of(sources.TERRAFORM)
        rules = re.findall(r'resource "aws_vpc_security_group_ingress_rule" "(\w+)" \{(.*?)\n\}', text, re.S)
        into = [(name, body) for name, body in rules
                if re.search(r"\n  security_group_id\s*= aws_security_group\.builders\.id", body)]
        self.assertEqual([name for name, _ in into], ["builders"])
        self.assertRegex(into[0][1], r"referenced_security_group_id\s*= aws_security_group\.orchestrator\.id")
        rule = self.made["aws_vpc_security_group_ingress_rule.builders"]
        self.assertEqual((rule["ip_protocol"], rule["from_port"], rule["cidr_ipv4"]), ("tcp", 22, None))

    def test_disks_are_encrypted_and_the_books_outlive_the_host(self):
        volume = self.made["aws_ebs_volume.data"]
        self.assertTrue(volume["encrypted"] and volume["final_snapshot"])
        self.assertEqual(volume["type"], "gp3")
        root = self.made["aws_launch_template.orchestrator"]["block_device_mappings"][0]["ebs"][0]
        self.assertEqual((root["encrypted"], root["volume_type"]), ("true", "gp3"))
        block = re.search(r'resource "aws_ebs_volume" "data" \{.*?\n\}', sources.text_of(sources.TERRAFORM), re.S)
        self.assertIn("prevent_destroy = true", block[0])

    def test_the_bucket_is_closed(self):
        block = self.made["aws_s3_bucket_public_access_block.logs[0]"]
        for key in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"):
            self.assertTrue(block[key], key)
        self.assertFalse(self.made["aws_s3_bucket.logs[0]"]["force_destroy"])
        rule = self.made["aws_s3_bucket_lifecycle_configuration.logs[0]"]["rule"][0]
        self.assertEqual((rule["status"], rule["expiration"][0]["days"]), ("Enabled", 365))

    def test_bucket_and_queue_speak_tls_only(self):
        for address in ("data.aws_iam_policy_document.logs[0]", "data.aws_iam_policy_document.queue[0]"):
            change = next(c for c in self.plan["resource_changes"] if c["address"] == address)
            denials = [s for s in change["change"]["after"]["statement"] if s["effect"] == "Deny"]
            self.assertEqual(len(denials), 1, address)
            self.assertEqual(denials[0]["condition"][0],
                             {"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]})

    def test_the_queue_hears_of_interruptions(self):
        patterns = [json.loads(rule["event_pattern"]) for rule in self.of_type("aws_cloudwatch_event_rule").values()]
        self.assertEqual({pattern["detail-type"][0] for pattern in patterns}, {
            "EC2 Spot Instance Interruption Warning",
            "EC2 Instance Rebalance Recommendation",
            "EC2 Instance State-change Notification",
        })
        self.assertEqual(len(self.of_type("aws_cloudwatch_event_target")), 3)

    def test_the_bootstrap_reaches_one_volume_one_object_and_one_token(self):
        statements = json.loads(self.made["aws_iam_role_policy.bootstrap"]["policy"])["Statement"]
        self.assertEqual([(s["Sid"], s["Action"]) for s in statements], [
            ("BootstrapVolume", ["ec2:AttachVolume"]),
            ("BootstrapProgram", ["s3:GetObject"]),
            ("BootstrapToken", ["ssm:GetParameter"]),
        ])
        self.assertEqual(statements[1]["Resource"], ["arn:aws:s3:::example-artifacts/dormouse/arm64/dormouse"])
        self.assertEqual(statements[2]["Resource"], ["arn:aws:ssm:us-east-1:*:parameter/dormouse/admin-token"])

    def test_the_user_data_fits_and_carries_settings_and_unit(self):
        script = rendered.user_data()
        self.assertLess(len(script.encode()), 16_384, "EC2's limit of user data")
        settings = re.search(r"<<'DORMOUSE_SETTINGS'\n(.*?)\nDORMOUSE_SETTINGS\n", script, re.S)
        self.assertEqual(yaml.safe_load(settings[1]), yaml.safe_load(sources.output("terraform", "everything", "settings")))
        unit = re.search(r"<<'DORMOUSE_UNIT'\n(.*?\n)DORMOUSE_UNIT\n", script, re.S)
        self.assertEqual(unit[1], (sources.TERRAFORM / "templates" / "dormouse.service").read_text(encoding="utf-8"))

    def test_the_settings_are_such_as_dormouse_knows(self):
        source = (sources.TOP / "src" / "config" / "settings.rs").read_text(encoding="utf-8")
        known = set(re.findall(r'(?m)^    key: "([^"]+)"', source)) | NEW_KEYS
        self.assertIn("data_dir", known)
        for leaf in leaves(yaml.safe_load(sources.output("terraform", "everything", "settings"))):
            if leaf.startswith("providers.ec2."):
                self.assertIn(leaf.split(".")[-1], EC2_KEYS)
                self.assertEqual(leaf.count("."), 3, leaf)
            else:
                self.assertIn(leaf, known)
