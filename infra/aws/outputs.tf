# What a client is configured with.

locals {
  arguments = join(", ", concat(
    [jsonencode(aws_s3_bucket.cache.bucket), "prefix=${jsonencode(local.prefix)}", "region=${jsonencode(aws_s3_bucket.cache.bucket_region)}"],
    var.storage_class == "STANDARD" ? [] : ["storage_class=${jsonencode(var.storage_class)}"],
  ))
  path = join("/", [for part in split("/", local.prefix) : replace(urlencode(part), "+", "%20")])
}

output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.cache.bucket
}

output "prefix" {
  description = "The prefix, with its '/'."
  value       = local.prefix
}

output "policy_arn" {
  description = "ARN of the client's policy, to attach it to more roles."
  value       = aws_iam_policy.client.arn
}

output "policy_json" {
  description = "The client's policy, for accounts whose policies are made elsewhere."
  value       = aws_iam_policy.client.policy
}

output "tier_chain" {
  description = "Python: the chain to give to Cache."
  value       = <<-EOT
    from tiercache import MemoryBackend, TierChain
    from tiercache_s3 import S3Backend

    chain = TierChain(
        MemoryBackend("256MiB"),
        S3Backend(${local.arguments}),
    )
  EOT
}

output "url" {
  description = "The same tier as an address, for TierChain.from_urls."
  value = join("", [
    "s3://${aws_s3_bucket.cache.bucket}/${local.path}",
    "?region=${aws_s3_bucket.cache.bucket_region}",
    var.storage_class == "STANDARD" ? "" : "&storage_class=${var.storage_class}",
  ])
}
