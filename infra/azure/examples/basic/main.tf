# An account for the cache of one service, whose identity exists; `terraform output -raw tier_chain` prints what to configure.

terraform {
  required_version = ">= 1.5"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.55, < 5.0"
    }
  }
}

provider "azurerm" {
  storage_use_azuread = true # the account takes no keys, Terraform's own requests included

  features {
    storage {
      data_plane_available = false
    }
  }
}

module "cache" {
  source = "../.."

  resource_group_name = "example"
  location            = "westeurope"
  account_name        = "examplellmcache"
  expire_after_days   = 45 # the longest ttl is 30 days
  principal_ids       = ["00000000-0000-0000-0000-000000000000"]
}

output "tier_chain" {
  description = "Python: the chain to give to Cache."
  value       = module.cache.tier_chain
}

output "url" {
  description = "The same tier as an address, for TierChain.from_urls."
  value       = module.cache.url
}
