provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  installation      = "my-ci"
  trusted_role_arns = ["arn:aws:iam::111122223333:role/cron"]
  regions           = ["us-east-1"]
}

run "everything" {
  command = plan

  assert {
    condition     = !anytrue([for action in flatten([for statement in jsondecode(output.policy).Statement : statement.Action]) : can(regex("Run|Create|Start|Modify|Tag|PassRole", action))])
    error_message = "the sweeper must not be able to make or change anything"
  }
}

run "refuses_everyone" {
  command = plan
  variables {
    trusted_role_arns = ["*"]
  }
  expect_failures = [var.trusted_role_arns]
}
