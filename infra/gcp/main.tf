# The bucket: private, encrypted, one version of each object, nothing kept after its deletion.
#
# Cloud Storage has no setting of a bucket for TLS: its clients speak HTTPS, and an organisation's policy
# `constraints/gcp.restrictTLSVersion` refuses old versions of it.

locals {
  prefix = var.prefix == "" || endswith(var.prefix, "/") ? var.prefix : "${var.prefix}/"
}

resource "google_storage_bucket" "cache" {
  project       = var.project
  name          = var.bucket_name
  location      = var.location
  storage_class = var.storage_class
  force_destroy = var.force_destroy
  labels        = var.labels

  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true # conditions on names need it, too

  # Every overwrite of an entry would keep the old one, and be billed for it; what a cache loses it computes again.
  versioning {
    enabled = false
  }

  # On by default for 7 days, in which everything that expired is still billed.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  dynamic "encryption" {
    for_each = var.kms_key_name == null ? [] : [var.kms_key_name]

    content {
      default_kms_key_name = encryption.value
    }
  }

  dynamic "lifecycle_rule" {
    for_each = local.lifecycle_rules

    content {
      action {
        type = lifecycle_rule.value.action
      }

      condition {
        age                                 = lifecycle_rule.value.age
        days_since_custom_time              = lifecycle_rule.value.days_since_custom_time
        send_days_since_custom_time_if_zero = lifecycle_rule.value.days_since_custom_time == 0
        matches_prefix                      = compact([local.prefix])
        with_state                          = lifecycle_rule.value.with_state
      }
    }
  }
}
