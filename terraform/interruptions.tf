# News from EC2: spot interruption warnings, rebalance recommendations and state changes, into a queue
# that Dormouse reads. Rules cannot select by tag, so the queue also gets other instances' events;
# Dormouse ignores those it does not know.

locals {
  queue_name = "${var.name}-interruptions"

  event_rules = var.features.interruptions ? {
    interruption = "EC2 Spot Instance Interruption Warning"
    rebalance    = "EC2 Instance Rebalance Recommendation"
    state        = "EC2 Instance State-change Notification"
  } : {}
}

resource "aws_sqs_queue" "interruptions" {
  count = var.features.interruptions ? 1 : 0

  name = local.queue_name
  # A warning is worth two minutes, and the regular listing finds out all the same: what nobody read
  # for an hour is of no use.
  message_retention_seconds  = 3600
  visibility_timeout_seconds = 30
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  tags                       = local.tags
}

resource "aws_cloudwatch_event_rule" "interruptions" {
  for_each = local.event_rules

  name        = "${local.queue_name}-${each.key}"
  description = "${each.value}, for Dormouse"
  event_pattern = jsonencode({
    source      = ["aws.ec2"]
    detail-type = [each.value]
  })
  tags = local.tags
}

resource "aws_cloudwatch_event_target" "interruptions" {
  for_each = local.event_rules

  rule      = aws_cloudwatch_event_rule.interruptions[each.key].name
  target_id = "dormouse"
  arn       = aws_sqs_queue.interruptions[0].arn
}

data "aws_iam_policy_document" "queue" {
  count = var.features.interruptions ? 1 : 0

  statement {
    sid       = "OwnRules"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.interruptions[0].arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in aws_cloudwatch_event_rule.interruptions : rule.arn]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.interruptions[0].arn]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "interruptions" {
  count = var.features.interruptions ? 1 : 0

  queue_url = aws_sqs_queue.interruptions[0].url
  policy    = data.aws_iam_policy_document.queue[0].json
}
