# Debian 12 and Ubuntu 24.04 build machines. What they contain is said once, in images/ec2/*.yaml: the
# versions in `capabilities` are installed, and the `probes` must print them before the AMI is made.
#
#   packer plugins install github.com/hashicorp/amazon
#   packer build -only='debian12-python.*' packer/
#   dormouse apply images/ec2/debian12-python.yaml
#
# `reference.ami` of the image names the newest AMI of its name, so a new bake is taken up by the next
# launch. To stay on one, write `ami: ami-0123…` (from packer-manifest.json) and change it deliberately.

packer {
  required_version = ">= 1.6.6"
}

locals {
  image_dir = "${path.root}/../images/ec2"
  images = {
    debian12-python      = yamldecode(file("${path.root}/../images/ec2/debian12-python.yaml"))
    debian12-databases   = yamldecode(file("${path.root}/../images/ec2/debian12-databases.yaml"))
    ubuntu2404-python    = yamldecode(file("${path.root}/../images/ec2/ubuntu2404-python.yaml"))
    ubuntu2404-databases = yamldecode(file("${path.root}/../images/ec2/ubuntu2404-databases.yaml"))
  }
  stamp   = formatdate("YYYYMMDDhhmmss", timestamp())
  as_root = "chmod +x '{{ .Path }}' && sudo -n env {{ .Vars }} '{{ .Path }}'"
}

source "amazon-ebs" "debian12" {
  region                                = var.region
  instance_type                         = var.instance_type
  vpc_id                                = var.vpc_id
  subnet_id                             = var.subnet_id
  associate_public_ip_address           = var.associate_public_ip_address
  temporary_security_group_source_cidrs = var.ssh_cidrs
  encrypt_boot                          = var.encrypt_boot
  ssh_username                          = "admin"
  temporary_key_pair_type               = "ed25519"

  source_ami_filter {
    owners      = ["136693071363"] # Debian
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    volume_size           = var.root_gib
    delete_on_termination = true
  }

  # An AMI inherits the shutdown behaviour of the machine it is made from. Dormouse sets it at every
  # launch; "stop" keeps the AMI harmless for everybody else.
  shutdown_behavior = "stop"

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
}

source "amazon-ebs" "ubuntu2404" {
  region                                = var.region
  instance_type                         = var.instance_type
  vpc_id                                = var.vpc_id
  subnet_id                             = var.subnet_id
  associate_public_ip_address           = var.associate_public_ip_address
  temporary_security_group_source_cidrs = var.ssh_cidrs
  encrypt_boot                          = var.encrypt_boot
  ssh_username                          = "ubuntu"
  temporary_key_pair_type               = "ed25519"

  source_ami_filter {
    owners      = ["099720109477"] # Canonical
    most_recent = true
    filters = {
      name                = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"
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
    volume_size           = var.root_gib
    delete_on_termination = true
  }

  shutdown_behavior = "stop" # as above

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
}
