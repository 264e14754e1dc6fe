# Identity

variable "name" {
  description = "What the resources of this module are called; one per deployment in an account and region."
  type        = string
  default     = "dormouse"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and dashes, and begin with a letter."
  }
}

variable "installation" {
  description = "Value of the tag dormouse:installation on everything that Dormouse makes. Every right to change something is bound to it, so two installations in one account cannot touch each other's machines."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,62}$", var.installation))
    error_message = "installation must be 3 to 63 lower-case letters, digits and dashes."
  }
}

variable "tags" {
  description = "Tags for the resources of this module. They must not contain dormouse:installation: Dormouse ends machines that carry its tag and stand in no book, and its own host is one."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.tags), "dormouse:installation")
    error_message = "tags must not contain dormouse:installation, which marks what Dormouse may end."
  }
}

# Network

variable "vpc_id" {
  description = "VPC of the orchestrator and its build machines."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "vpc_id must look like vpc-0123456789abcdef0."
  }
}

variable "subnet_id" {
  description = "Subnet of the orchestrator. It decides the availability zone, because the data volume lives in one. It needs a way to the AWS APIs and, at first boot, to the distribution's packages."
  type        = string

  validation {
    condition     = can(regex("^subnet-[0-9a-f]+$", var.subnet_id))
    error_message = "subnet_id must look like subnet-0123456789abcdef0."
  }
}

variable "builder_subnet_ids" {
  description = "Subnets in which build machines are launched. More zones give spot more pools; the orchestrator's zone first keeps log traffic free of charge."
  type        = list(string)

  validation {
    condition     = length(var.builder_subnet_ids) > 0 && alltrue([for id in var.builder_subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "builder_subnet_ids needs at least one id like subnet-0123456789abcdef0."
  }
}

variable "api_port" {
  description = "Port of the HTTP API."
  type        = number
  default     = 8470

  validation {
    condition     = var.api_port >= 1024 && var.api_port <= 65535
    error_message = "api_port must be between 1024 and 65535: the service has no right to bind lower ones."
  }
}

variable "api_cidrs" {
  description = "IPv4 ranges that may reach the API. The API speaks plain HTTP, so these are private ranges, or nothing when a load balancer in front terminates TLS."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.api_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "api_cidrs must be CIDR ranges, and not the whole internet: the API has no TLS of its own."
  }
}

variable "api_security_group_ids" {
  description = "Security groups that may reach the API, such as a load balancer's."
  type        = list(string)
  default     = []
}

variable "target_group_arns" {
  description = "Load balancer target groups in which the orchestrator is registered. Use one with TLS for people and webhooks outside of the VPC."
  type        = list(string)
  default     = []
}

variable "ssh_cidrs" {
  description = "IPv4 ranges that may reach the orchestrator's own SSH port. Needs key_name; empty closes it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "ssh_cidrs must be CIDR ranges, and not the whole internet."
  }
}

variable "key_name" {
  description = "EC2 key pair for logging in to the orchestrator; none by default."
  type        = string
  default     = null
}

variable "builder_egress_cidrs" {
  description = "Where build machines may connect to. Builds fetch sources and packages, so the default is everywhere."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = alltrue([for cidr in var.builder_egress_cidrs : can(cidrhost(cidr, 0))])
    error_message = "builder_egress_cidrs must be CIDR ranges."
  }
}

variable "interface_endpoints" {
  description = "Interface VPC endpoints to make in the orchestrator's subnet, for networks without a way out. Each costs by the hour."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for service in var.interface_endpoints : contains(["ec2", "sqs", "ssm", "sts", "pricing.api"], service)])
    error_message = "interface_endpoints knows ec2, sqs, ssm, sts and pricing.api (which few regions have)."
  }
}

variable "s3_endpoint_route_table_ids" {
  description = "Route tables that get a gateway endpoint for S3; it costs nothing. Empty makes none."
  type        = list(string)
  default     = []
}

# The orchestrator's host

variable "architecture" {
  description = "Processor of the orchestrator's host: arm64 or x86_64. The program behind binary_url must be built for it."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "instance_type" {
  description = "Type of the orchestrator's host; it must be of the given architecture."
  type        = string
  default     = "t4g.small"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must look like t4g.small."
  }
}

variable "distribution" {
  description = "System of the orchestrator's host: debian12 or ubuntu2404, always its newest image."
  type        = string
  default     = "debian12"

  validation {
    condition     = contains(["debian12", "ubuntu2404"], var.distribution)
    error_message = "distribution must be debian12 or ubuntu2404."
  }
}

variable "data_volume_gib" {
  description = "Size of the encrypted gp3 volume at /var/lib/dormouse. It holds the database, the tokens, and logs on their way to S3."
  type        = number
  default     = 20

  validation {
    condition     = var.data_volume_gib >= 4 && var.data_volume_gib <= 16384
    error_message = "data_volume_gib must be between 4 and 16384."
  }
}

variable "data_snapshot_id" {
  description = "Snapshot from which the data volume is made, to restore or to move it. Only its first value counts."
  type        = string
  default     = null
}

variable "backup_days" {
  description = "Days for which a daily snapshot of the data volume is kept; 0 makes none."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_days >= 0 && var.backup_days <= 365
    error_message = "backup_days must be between 0 and 365."
  }
}

# The program

variable "binary_url" {
  description = "Where the host fetches the program at its first boot: s3://bucket/key or https://…"
  type        = string

  validation {
    condition     = can(regex("^(s3|https)://[^/'\"\\s$`\\\\]+/[^'\"\\s$`\\\\]+$", var.binary_url))
    error_message = "binary_url must be s3://bucket/key or an https address, without quotes and spaces."
  }
}

variable "binary_sha256" {
  description = "SHA-256 of the program. The host refuses to start anything else."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.binary_sha256))
    error_message = "binary_sha256 must be 64 lower-case hexadecimal digits."
  }
}

variable "admin_token_parameter" {
  description = "Name of an SSM SecureString, beginning with a slash, whose value is accepted as admin token. Without it the first start leaves one in /var/lib/dormouse."
  type        = string
  default     = null

  validation {
    condition     = var.admin_token_parameter == null || can(regex("^/[A-Za-z0-9_./-]+$", var.admin_token_parameter))
    error_message = "admin_token_parameter must be a full parameter name, such as /dormouse/admin-token."
  }
}

variable "extra_settings" {
  description = "Further sections of dormouse.yaml, such as { engine = { lease = \"15m\" } }. Sections that the module writes itself (providers, logs, listen, …) are replaced as a whole."
  type        = any
  default     = {}
}

variable "extra_ec2_providers" {
  description = "Further EC2 providers by name, such as { other = { region = \"us-east-1\", role = \"arn:aws:iam::444455556666:role/dormouse\", subnets = [\"subnet-…\"], security_groups = [\"sg-…\"] } }."
  type        = any
  default     = {}
}

# What Dormouse may do

variable "features" {
  description = "Rights that are granted only where they are used. launch (and ending what was launched) is always granted."
  type = object({
    sleep         = optional(bool, true)
    spot          = optional(bool, true)
    prices        = optional(bool, true)
    interruptions = optional(bool, true)
    logs          = optional(bool, true)
  })
  default = {}
}

variable "ssm_parameter_names" {
  description = "Own SSM parameters in which images are looked up; a trailing * is allowed. The public ones below /aws/service are always readable."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.ssm_parameter_names : can(regex("^/[A-Za-z0-9_./-]+\\*?$", name))])
    error_message = "ssm_parameter_names must be full names that begin with a slash."
  }
}

variable "launch_template_ids" {
  description = "Own launch templates that images refer to (`launch_template:`)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.launch_template_ids : can(regex("^lt-[0-9a-f]+$", id))])
    error_message = "launch_template_ids must look like lt-0123456789abcdef0."
  }
}

variable "builder_profile" {
  description = "Instance profile for build machines and the role in it. Builds get that role's rights: leave it out unless builds need AWS."
  type        = object({ name = string, role_arn = string })
  default     = null

  validation {
    condition     = var.builder_profile == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.builder_profile.role_arn))
    error_message = "builder_profile.role_arn must be the ARN of a role."
  }
}

variable "assume_role_arns" {
  description = "Roles in other accounts in which Dormouse launches machines (`role:` of a provider)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.assume_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^*]+$", arn))])
    error_message = "assume_role_arns must be full ARNs of roles, without wildcards."
  }
}

# Logs

variable "log_prefix" {
  description = "Prefix of build logs in the bucket, without slashes at its ends."
  type        = string
  default     = "logs"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]$", var.log_prefix))
    error_message = "log_prefix must begin and end with a letter or digit."
  }
}

variable "log_days" {
  description = "Days after which the bucket deletes a log, whatever Dormouse thinks of it."
  type        = number
  default     = 365

  validation {
    condition     = var.log_days > 30
    error_message = "log_days must be more than 30: cold storage has a minimum."
  }
}

variable "log_cold_days" {
  description = "Days after which a log moves to infrequent access; at least 30."
  type        = number
  default     = 30

  validation {
    condition     = var.log_cold_days >= 30
    error_message = "log_cold_days must be at least 30: S3 moves nothing earlier."
  }
}
