variable "region" {
  description = "Region of the orchestrator and its build machines."
  type        = string
  default     = "us-east-1"
}

variable "installation" {
  description = "Name of this installation; see the module."
  type        = string
  default     = "my-ci"
}

variable "vpc_id" {
  description = "VPC with the subnets below."
  type        = string
}

variable "private_subnet_ids" {
  description = "Private subnets with a NAT gateway, one per zone. The first is the orchestrator's."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) > 0
    error_message = "private_subnet_ids needs at least one subnet."
  }
}

variable "route_table_ids" {
  description = "Route tables of those subnets, for the free way to S3."
  type        = list(string)
}

variable "api_cidrs" {
  description = "Private ranges of the people who use the API, such as a VPN's."
  type        = list(string)
}

variable "binary_url" {
  description = "Where the program lies: s3://bucket/key, built for arm64."
  type        = string
}

variable "binary_sha256" {
  description = "Its SHA-256."
  type        = string
}

variable "sweeper_role_arn" {
  description = "Role of the host or job that runs `dormouse sweep` from cron."
  type        = string
}
