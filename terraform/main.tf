# Dormouse on AWS: one small host that keeps itself alive, its network, rights, log bucket and
# interruption queue. What survives the host: the data volume and the bucket. What does not: its root
# disk and its address.

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_default_tags" "current" {}

data "aws_subnet" "orchestrator" {
  id = var.subnet_id
}

locals {
  region    = data.aws_region.current.id
  partition = data.aws_partition.current.partition

  # The host's own mark. It must differ from dormouse:installation, which means "Dormouse may end it".
  component = "${var.name}-orchestrator"
  tags      = merge(var.tags, { "dormouse:component" = local.component })

  ami_parameters = {
    debian12 = {
      arm64  = "/aws/service/debian/release/12/latest/arm64"
      x86_64 = "/aws/service/debian/release/12/latest/amd64"
    }
    ubuntu2404 = {
      arm64  = "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"
      x86_64 = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
    }
  }

  settings = merge(
    {
      data_dir = "/var/lib/dormouse"
      listen   = "0.0.0.0:${var.api_port}"
      auth     = "required"
      log      = { format = "json" }
      providers = {
        # Machines as processes of the orchestrator's own host are for laptops.
        local = { enabled = false }
        ec2 = merge(var.extra_ec2_providers, {
          (local.region) = merge(
            {
              region          = local.region
              installation    = var.installation
              subnets         = var.builder_subnet_ids
              security_groups = [aws_security_group.builders.id]
              # The builders' group admits the orchestrator's group, and that holds for private addresses only.
              address = "private"
            },
            var.builder_profile == null ? {} : { instance_profile = var.builder_profile.name },
            var.features.interruptions ? { interruption_queue = aws_sqs_queue.interruptions[0].url } : {},
          )
        })
      }
    },
    var.features.logs ? { logs = { store = "s3://${aws_s3_bucket.logs[0].bucket}/${var.log_prefix}" } } : {},
    var.extra_settings,
  )
}
