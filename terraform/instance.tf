# The host: a group of exactly one, so that a broken one is replaced, and a data volume that outlives it.

resource "aws_ebs_volume" "data" {
  #checkov:skip=CKV_AWS_189:The account's EBS key encrypts it. A key of its own costs by the month and needs rights that let the host use keys.
  availability_zone = data.aws_subnet.orchestrator.availability_zone
  type              = "gp3"
  size              = var.data_volume_gib
  encrypted         = true
  snapshot_id       = var.data_snapshot_id
  final_snapshot    = true
  tags              = merge(local.tags, { Name = "${var.name}-data", "dormouse:backup" = var.name })

  lifecycle {
    # The books: which machines exist, what they cost, which builds ran. Losing them loses no machine
    # (a sweep by tag finds those), but all history. To move it, make a snapshot first.
    prevent_destroy = true
    ignore_changes  = [snapshot_id]
  }
}

resource "aws_launch_template" "orchestrator" {
  name                   = local.component
  update_default_version = true
  image_id               = "resolve:ssm:${local.ami_parameters[var.distribution][var.architecture]}"
  instance_type          = var.instance_type
  key_name               = var.key_name
  vpc_security_group_ids = [aws_security_group.orchestrator.id]
  user_data              = base64encode(local.user_data)
  ebs_optimized          = true
  tags                   = local.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.orchestrator.arn
  }

  # No process but those of this host may borrow its role: not one in a container, nor one behind a proxy.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  block_device_mappings {
    device_name = var.distribution == "debian12" ? "/dev/xvda" : "/dev/sda1"

    ebs {
      volume_type           = "gp3"
      volume_size           = 12
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.tags, { Name = "${local.component}-root" })
  }

  lifecycle {
    precondition {
      condition     = !contains(keys(data.aws_default_tags.current.tags), "dormouse:installation")
      error_message = "The provider's default_tags must not contain dormouse:installation: Dormouse would end its own host as a machine that stands in no book."
    }
    precondition {
      condition     = length(var.ssh_cidrs) == 0 || var.key_name != null
      error_message = "ssh_cidrs opens a port that nobody can use: give key_name too."
    }
  }
}

resource "aws_autoscaling_group" "orchestrator" {
  name                      = local.component
  min_size                  = 1
  max_size                  = 1
  desired_capacity          = 1
  vpc_zone_identifier       = [var.subnet_id]
  target_group_arns         = var.target_group_arns
  health_check_type         = "EC2"
  health_check_grace_period = 600
  # A deployment is done when the new host runs; builds go on meanwhile and are taken up again.
  wait_for_capacity_timeout = "10m"

  launch_template {
    id      = aws_launch_template.orchestrator.id
    version = aws_launch_template.orchestrator.latest_version
  }

  # The volume can be attached once, so the old host goes before the new one comes.
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 0
      max_healthy_percentage = 100
    }
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = local.component })
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  # The first boot attaches the volume, fetches the program and may find its rights already there.
  depends_on = [aws_iam_role_policy.bootstrap, aws_iam_role_policy.feature]
}

locals {
  user_data = templatefile("${path.module}/templates/user_data.sh.tftpl", {
    region                = local.region
    volume_id             = aws_ebs_volume.data.id
    binary_url            = var.binary_url
    binary_sha256         = var.binary_sha256
    admin_token_parameter = var.admin_token_parameter == null ? "" : var.admin_token_parameter
    settings              = yamlencode(local.settings)
    unit                  = file("${path.module}/templates/dormouse.service")
  })
}

# Daily snapshots of the data volume.

data "aws_iam_policy_document" "backup_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["dlm.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "backup" {
  count = var.backup_days > 0 ? 1 : 0

  name               = "${var.name}-backup-${local.region}"
  description        = "Daily snapshots of the data volume of Dormouse"
  assume_role_policy = data.aws_iam_policy_document.backup_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "backup" {
  count = var.backup_days > 0 ? 1 : 0

  role       = aws_iam_role.backup[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSDataLifecycleManagerServiceRole"
}

resource "aws_dlm_lifecycle_policy" "backup" {
  count = var.backup_days > 0 ? 1 : 0

  description        = "Dormouse data of ${var.name}"
  execution_role_arn = aws_iam_role.backup[0].arn
  state              = "ENABLED"
  tags               = local.tags

  policy_details {
    resource_types = ["VOLUME"]
    target_tags    = { "dormouse:backup" = var.name }

    schedule {
      name      = "daily"
      copy_tags = false

      create_rule {
        interval      = 24
        interval_unit = "HOURS"
        times         = ["03:15"]
      }

      retain_rule {
        count = var.backup_days
      }
    }
  }
}
