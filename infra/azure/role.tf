# What a cache client may do: read, write, delete and list in its container; a test holds the list to what the client calls.

resource "azurerm_role_definition" "client" {
  name              = "tiercache client of ${var.account_name}/${var.container_name}"
  description       = "Read, write, delete and list cache entries"
  scope             = azurerm_storage_account.cache.id
  assignable_scopes = [azurerm_storage_account.cache.id]

  permissions {
    actions = []

    data_actions = [
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",  # listing, too
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write", # `add/action` would create, but not overwrite
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    ]
  }
}

resource "azurerm_role_assignment" "client" {
  for_each = var.principal_ids

  scope              = azurerm_storage_container.cache.id
  role_definition_id = azurerm_role_definition.client.role_definition_resource_id
  principal_id       = each.value
}
