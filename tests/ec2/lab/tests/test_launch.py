"""Launches through the API: idempotency, capacity, fleets, refusals, life cycle, what is left."""

import base64
import re

from .support import LabTest, wait_for


class LaunchTest(LabTest):
    def setUp(self):
        super().setUp()
        self.zones = {each["zone"]: each["id"] for each in self.ready["subnets"]}

    # --- RunInstances ---

    def test_token_makes_one_instance_and_binds_the_parameters(self):
        first = self.run_one(ClientToken="t-1")
        self.assertEqual(self.run_one(ClientToken="t-1"), first)
        self.assertEqual(len(self.control("GET", "/instances")), 1)
        with self.subTest("changed"):
            with self.assertRaises(Exception) as caught:
                self.run_one(ClientToken="t-1", InstanceType="m7i.xlarge")
            self.assertIn("IdempotentParameterMismatch", str(caught.exception))
        other_zone = self.run_one(ClientToken="t-1", SubnetId=self.zones["us-east-1b"])
        self.assertNotEqual(other_zone, first)
        [found] = self.ec2.describe_instances(
            Filters=[{"Name": "client-token", "Values": ["t-1"]}, {"Name": "availability-zone", "Values": ["us-east-1a"]}]
        )["Reservations"]
        self.assertEqual(found["Instances"][0]["InstanceId"], first)

    def test_failed_launch_leaves_the_token_free(self):
        self.control("PUT", "/capacity", [{"slots": 0}])
        call = {"ClientToken": "t-2"}
        with self.assertRaises(Exception):
            self.run_one(**call)
        self.control("PUT", "/capacity", [])
        self.assertTrue(self.run_one(**call).startswith("i-"))

    def test_capacity_is_per_pool_and_status_500(self):
        self.control("PUT", "/capacity", [{"type": "m7i.large", "zone": "us-east-1a", "market": "on-demand", "slots": 2}])
        made = self.run_many(2)
        call = {"ImageId": self.image(), "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1}
        refused = self.assert_code(
            "InsufficientInstanceCapacity", self.ec2.run_instances, SubnetId=self.zones["us-east-1a"], **call
        )
        self.assertEqual(refused["ResponseMetadata"]["HTTPStatusCode"], 500)
        self.run_one(SubnetId=self.zones["us-east-1b"])
        self.run_one(InstanceMarketOptions={"MarketType": "spot"})
        self.ec2.terminate_instances(InstanceIds=made[:1])
        self.wait_state(made[0], "terminated")
        self.assertEqual(len(self.run_many(1)), 1)

    def test_quota(self):
        self.control("PUT", "/quotas", {"on-demand": 3, "spot": 1})
        self.run_one()
        call = {"ImageId": self.image(), "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1}
        call["SubnetId"] = self.zones["us-east-1a"]
        self.assert_code("VcpuLimitExceeded", self.ec2.run_instances, **call)
        spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
        self.assert_code("MaxSpotInstanceCountExceeded", self.ec2.run_instances, **call, **spot)

    def test_refusals(self):
        good = {"ImageId": self.image(), "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1}
        good["SubnetId"] = self.zones["us-east-1a"]
        cases = [
            ("InvalidParameterValue", {"InstanceType": "m99.large"}),
            ("InvalidAMIID.NotFound", {"ImageId": "ami-00000000000000000"}),
            ("InvalidAMIID.Malformed", {"ImageId": "debian"}),
            ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000000"}),
            ("InvalidGroup.NotFound", {"SecurityGroupIds": ["sg-00000000"]}),
            ("InvalidKeyPair.NotFound", {"KeyName": "none"}),
            ("InvalidParameterValue", {"UserData": b"#" * (16 * 1024 + 1)}),
            ("InvalidParameterValue", {"ImageId": self.image(arch="arm64")}),
            ("Unsupported", {"InstanceType": "c1.medium", "SubnetId": self.small_zone_subnet("c1.medium")}),
            ("InvalidParameterValue", {"TagSpecifications": [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "a", "Value": "b"}]}]}),
            ("InvalidLaunchTemplateName.NotFoundException", {"LaunchTemplate": {"LaunchTemplateName": "none"}}),
            ("UnsupportedHibernationConfiguration", {"HibernationOptions": {"Configured": True}}),
            ("DryRunOperation", {"DryRun": True}),
        ]
        for code, change in cases:
            with self.subTest(code, **change):
                self.assert_code(code, self.ec2.run_instances, **{**good, **change})
        del good["SubnetId"]
        self.assert_code("MissingInput", self.ec2.run_instances, **good)
        self.assertEqual(self.control("GET", "/instances"), [])
        self.assert_code("InvalidParameterValue", self.ec2.describe_instances, Filters=[{"Name": "colour", "Values": ["x"]}])

    def small_zone_subnet(self, instance_type):
        """A subnet in a zone that lacks the type, made for it if need be."""
        rows = self.ec2.describe_instance_type_offerings(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [instance_type]}]
        )["InstanceTypeOfferings"]
        lacking = sorted({f"us-east-1{letter}" for letter in "abcdef"} - {row["Location"] for row in rows})[-1]
        cidr = self.ready["network"].replace(".0.0/16", ".200.0/28")
        subnet = self.ec2.create_subnet(VpcId=self.ready["vpc"], CidrBlock=cidr, AvailabilityZone=lacking)["Subnet"]
        self.addCleanup(self.ec2.delete_subnet, SubnetId=subnet["SubnetId"])
        return subnet["SubnetId"]

    def test_small_subnet_fills_and_addresses_come_back(self):
        cidr = self.ready["network"].replace(".0.0/16", ".210.0/28")
        subnet = self.ec2.create_subnet(VpcId=self.ready["vpc"], CidrBlock=cidr, AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        self.addCleanup(self.ec2.delete_subnet, SubnetId=subnet)
        made = self.run_many(11, SubnetId=subnet)
        with self.assertRaises(Exception) as caught:
            self.run_one(SubnetId=subnet)
        self.assertIn("InsufficientFreeAddressesInSubnet", str(caught.exception))
        address = self.control("GET", f"/instances/{made[3]}")["address"]
        self.ec2.terminate_instances(InstanceIds=[made[3]])
        self.wait_state(made[3], "terminated")
        again = self.run_one(SubnetId=subnet)
        self.assertEqual(self.control("GET", f"/instances/{again}")["address"], address)

    # --- describes ---

    def test_pages_of_instances_lose_none(self):
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "lot", "Value": "a"}]}]
        made = self.run_many(7, TagSpecifications=tags) + self.run_many(4, TagSpecifications=tags)
        self.run_one()
        pages = self.ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "tag:lot", "Values": ["a"]}], PaginationConfig={"PageSize": 5}
        )
        sizes, found = [], []
        for page in pages:
            ids = [each["InstanceId"] for row in page["Reservations"] for each in row["Instances"]]
            sizes.append(len(ids))
            found += ids
        self.assertEqual((sizes, found), ([5, 5, 1], made))
        self.assert_code("InvalidParameterValue", self.ec2.describe_instances, MaxResults=4)

    def test_eventual_consistency(self):
        self.control("PATCH", "/settings", {"not_found_ms": 700})
        made = self.run_one()
        self.assert_code("InvalidInstanceID.NotFound", self.ec2.terminate_instances, InstanceIds=[made])
        self.assertEqual(self.ec2.describe_instances()["Reservations"], [])
        wait_for(lambda: self.ec2.describe_instances()["Reservations"])
        self.control("PATCH", "/settings", {"not_found_ms": 0, "describe_lag_ms": 60_000})
        self.assertEqual(self.ec2.describe_instances()["Reservations"], [])
        self.control("PATCH", "/settings", {"describe_lag_ms": 700})
        wait_for(lambda: self.described(made) == "running")
        self.ec2.terminate_instances(InstanceIds=[made])
        self.wait_state(made, "terminated")
        self.assertEqual(self.described(made), "running")
        wait_for(lambda: self.described(made) == "terminated")

    def described(self, instance):
        [row] = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
        return row["Instances"][0]["State"]["Name"]

    def test_types_prices_images_parameters(self):
        [info] = self.ec2.describe_instance_types(InstanceTypes=["m7g.large"])["InstanceTypes"]
        self.assertEqual((info["VCpuInfo"]["DefaultVCpus"], info["ProcessorInfo"]["SupportedArchitectures"]), (2, ["arm64"]))
        pages = self.ec2.get_paginator("describe_instance_types").paginate(Filters=[{"Name": "vcpu-info.default-vcpus", "Values": ["2"]}])
        names = [each["InstanceType"] for page in pages for each in page["InstanceTypes"]]
        self.assertGreater(len(names), 100)
        self.assertEqual(len(names), len(set(names)))
        history = self.ec2.describe_spot_price_history(
            InstanceTypes=["m7i.large"], AvailabilityZone="us-east-1a", ProductDescriptions=["Linux/UNIX"]
        )["SpotPriceHistory"]
        [product] = self.client("pricing").get_products(
            ServiceCode="AmazonEC2", Filters=[{"Type": "TERM_MATCH", "Field": "instanceType", "Value": "m7i.large"}]
        )["PriceList"]
        on_demand = float(re.search(r'"USD": "([0-9.]+)"', product).group(1))
        self.assertEqual(on_demand, 0.1008)
        self.assertTrue(0.2 * on_demand < float(history[0]["SpotPrice"]) < 0.5 * on_demand)
        images = self.ec2.describe_images(Owners=["136693071363"], Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}])["Images"]
        newest = max(images, key=lambda image: image["CreationDate"])["ImageId"]
        self.assertEqual(len(images), 3)
        value = self.client("ssm").get_parameter(Name="/aws/service/debian/release/12/latest/amd64")["Parameter"]["Value"]
        self.assertEqual(value, newest)
        self.assertEqual(self.client("sts").get_caller_identity()["Account"], self.ready["account"])

    # --- fleets ---

    def template(self, **data):
        data = {"ImageId": self.image(), "UserData": base64.b64encode(b"#!/bin/sh\n").decode(), **data}
        made = self.ec2.create_launch_template(LaunchTemplateName="fleet", LaunchTemplateData=data)
        return made["LaunchTemplate"]["LaunchTemplateId"]

    def fleet(self, pools, count, template=None, market="spot", **more):
        overrides = [{"InstanceType": kind, "SubnetId": self.zones[zone]} for kind, zone in pools]
        specification = {"LaunchTemplateId": template or self.template(), "Version": "$Latest"}
        return self.ec2.create_fleet(
            Type="instant",
            LaunchTemplateConfigs=[{"LaunchTemplateSpecification": specification, "Overrides": overrides}],
            TargetCapacitySpecification={"TotalTargetCapacity": count, "DefaultTargetCapacityType": market},
            SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
            **more,
        )

    def test_fleet_takes_what_its_template_says(self):
        template = self.template(
            InstanceInitiatedShutdownBehavior="terminate",
            MetadataOptions={"HttpTokens": "required"},
            TagSpecifications=[
                {"ResourceType": kind, "Tags": [{"Key": "of", "Value": "template"}]}
                for kind in ("instance", "volume", "network-interface", "spot-instances-request")
            ],
        )
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "name", "Value": "x"}]}]
        made = self.fleet([("m7i.large", "us-east-1b")], 1, template, TagSpecifications=tags, ClientToken="f-1")
        [instance] = made["Instances"][0]["InstanceIds"]
        [row] = self.ec2.describe_instances(Filters=[{"Name": "instance-lifecycle", "Values": ["spot"]}])["Reservations"]
        [found] = row["Instances"]
        self.assertEqual(found["InstanceId"], instance)
        self.assertEqual(found["MetadataOptions"]["HttpTokens"], "required")
        self.assertEqual(found["Placement"]["AvailabilityZone"], "us-east-1b")
        shown = self.control("GET", f"/instances/{instance}")
        self.assertEqual((shown["shutdown_behavior"], shown["tags"]["of"], shown["tags"]["name"]), ("terminate", "template", "x"))
        summary = self.control("GET", "/summary")
        for kind in ("volumes", "interfaces", "spot_requests"):
            self.assertEqual([each["tags"] for each in summary[kind]], [{"of": "template"}], kind)
        again = self.fleet([("m7i.large", "us-east-1b")], 1, template, TagSpecifications=tags, ClientToken="f-1")
        self.assertEqual((again["FleetId"], len(self.control("GET", "/instances"))), (made["FleetId"], 1))
        self.assert_code("IdempotentParameterMismatch", self.fleet, [("m7i.large", "us-east-1a")], 1, template, ClientToken="f-1")

    def test_fleet_fills_partly_and_names_the_empty_pools(self):
        self.control(
            "PUT",
            "/capacity",
            [
                {"type": "m7i.large", "zone": "us-east-1a", "slots": 2},
                {"type": "c7i.large", "zone": "us-east-1a", "slots": 1},
                {"slots": 0},
            ],
        )
        made = self.fleet([("m7i.large", "us-east-1b"), ("c7i.large", "us-east-1a"), ("m7i.large", "us-east-1a")], 5)
        counts = {row["InstanceType"]: len(row["InstanceIds"]) for row in made["Instances"]}
        self.assertEqual(counts, {"m7i.large": 2, "c7i.large": 1})
        [error] = made["Errors"]
        self.assertEqual(error["ErrorCode"], "InsufficientInstanceCapacity")
        self.assertEqual(error["LaunchTemplateAndOverrides"]["Overrides"]["SubnetId"], self.zones["us-east-1b"])

    def test_fleet_prefers_depth_then_price(self):
        self.control("PUT", "/capacity", [{"type": "c7i.large", "slots": 3}, {"type": "m7i.*", "slots": 9}])
        made = self.fleet([("c7i.large", "us-east-1a"), ("m7i.xlarge", "us-east-1a"), ("m7i.large", "us-east-1a")], 2)
        self.assertEqual([row["InstanceType"] for row in made["Instances"]], ["m7i.large"])

    def test_fleet_faults_hit_pools_or_the_call(self):
        error = {"code": "RequestLimitExceeded", "status": 503}
        self.control("POST", "/faults", {"action": "CreateFleet", "type": "m7i.*", "error": error})
        template = self.template()
        made = self.fleet([("m7i.large", "us-east-1a"), ("c7i.large", "us-east-1a")], 1, template, market="on-demand")
        self.assertEqual([row["InstanceType"] for row in made["Instances"]], ["c7i.large"])
        self.assertEqual([each["ErrorCode"] for each in made["Errors"]], ["RequestLimitExceeded"])
        self.control("POST", "/faults", {"action": "CreateFleet", "error": {"code": "Unavailable", "status": 503}})
        self.assert_code("Unavailable", self.fleet, [("c7i.large", "us-east-1a")], 1, template)

    def test_instant_fleet_is_shown_to_those_who_name_it(self):
        made = self.fleet([("m7i.large", "us-east-1a")], 1)
        self.assertEqual(self.ec2.describe_fleets()["Fleets"], [])
        [fleet] = self.ec2.describe_fleets(FleetIds=[made["FleetId"]])["Fleets"]
        self.assertEqual((fleet["Type"], fleet["FulfilledCapacity"]), ("instant", 1.0))
        self.ec2.delete_fleets(FleetIds=[made["FleetId"]], TerminateInstances=True)
        self.wait_state(made["Instances"][0]["InstanceIds"][0], "terminated")
        self.assertEqual(self.control("GET", "/summary")["fleets"], [])

    # --- what is left ---

    def test_nothing_is_left_unless_asked(self):
        spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
        first, second = self.run_one(), self.run_one(**spot)
        self.assertEqual(len(self.control("GET", "/summary")["volumes"]), 2)
        self.ec2.terminate_instances(InstanceIds=[first, second])
        self.wait_state(second, "terminated")
        empty = self.control("GET", "/summary")
        self.assertEqual(
            {name: value for name, value in empty.items() if value}, {"instances": {"terminated": [first, second]}}
        )
        self.control("PATCH", "/settings", {"leave_volumes": True, "leave_interfaces": True})
        third = self.run_one()
        self.ec2.terminate_instances(InstanceIds=[third])
        self.wait_state(third, "terminated")
        stray = self.control("POST", "/volumes", {"zone": "us-east-1a", "tags": {"who": "us"}})["id"]
        left = self.control("GET", "/summary")
        self.assertEqual((len(left["volumes"]), len(left["interfaces"])), (2, 1))
        [found] = self.ec2.describe_volumes(Filters=[{"Name": "tag:who", "Values": ["us"]}])["Volumes"]
        self.assertEqual((found["VolumeId"], found["State"]), (stray, "available"))
        for volume in left["volumes"]:
            self.ec2.delete_volume(VolumeId=volume["id"])
        self.ec2.delete_network_interface(NetworkInterfaceId=left["interfaces"][0]["id"])
        left = self.control("GET", "/summary")
        self.assertEqual((left["volumes"], left["interfaces"]), ([], []))

    def test_protected_instance_is_not_terminated(self):
        made = self.run_one(DisableApiTermination=True)
        self.assert_code("OperationNotPermitted", self.ec2.terminate_instances, InstanceIds=[made])
        self.ec2.modify_instance_attribute(InstanceId=made, DisableApiTermination={"Value": False})
        self.ec2.terminate_instances(InstanceIds=[made])
        self.wait_state(made, "terminated")
