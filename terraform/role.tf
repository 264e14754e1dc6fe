# The role of the orchestrator's host: one policy per feature, and what its first boot needs.

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "orchestrator" {
  # Roles are global; the region keeps two deployments of one name apart.
  name               = "${local.component}-${local.region}"
  description        = "Dormouse orchestrator of the installation ${var.installation}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = local.tags
}

resource "aws_iam_instance_profile" "orchestrator" {
  name = aws_iam_role.orchestrator.name
  role = aws_iam_role.orchestrator.name
  tags = local.tags
}

resource "aws_iam_role_policy" "feature" {
  for_each = local.documents

  name   = each.key
  role   = aws_iam_role.orchestrator.name
  policy = each.value
}

locals {
  # The bucket and key of an s3:// address; [] for an https one.
  binary_object = regexall("^s3://(.+)$", var.binary_url)

  bootstrap_statements = concat(
    [
      {
        # The one data volume to the one host. The host's tag comes from its scaling group; build
        # machines do not carry it.
        Sid    = "BootstrapVolume"
        Effect = "Allow"
        Action = ["ec2:AttachVolume"]
        Resource = [
          "${local.ec2}:*:instance/*",
          "${local.ec2}:*:volume/*",
        ]
        Condition = { StringEquals = { "aws:ResourceTag/dormouse:component" = local.component } }
      },
    ],
    [
      for object in local.binary_object : {
        Sid       = "BootstrapProgram"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = ["arn:${local.partition}:s3:::${object[0]}"]
        Condition = { Bool = { "aws:SecureTransport" = "true" } }
      }
    ],
    [
      for name in var.admin_token_parameter[*] : {
        Sid       = "BootstrapToken"
        Effect    = "Allow"
        Action    = ["ssm:GetParameter"]
        Resource  = ["arn:${local.partition}:ssm:${local.region}:*:parameter${name}"]
        Condition = { Bool = { "aws:SecureTransport" = "true" } }
      }
    ],
  )
}

resource "aws_iam_role_policy" "bootstrap" {
  name   = "bootstrap"
  role   = aws_iam_role.orchestrator.name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.bootstrap_statements })
}
