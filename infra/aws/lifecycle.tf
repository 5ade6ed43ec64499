# What S3 deletes by itself, in whole days, rounded up: nothing goes before its time. It is the rule that
# S3Backend.apply_lifecycle makes, which thus finds nothing to change.

resource "aws_s3_bucket_lifecycle_configuration" "cache" {
  bucket = aws_s3_bucket.cache.id

  rule {
    id     = "tiercache:${local.prefix}"
    status = "Enabled"

    filter {
      prefix = local.prefix
    }

    dynamic "expiration" {
      for_each = var.expire_after_days == null ? [] : [var.expire_after_days]

      content {
        days = expiration.value
      }
    }

    # The parts of an upload that was never finished are billed, and no listing shows them.
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}
