variable "name" {
  description = "Name of the role."
  type        = string
  default     = "dormouse-sweeper"

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.name))
    error_message = "name must be the name of a role, at most 64 characters."
  }
}

variable "installation" {
  description = "The installation whose leftovers may be ended: value of the tag dormouse:installation."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,62}$", var.installation))
    error_message = "installation must be 3 to 63 lower-case letters, digits and dashes."
  }
}

variable "trusted_role_arns" {
  description = "Who may become the sweeper: ARNs of the roles of the host or the CI job that runs cron."
  type        = list(string)

  validation {
    condition     = length(var.trusted_role_arns) > 0 && alltrue([for arn in var.trusted_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[^*]+$", arn))])
    error_message = "trusted_role_arns needs at least one full ARN of a role or user, without wildcards."
  }
}

variable "regions" {
  description = "Regions in which it may look and end things."
  type        = list(string)

  validation {
    condition     = length(var.regions) > 0 && alltrue([for region in var.regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region))])
    error_message = "regions needs at least one name like us-east-1."
  }
}

variable "tags" {
  description = "Tags for the role."
  type        = map(string)
  default     = {}
}
