# What Cloud Storage deletes by itself. The first and the last are the rules that GCSBackend.apply_lifecycle makes,
# which thus finds nothing to change.

locals {
  # GCSBackend sets an object's custom time to the end of its entry, so that one rule is a ttl for each object.
  expired = { action = "Delete", age = null, days_since_custom_time = 0, with_state = null }

  # The parts of an upload that was never finished are billed, and no listing shows them.
  unfinished = { action = "AbortIncompleteMultipartUpload", age = 1, days_since_custom_time = null, with_state = null }

  old = {
    action                 = "Delete"
    age                    = var.expire_after_days
    days_since_custom_time = null
    with_state             = local.prefix == "" ? "LIVE" : null # as all are here: it tells our rule from those of others
  }

  lifecycle_rules = concat([local.expired, local.unfinished], var.expire_after_days == null ? [] : [local.old])
}
