# Plans the module with the real provider, offline: what would ask AWS is answered here. tests/infra
# reads the plans of these runs and looks into every resource.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_subnet.orchestrator
  values = { availability_zone = "us-east-1a" }
}

override_resource {
  target          = aws_security_group.builders
  override_during = plan
  values          = { id = "sg-0123456789abcdef0" }
}

override_resource {
  target          = aws_s3_bucket.logs
  override_during = plan
  values = {
    id     = "dormouse-logs-example"
    bucket = "dormouse-logs-example"
    arn    = "arn:aws:s3:::dormouse-logs-example"
  }
}

override_resource {
  target          = aws_sqs_queue.interruptions
  override_during = plan
  values = {
    id  = "https://sqs.us-east-1.amazonaws.com/111122223333/dormouse-interruptions"
    url = "https://sqs.us-east-1.amazonaws.com/111122223333/dormouse-interruptions"
    arn = "arn:aws:sqs:us-east-1:111122223333:dormouse-interruptions"
  }
}

override_resource {
  target          = aws_ebs_volume.data
  override_during = plan
  values          = { id = "vol-0123456789abcdef0" }
}

variables {
  installation       = "my-ci"
  vpc_id             = "vpc-0123456789abcdef0"
  subnet_id          = "subnet-0123456789abcdef0"
  builder_subnet_ids = ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"]
  api_cidrs          = ["10.0.0.0/8"]
  binary_url         = "s3://example-artifacts/dormouse/arm64/dormouse"
  binary_sha256      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
}

# Everything on: docs/iam-policy.json is printed from this run.
run "everything" {
  command = plan

  variables {
    api_security_group_ids      = ["sg-0aaaaaaaaaaaaaaaa"]
    ssh_cidrs                   = ["10.1.0.0/16"]
    key_name                    = "operator"
    interface_endpoints         = ["ec2", "sqs"]
    s3_endpoint_route_table_ids = ["rtb-0123456789abcdef0"]
    admin_token_parameter       = "/dormouse/admin-token"
    ssm_parameter_names         = ["/my-ci/images/*"]
    launch_template_ids         = ["lt-0123456789abcdef0"]
    builder_profile             = { name = "my-ci-builder", role_arn = "arn:aws:iam::111122223333:role/my-ci-builder" }
    assume_role_arns            = ["arn:aws:iam::444455556666:role/dormouse"]
    extra_settings              = { engine = { lease = "15m" } }
    extra_ec2_providers = {
      other = {
        region          = "us-east-1"
        role            = "arn:aws:iam::444455556666:role/dormouse"
        subnets         = ["subnet-0aaaaaaaaaaaaaaaa"]
        security_groups = ["sg-0aaaaaaaaaaaaaaaa"]
      }
    }
  }

  assert {
    condition     = length(aws_iam_role_policy.feature) == 9
    error_message = "every feature must have its policy"
  }
  assert {
    condition     = aws_autoscaling_group.orchestrator.min_size == 1 && aws_autoscaling_group.orchestrator.max_size == 1
    error_message = "two orchestrators must not run over one database"
  }
  assert {
    condition     = aws_launch_template.orchestrator.metadata_options[0].http_tokens == "required" && aws_launch_template.orchestrator.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv2 with a hop limit of 1 is required"
  }
  assert {
    condition     = yamldecode(output.settings).providers.ec2["us-east-1"].security_groups == ["sg-0123456789abcdef0"]
    error_message = "build machines must be in the builders' group"
  }
  assert {
    condition     = toset(keys(yamldecode(output.settings).providers.ec2)) == toset(["us-east-1", "other"])
    error_message = "extra providers must stand beside the module's own"
  }
  assert {
    condition     = yamldecode(output.settings).engine.lease == "15m"
    error_message = "extra settings must arrive"
  }
}

# The least: no optional feature, no way in but the API.
run "least" {
  command = plan

  variables {
    features    = { sleep = false, spot = false, prices = false, interruptions = false, logs = false }
    backup_days = 0
    binary_url  = "https://example.org/dormouse"
  }

  assert {
    condition     = toset(keys(aws_iam_role_policy.feature)) == toset(["launch", "parameters"])
    error_message = "features that are off must grant nothing"
  }
  assert {
    condition     = length(aws_s3_bucket.logs) == 0 && length(aws_sqs_queue.interruptions) == 0 && length(aws_dlm_lifecycle_policy.backup) == 0
    error_message = "features that are off must make nothing"
  }
  assert {
    condition     = !can(yamldecode(output.settings).logs) && !can(yamldecode(output.settings).providers.ec2["us-east-1"].interruption_queue)
    error_message = "settings must not name what was not made"
  }
}

run "ubuntu" {
  command = plan

  variables {
    distribution  = "ubuntu2404"
    architecture  = "x86_64"
    instance_type = "t3a.small"
  }

  assert {
    condition     = endswith(aws_launch_template.orchestrator.image_id, "/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id")
    error_message = "the image must follow distribution and architecture"
  }
}

# What must be refused.

run "refuses_the_internet" {
  command = plan
  variables {
    api_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.api_cidrs]
}

run "refuses_its_own_tag" {
  command = plan
  variables {
    tags = { "dormouse:installation" = "my-ci" }
  }
  expect_failures = [var.tags]
}

run "refuses_a_shell_in_the_address" {
  command = plan
  variables {
    binary_url = "https://example.org/$(id)"
  }
  expect_failures = [var.binary_url]
}

run "refuses_a_bad_sum" {
  command = plan
  variables {
    binary_sha256 = "abc"
  }
  expect_failures = [var.binary_sha256]
}

run "refuses_no_subnet" {
  command = plan
  variables {
    builder_subnet_ids = []
  }
  expect_failures = [var.builder_subnet_ids]
}

run "refuses_wildcard_roles" {
  command = plan
  variables {
    assume_role_arns = ["arn:aws:iam::444455556666:role/*"]
  }
  expect_failures = [var.assume_role_arns]
}

run "refuses_ssh_without_a_key" {
  command = plan
  variables {
    ssh_cidrs = ["10.1.0.0/16"]
  }
  expect_failures = [aws_launch_template.orchestrator]
}
