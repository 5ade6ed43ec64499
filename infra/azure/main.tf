# The account and its container: private, encrypted twice, reached by TLS 1.2 only, without keys, one version of each blob.

locals {
  prefix     = var.prefix == "" || endswith(var.prefix, "/") ? var.prefix : "${var.prefix}/"
  restricted = length(var.allowed_subnet_ids) + length(var.allowed_ip_ranges) > 0
}

resource "azurerm_storage_account" "cache" {
  name                = var.account_name
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = "LRS" # what a cache loses it computes again
  access_tier              = var.access_tier

  https_traffic_only_enabled = true
  min_tls_version            = "TLS1_2"

  # A key opens the whole account and has no role: clients come with their identity.
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  public_network_access_enabled     = var.public_network_access

  # Without a delete_retention_policy, neither blobs nor containers are kept after their deletion: what expired
  # would still be billed.
  blob_properties {
    # Every overwrite of an entry would keep the old one, and be billed for it.
    versioning_enabled       = false
    change_feed_enabled      = false
    last_access_time_enabled = false
  }

  dynamic "network_rules" {
    for_each = local.restricted ? [true] : []

    content {
      default_action             = "Deny"
      bypass                     = ["None"]
      ip_rules                   = var.allowed_ip_ranges
      virtual_network_subnet_ids = var.allowed_subnet_ids
    }
  }

  dynamic "identity" {
    for_each = var.customer_managed_key == null ? [] : [var.customer_managed_key.user_assigned_identity_id]

    content {
      type         = "UserAssigned"
      identity_ids = [identity.value]
    }
  }

  dynamic "customer_managed_key" {
    for_each = var.customer_managed_key == null ? [] : [var.customer_managed_key]

    content {
      key_vault_key_id          = customer_managed_key.value.key_vault_key_id
      user_assigned_identity_id = customer_managed_key.value.user_assigned_identity_id
    }
  }
}

resource "azurerm_storage_container" "cache" {
  name                  = var.container_name
  storage_account_id    = azurerm_storage_account.cache.id # through Resource Manager: the account has no key to use
  container_access_type = "private"
}
