# A bucket for the cache of one service, whose account exists; `terraform output -raw tier_chain` prints what to configure.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }
}

provider "google" {
  project = "example-project"
}

module "cache" {
  source = "../.."

  bucket_name = "example-llm-cache"
  location    = "europe-west3"
  members     = ["serviceAccount:example-service@example-project.iam.gserviceaccount.com"]
}

output "tier_chain" {
  description = "Python: the chain to give to Cache."
  value       = module.cache.tier_chain
}

output "url" {
  description = "The same tier as an address, for TierChain.from_urls."
  value       = module.cache.url
}
