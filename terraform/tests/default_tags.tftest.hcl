# The orchestrator's host must never look like one of its build machines.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  default_tags {
    tags = { "dormouse:installation" = "my-ci" }
  }
}

override_data {
  target = data.aws_subnet.orchestrator
  values = { availability_zone = "us-east-1a" }
}

run "refuses_default_tags_that_mark_the_host" {
  command = plan

  variables {
    installation       = "my-ci"
    vpc_id             = "vpc-0123456789abcdef0"
    subnet_id          = "subnet-0123456789abcdef0"
    builder_subnet_ids = ["subnet-0123456789abcdef0"]
    binary_url         = "https://example.org/dormouse"
    binary_sha256      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }

  expect_failures = [aws_launch_template.orchestrator]
}
