# Build logs. The bucket outlives everything else: destroying it fails while it holds a log.

resource "aws_s3_bucket" "logs" {
  #checkov:skip=CKV_AWS_145:S3's own key encrypts it. A key of its own costs by the month and by the request.
  #checkov:skip=CKV_AWS_21:A log that was deleted must be gone, not kept as a version.
  #checkov:skip=CKV_AWS_18:Access logs of build logs would be larger than they; CloudTrail's data events can be turned on where they are needed.
  #checkov:skip=CKV_AWS_144:Build logs can be made again by building again; a copy in another region doubles their price.
  #checkov:skip=CKV2_AWS_62:Nobody waits for a log object; followers read the API.
  count = var.features.logs ? 1 : 0

  # Bucket names are global, so AWS completes it.
  bucket_prefix = "${var.name}-logs-"
  force_destroy = false
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "logs" {
  count = var.features.logs ? 1 : 0

  bucket                  = aws_s3_bucket.logs[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "logs" {
  count = var.features.logs ? 1 : 0

  bucket = aws_s3_bucket.logs[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  count = var.features.logs ? 1 : 0

  bucket = aws_s3_bucket.logs[0].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  count = var.features.logs ? 1 : 0

  bucket = aws_s3_bucket.logs[0].id

  rule {
    id     = "age"
    status = "Enabled"
    filter {}

    transition {
      days          = var.log_cold_days
      storage_class = "STANDARD_IA"
    }

    expiration {
      days = var.log_days
    }

    # Parts of uploads that a killed orchestrator never finished.
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  lifecycle {
    precondition {
      condition     = var.log_days > var.log_cold_days
      error_message = "log_days must be more than log_cold_days, or logs are deleted before they move."
    }
  }
}

data "aws_iam_policy_document" "logs" {
  count = var.features.logs ? 1 : 0

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.logs[0].arn, "${aws_s3_bucket.logs[0].arn}/*"]
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

resource "aws_s3_bucket_policy" "logs" {
  count = var.features.logs ? 1 : 0

  bucket = aws_s3_bucket.logs[0].id
  policy = data.aws_iam_policy_document.logs[0].json

  # A policy put at the same moment as the block can be refused.
  depends_on = [aws_s3_bucket_public_access_block.logs]
}
