# The role of `dormouse sweep`, run from a cron far away from the orchestrator. It is the last net: when
# the orchestrator is dead and a machine's own lease failed, this finds what is past its end. It may
# look, and end what carries the installation's tag and an expiry; it can make nothing.

data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
  ec2       = [for region in var.regions : "arn:${local.partition}:ec2:${region}:*"]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "SweepLook"
        Effect = "Allow"
        Action = [
          "ec2:DescribeFleets",
          "ec2:DescribeInstances",
          "ec2:DescribeLaunchTemplates",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSpotInstanceRequests",
          "ec2:DescribeVolumes",
        ]
        Resource  = ["*"]
        Condition = { StringEquals = { "aws:RequestedRegion" = var.regions } }
      },
      {
        Sid    = "SweepEnd"
        Effect = "Allow"
        Action = [
          "ec2:CancelSpotInstanceRequests",
          "ec2:DeleteFleets",
          "ec2:DeleteLaunchTemplate",
          "ec2:DeleteNetworkInterface",
          "ec2:DeleteVolume",
          "ec2:TerminateInstances",
        ]
        Resource = flatten([
          for arn in local.ec2 : [
            "${arn}:fleet/*",
            "${arn}:instance/*",
            "${arn}:launch-template/*",
            "${arn}:network-interface/*",
            "${arn}:spot-instances-request/*",
            "${arn}:volume/*",
          ]
        ])
        Condition = {
          StringEquals = { "aws:ResourceTag/dormouse:installation" = var.installation }
          # What has no end cannot be past it.
          Null = { "aws:ResourceTag/dormouse:expires-at" = "false" }
        }
      },
    ]
  })
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = var.trusted_role_arns
    }
  }
}

resource "aws_iam_role" "sweeper" {
  name                 = var.name
  description          = "Ends leftovers of the Dormouse installation ${var.installation}"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 3600
  tags                 = var.tags
}

resource "aws_iam_role_policy" "sweeper" {
  name   = "sweep"
  role   = aws_iam_role.sweeper.name
  policy = local.policy
}
