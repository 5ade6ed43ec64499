# What a client is configured with.

locals {
  arguments = join(", ", concat(
    [jsonencode(google_storage_bucket.cache.name), "prefix=${jsonencode(local.prefix)}"],
    var.storage_class == "STANDARD" ? [] : ["storage_class=${jsonencode(var.storage_class)}"],
  ))
  path = join("/", [for part in split("/", local.prefix) : replace(urlencode(part), "+", "%20")])
}

output "bucket" {
  description = "Name of the bucket."
  value       = google_storage_bucket.cache.name
}

output "prefix" {
  description = "The prefix, with its '/'."
  value       = local.prefix
}

output "role_names" {
  description = "Names of the custom roles, to bind them elsewhere: that of the entries, then that of the listing."
  value       = [google_project_iam_custom_role.entries.name, google_project_iam_custom_role.list.name]
}

output "permissions" {
  description = "All that a client may do."
  value       = setunion(google_project_iam_custom_role.entries.permissions, google_project_iam_custom_role.list.permissions)
}

output "tier_chain" {
  description = "Python: the chain to give to Cache."
  value       = <<-EOT
    from tiercache import MemoryBackend, TierChain
    from tiercache_gcs import GCSBackend

    chain = TierChain(
        MemoryBackend("256MiB"),
        GCSBackend(${local.arguments}),
    )
  EOT
}

output "url" {
  description = "The same tier as an address, for TierChain.from_urls."
  value = join("", [
    "gs://${google_storage_bucket.cache.name}/${local.path}",
    var.storage_class == "STANDARD" ? "" : "?storage_class=${var.storage_class}",
  ])
}
