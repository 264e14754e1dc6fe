terraform {
  # 1.11 runs the module's own tests (`override_during`); older releases from 1.9 on can apply it.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}
