"""Faults of the API: lost replies, silence, errors, throttling, pages; the journal; the control API's own refusals."""

import threading
import time

import botocore.exceptions

from .support import LabTest, wait_for

GONE = (botocore.exceptions.ConnectionClosedError, botocore.exceptions.EndpointConnectionError)


class FrontTest(LabTest):
    def test_lost_reply_before_and_after(self):
        for when, exist in (("before", 0), ("after", 1)):
            with self.subTest(when):
                self.control("POST", "/faults", {"action": "RunInstances", "count": 1, "lose_reply": when})
                with self.assertRaises(GONE):
                    self.run_one(ClientToken=f"lost-{when}")
                self.assertEqual(len(self.control("GET", "/instances")), exist)
        repeated = self.run_one(ClientToken="lost-after")
        self.assertEqual([each["id"] for each in self.control("GET", "/instances")], [repeated])
        outcomes = [each["outcome"] for each in self.control("GET", "/journal/RunInstances")]
        self.assertEqual(outcomes, ["lost-reply", "lost-reply", "ok"])

    def test_error_with_skip_and_count(self):
        rule = {"action": "DescribeInstances", "skip": 1, "count": 2, "error": {"code": "Unavailable", "status": 503}}
        name = self.control("POST", "/faults", rule)["id"]
        self.ec2.describe_instances()
        for _ in range(2):
            self.assert_code("Unavailable", self.ec2.describe_instances)
        self.ec2.describe_instances()
        [shown] = self.control("GET", "/faults")
        self.assertEqual((shown["id"], shown["seen"], shown["hits"]), (name, 4, 2))
        self.assertEqual(self.control("GET", "/journal")["counts"], {"DescribeInstances": 4})

    def test_rules_of_a_pool(self):
        spec = {"code": "InsufficientInstanceCapacity", "status": 500}
        self.control("POST", "/faults", {"action": "RunInstances", "zone": "us-east-1b", "market": "spot", "error": spec})
        there = {"SubnetId": self.ready["subnets"][1]["id"]}
        self.run_one(**there)
        with self.assertRaises(botocore.exceptions.ClientError):
            self.run_one(**there, InstanceMarketOptions={"MarketType": "spot"})

    def test_hang_until_the_rule_is_deleted(self):
        name = self.control("POST", "/faults", {"action": "TerminateInstances", "hang": True})["id"]
        ended = []

        def call():
            try:
                self.ec2.terminate_instances(InstanceIds=["i-00000000"])
            except botocore.exceptions.BotoCoreError as error:
                ended.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        wait_for(lambda: self.control("GET", "/journal")["counts"].get("TerminateInstances"))
        self.ec2.describe_instances()  # others are served meanwhile
        self.assertEqual(ended, [])
        self.control("DELETE", f"/faults/{name}")
        caller.join(10)
        self.assertEqual(len(ended), 1)

    def test_empty_and_short_pages(self):
        made = self.run_many(5)
        self.control("POST", "/faults", {"action": "DescribeInstances", "page": 0, "count": 1})
        first = self.ec2.describe_instances()
        self.assertEqual(first["Reservations"], [])
        rest = self.ec2.describe_instances(NextToken=first["NextToken"])
        self.assertEqual(_ids(rest), made)
        self.control("POST", "/faults", {"action": "DescribeInstances", "page": 2})
        pages = [_ids(page) for page in self.ec2.get_paginator("describe_instances").paginate()]
        self.assertEqual(pages, [made[:2], made[2:4], made[4:]])

    def test_latency(self):
        self.control("POST", "/faults", {"action": "*", "latency_ms": 300})
        began = time.monotonic()
        self.ec2.describe_instances()
        self.assertGreater(time.monotonic() - began, 0.3)

    def test_throttling_while_on(self):
        self.control("PUT", "/throttle", {"on": True, "buckets": {"RunInstances": {"max": 2, "refill_per_s": 0}}})
        self.run_one()
        self.run_one()
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            self.run_one()
        self.assertEqual(caught.exception.response["Error"]["Code"], "RequestLimitExceeded")
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 503)
        self.control("PUT", "/throttle", {"on": False})
        self.run_one()

    def test_journal_tells_parameters(self):
        made = self.run_one(ClientToken="seen")
        [entry] = self.control("GET", "/journal/RunInstances")
        self.assertEqual((entry["params"]["ClientToken"], entry["instances"], entry["status"]), ("seen", [made], 200))

    def test_control_api_refuses_what_it_does_not_know(self):
        self.assertIn("unknown field", self.refused(400, "POST", "/faults", {"action": "X", "eror": {}}))
        self.assertIn("unknown field", self.refused(400, "PATCH", "/settings", {"boot": 1}))
        self.assertIn("no rule", self.refused(404, "DELETE", "/faults/fault-999"))
        self.refused(404, "GET", "/instances/i-00000000")
        made = self.run_one()
        self.refused(409, "POST", f"/instances/{made}/reclaim", {})


def _ids(page):
    return [each["InstanceId"] for row in page["Reservations"] for each in row["Instances"]]
