# What differs between accounts. Give values with -var, -var-file or PKR_VAR_….

variable "region" {
  type        = string
  default     = "us-east-1"
  description = "Where to bake. An AMI belongs to one region."
}

variable "instance_type" {
  type        = string
  default     = "c7i.large"
  description = "Type of the machine that is baked; any of the same architecture can boot the AMI."
}

variable "vpc_id" {
  type        = string
  default     = ""
  description = "VPC to bake in; the default VPC if empty."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Subnet to bake in. It needs a way to the package archives."
}

variable "associate_public_ip_address" {
  type        = bool
  default     = true
  description = "Whether the machine gets a public address for Packer to log in."
}

variable "ssh_cidrs" {
  type        = list(string)
  default     = ["0.0.0.0/0"]
  description = "From where Packer's temporary security group admits SSH. Name your own address."
}

variable "root_gib" {
  type        = number
  default     = 20
  description = "Size of the root volume. Images may ask for more at launch, never for less."
}

variable "encrypt_boot" {
  type        = bool
  default     = true
  description = "Encrypt the AMI with the account's default key. Hibernation needs it; sharing an AMI forbids it."
}

variable "ami_prefix" {
  type        = string
  default     = "dormouse"
  description = "First part of the AMI's name; images/ec2 looks for dormouse-…"
}

variable "uv_version" {
  type        = string
  default     = "0.13.9"
  description = "The uv that fetches Debian's Pythons. It must know the versions that the image claims."
}

variable "manifest" {
  type        = string
  default     = "packer-manifest.json"
  description = "File that gets the ids of the baked AMIs."
}

variable "git_for_windows_url" {
  type        = string
  default     = ""
  description = "Installer of Git for Windows, whose bash is the login shell. Needed for windows2022 only."
}

variable "git_for_windows_sha256" {
  type        = string
  default     = ""
  description = "SHA-256 of that installer."
}
