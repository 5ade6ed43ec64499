# What S3 deletes by itself. It counts whole days and rounds up, so that nothing goes before its time.

resource "aws_s3_bucket_lifecycle_configuration" "cache" {
  bucket = aws_s3_bucket.cache.id

  # The parts of an upload that was never finished are billed, and no listing shows them.
  rule {
    id     = "abort-incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = var.expire_after_days == null ? [] : [var.expire_after_days]

    content {
      id     = "expire-entries"
      status = "Enabled"

      filter {
        prefix = local.prefix
      }

      expiration {
        days = rule.value
      }
    }
  }
}
