# What Dormouse may do, by feature. Written as values rather than as data sources, so that the tests
# see the very documents that AWS gets, and docs/iam-policy.json is printed from them.
#
# The rule: reading is free within the region; making something needs our tag in the request; changing
# or ending something needs our tag on the thing. Without the tag there is no right.

locals {
  ec2        = "arn:${local.partition}:ec2:${local.region}"
  asked_tag  = { "aws:RequestTag/dormouse:installation" = var.installation }
  having_tag = { "aws:ResourceTag/dormouse:installation" = var.installation }
  here       = { "aws:RequestedRegion" = local.region }

  made_by_a_launch = [
    "${local.ec2}:*:instance/*",
    "${local.ec2}:*:volume/*",
    "${local.ec2}:*:network-interface/*",
    "${local.ec2}:*:spot-instances-request/*",
    "${local.ec2}:*:fleet/*",
    "${local.ec2}:*:launch-template/*",
  ]

  launch_statements = [
    {
      Sid    = "LaunchLook"
      Effect = "Allow"
      Action = [
        "ec2:DescribeFleets",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
      ]
      Resource  = ["*"]
      Condition = { StringEquals = local.here }
    },
    {
      Sid       = "LaunchMake"
      Effect    = "Allow"
      Action    = ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"]
      Resource  = local.made_by_a_launch
      Condition = { StringEquals = local.asked_tag }
    },
    {
      # Tags are given at birth only: nothing that exists can be tagged into this installation.
      Sid      = "LaunchTag"
      Effect   = "Allow"
      Action   = ["ec2:CreateTags"]
      Resource = local.made_by_a_launch
      Condition = {
        StringEquals = merge(local.asked_tag, {
          "ec2:CreateAction" = ["CreateFleet", "CreateLaunchTemplate", "RunInstances"]
        })
      }
    },
    {
      # What a launch uses and does not make: any image, these subnets, this one group.
      Sid    = "LaunchUse"
      Effect = "Allow"
      Action = ["ec2:CreateFleet", "ec2:RunInstances"]
      Resource = concat(
        ["${local.ec2}::image/*", "${local.ec2}::snapshot/*", "${local.ec2}:*:snapshot/*"],
        [for id in var.builder_subnet_ids : "${local.ec2}:*:subnet/${id}"],
        ["${local.ec2}:*:security-group/${aws_security_group.builders.id}"],
        [for id in var.launch_template_ids : "${local.ec2}:*:launch-template/${id}"],
      )
    },
    {
      Sid       = "LaunchUseOwnTemplates"
      Effect    = "Allow"
      Action    = ["ec2:CreateFleet", "ec2:RunInstances"]
      Resource  = ["${local.ec2}:*:launch-template/*"]
      Condition = { StringEquals = local.having_tag }
    },
    {
      Sid    = "LaunchEnd"
      Effect = "Allow"
      Action = [
        "ec2:DeleteFleets",
        "ec2:DeleteLaunchTemplate",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteVolume",
        "ec2:GetConsoleOutput",
        "ec2:TerminateInstances",
      ]
      Resource = [
        "${local.ec2}:*:fleet/*",
        "${local.ec2}:*:launch-template/*",
        "${local.ec2}:*:network-interface/*",
        "${local.ec2}:*:volume/*",
        "${local.ec2}:*:instance/*",
      ]
      Condition = { StringEquals = local.having_tag }
    },
    {
      # Fleets act through a role of the service, which the first fleet of an account makes.
      Sid       = "LaunchFleetRole"
      Effect    = "Allow"
      Action    = ["iam:CreateServiceLinkedRole"]
      Resource  = ["arn:${local.partition}:iam::*:role/aws-service-role/ec2fleet.amazonaws.com/AWSServiceRoleForEC2Fleet"]
      Condition = { StringEquals = { "iam:AWSServiceName" = "ec2fleet.amazonaws.com" } }
    },
  ]

  pass_role_statements = [
    for profile in var.builder_profile[*] : {
      Sid       = "PassBuilderRole"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = [profile.role_arn]
      Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
    }
  ]

  sleep_statements = [
    {
      Sid       = "Sleep"
      Effect    = "Allow"
      Action    = ["ec2:ModifyInstanceAttribute", "ec2:StartInstances", "ec2:StopInstances"]
      Resource  = ["${local.ec2}:*:instance/*"]
      Condition = { StringEquals = local.having_tag }
    },
  ]

  spot_statements = [
    {
      Sid       = "SpotLook"
      Effect    = "Allow"
      Action    = ["ec2:DescribeSpotInstanceRequests", "ec2:DescribeSpotPriceHistory"]
      Resource  = ["*"]
      Condition = { StringEquals = local.here }
    },
    {
      Sid       = "SpotCancel"
      Effect    = "Allow"
      Action    = ["ec2:CancelSpotInstanceRequests"]
      Resource  = ["${local.ec2}:*:spot-instances-request/*"]
      Condition = { StringEquals = local.having_tag }
    },
    {
      Sid       = "SpotRole"
      Effect    = "Allow"
      Action    = ["iam:CreateServiceLinkedRole"]
      Resource  = ["arn:${local.partition}:iam::*:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"]
      Condition = { StringEquals = { "iam:AWSServiceName" = "spot.amazonaws.com" } }
    },
  ]

  prices_statements = [
    {
      # The price list is public and knows no resources.
      Sid      = "Prices"
      Effect   = "Allow"
      Action   = ["pricing:GetProducts"]
      Resource = ["*"]
    },
  ]

  parameters_statements = [
    {
      Sid    = "Parameters"
      Effect = "Allow"
      Action = ["ssm:GetParameter"]
      Resource = concat(
        ["arn:${local.partition}:ssm:${local.region}::parameter/aws/service/*"],
        [for name in var.ssm_parameter_names : "arn:${local.partition}:ssm:${local.region}:*:parameter${name}"],
      )
    },
  ]

  interruptions_statements = [
    {
      Sid      = "Interruptions"
      Effect   = "Allow"
      Action   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
      Resource = ["arn:${local.partition}:sqs:${local.region}:*:${local.queue_name}"]
    },
  ]

  logs_statements = flatten([
    for bucket in aws_s3_bucket.logs : [
      {
        # "IfExists", because S3 asks for this right too when a key is not there, and without it says
        # "denied" instead of "not found".
        Sid       = "LogsList"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [bucket.arn]
        Condition = { StringLikeIfExists = { "s3:prefix" = "${var.log_prefix}/*" } }
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["${bucket.arn}/${var.log_prefix}/*"]
      },
    ]
  ])

  accounts_statements = [
    {
      Sid      = "OtherAccounts"
      Effect   = "Allow"
      Action   = ["sts:AssumeRole"]
      Resource = var.assume_role_arns
    },
  ]

  granted = {
    launch        = true
    pass-role     = var.builder_profile != null
    sleep         = var.features.sleep
    spot          = var.features.spot
    prices        = var.features.prices
    parameters    = true
    interruptions = var.features.interruptions
    logs          = var.features.logs
    accounts      = length(var.assume_role_arns) > 0
  }

  # As JSON texts, because a map's values must be of one type and statements differ in their keys.
  feature_documents = {
    launch        = jsonencode({ Version = "2012-10-17", Statement = local.launch_statements })
    pass-role     = jsonencode({ Version = "2012-10-17", Statement = local.pass_role_statements })
    sleep         = jsonencode({ Version = "2012-10-17", Statement = local.sleep_statements })
    spot          = jsonencode({ Version = "2012-10-17", Statement = local.spot_statements })
    prices        = jsonencode({ Version = "2012-10-17", Statement = local.prices_statements })
    parameters    = jsonencode({ Version = "2012-10-17", Statement = local.parameters_statements })
    interruptions = jsonencode({ Version = "2012-10-17", Statement = local.interruptions_statements })
    logs          = jsonencode({ Version = "2012-10-17", Statement = local.logs_statements })
    accounts      = jsonencode({ Version = "2012-10-17", Statement = local.accounts_statements })
  }

  documents = { for feature, document in local.feature_documents : feature => document if local.granted[feature] }
}
