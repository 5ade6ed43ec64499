# What Azure deletes by itself, once a day. Blobs carry no time of their own there: the age since writing counts.

resource "azurerm_storage_management_policy" "cache" {
  count = var.expire_after_days == null ? 0 : 1

  storage_account_id = azurerm_storage_account.cache.id

  rule {
    # The name that AzureBlobBackend.apply_lifecycle gives it and finds it by.
    name    = "tiercache${substr(sha256("${azurerm_storage_container.cache.name}/${local.prefix}"), 0, 16)}"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${azurerm_storage_container.cache.name}/${local.prefix}"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = var.expire_after_days
      }
    }
  }
}
