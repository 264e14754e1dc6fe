# Windows Server 2022 with OpenSSH and Git's bash as login shell: a template to begin with, not a build
# machine yet. Dormouse gives Linux machines their host key and lease through cloud-init, which Windows
# does not have, so no file in images/ec2 claims this AMI. An image for it would begin like this:
#
#   name: windows2022
#   provider: us-east-1
#   reference: { ami: { owner: self, name: "dormouse-windows2022-*" }, root: { size: 60GiB } }
#   login: { user: Administrator }
#   capabilities: { os: windows, windows: "2022", git: true, sh: true }
#   boot_timeout: 15m

source "amazon-ebs" "windows2022" {
  region                                = var.region
  instance_type                         = var.instance_type
  vpc_id                                = var.vpc_id
  subnet_id                             = var.subnet_id
  associate_public_ip_address           = var.associate_public_ip_address
  temporary_security_group_source_cidrs = var.ssh_cidrs
  encrypt_boot                          = var.encrypt_boot
  user_data_file                        = "${path.root}/scripts/windows/user-data.ps1"
  communicator                          = "ssh"
  ssh_username                          = "Administrator"
  ssh_timeout                           = "20m" # OpenSSH is downloaded at the first boot
  # An RSA key: Windows AMIs refuse the other types, and encrypt the password with it.

  source_ami_filter {
    owners      = ["801119661308"] # Amazon's Windows images
    most_recent = true
    filters = {
      name                = "Windows_Server-2022-English-Full-Base-*"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    volume_size           = 50
    delete_on_termination = true
  }

  shutdown_behavior = "stop"

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
}

build {
  name = "windows2022"

  source "amazon-ebs.windows2022" {
    name            = "windows2022"
    ami_name        = "${var.ami_prefix}-windows2022-${local.stamp}"
    ami_description = "Windows Server 2022 with OpenSSH and Git"
    tags = {
      Name              = "${var.ami_prefix}-windows2022"
      "dormouse:source" = "windows2022"
      "dormouse:base"   = "{{ .SourceAMIName }}"
    }
    snapshot_tags   = { Name = "${var.ami_prefix}-windows2022" }
    run_tags        = { Name = "packer-windows2022" }
    run_volume_tags = { Name = "packer-windows2022" }
  }

  provisioner "powershell" {
    environment_vars = [
      "GIT_URL=${var.git_for_windows_url}",
      "GIT_SHA256=${var.git_for_windows_sha256}",
    ]
    script = "${path.root}/scripts/windows/provision.ps1"
  }

  # Last: it seals the machine; Packer stops it.
  provisioner "powershell" {
    script = "${path.root}/scripts/windows/clean.ps1"
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = { image = "windows2022" }
  }
}
