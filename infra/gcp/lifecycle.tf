# What Cloud Storage deletes by itself.

locals {
  # GCSBackend sets an object's custom time to the end of its entry, so that one rule is a ttl for each object.
  expired = { action = "Delete", age = null, days_since_custom_time = 0 }

  # The parts of an upload that was never finished are billed, and no listing shows them.
  unfinished = { action = "AbortIncompleteMultipartUpload", age = 1, days_since_custom_time = null }

  lifecycle_rules = concat(
    [local.expired, local.unfinished],
    var.expire_after_days == null ? [] : [{ action = "Delete", age = var.expire_after_days, days_since_custom_time = null }],
  )
}
