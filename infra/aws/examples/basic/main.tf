# A bucket for the cache of one service, whose role exists; `terraform output -raw tier_chain` prints what to configure.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.25, < 7.0"
    }
  }
}

provider "aws" {
  region = "eu-central-1"
}

module "cache" {
  source = "../.."

  bucket_name       = "example-llm-cache"
  expire_after_days = 45 # the longest ttl is 30 days
  role_names        = ["example-service"]
}

output "tier_chain" {
  description = "Python: the chain to give to Cache."
  value       = module.cache.tier_chain
}

output "url" {
  description = "The same tier as an address, for TierChain.from_urls."
  value       = module.cache.url
}
