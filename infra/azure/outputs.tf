# What a client is configured with.

locals {
  arguments = join(", ", concat(
    [jsonencode(azurerm_storage_container.cache.name), "account_url=${jsonencode(local.account_url)}", "prefix=${jsonencode(local.prefix)}"],
    var.access_tier == "Hot" ? [] : ["access_tier=${jsonencode(var.access_tier)}"],
  ))
  path        = join("/", [for part in split("/", local.prefix) : replace(urlencode(part), "+", "%20")])
  account_url = trimsuffix(azurerm_storage_account.cache.primary_blob_endpoint, "/")
}

output "account_url" {
  description = "Address of the account's blobs."
  value       = local.account_url
}

output "container" {
  description = "Name of the container."
  value       = azurerm_storage_container.cache.name
}

output "prefix" {
  description = "The prefix, with its '/'."
  value       = local.prefix
}

output "role_definition_id" {
  description = "ID of the client's role, to assign it to more principals."
  value       = azurerm_role_definition.client.role_definition_resource_id
}

output "data_actions" {
  description = "All that a client may do."
  value       = azurerm_role_definition.client.permissions[0].data_actions
}

output "tier_chain" {
  description = "Python: the chain to give to Cache."
  value       = <<-EOT
    from tiercache import MemoryBackend, TierChain
    from tiercache_azure import AzureBlobBackend

    chain = TierChain(
        MemoryBackend("256MiB"),
        AzureBlobBackend(${local.arguments}),
    )
  EOT
}

output "url" {
  description = "The same tier as an address, for TierChain.from_urls."
  value = join("", [
    "az://${azurerm_storage_container.cache.name}/${local.path}?account_url=${local.account_url}",
    var.access_tier == "Hot" ? "" : "&access_tier=${var.access_tier}",
  ])
}
