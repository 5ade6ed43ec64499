# What a caller chooses.

variable "resource_group_name" {
  description = "Resource group that the storage account is made in."
  type        = string
}

variable "location" {
  description = "A region near the clients, such as westeurope: reads from another one cost traffic and time."
  type        = string
}

variable "account_name" {
  description = "Name of the storage account to make. It belongs to the cache alone."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.account_name))
    error_message = "account_name must have 3 to 24 characters of a-z and 0-9."
  }
}

variable "container_name" {
  description = "Name of the container to make."
  type        = string
  default     = "tiercache"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9])+$", var.container_name)) && length(var.container_name) >= 3 && length(var.container_name) <= 63
    error_message = "container_name must have 3 to 63 characters of a-z, 0-9 and single '-', and begin and end with a letter or digit."
  }
}

variable "prefix" {
  description = "What the names of all entries start with, as given to AzureBlobBackend; a '/' is added at its end."
  type        = string
  default     = "tiercache/"
  nullable    = false

  validation {
    condition     = can(regex("^[ -~]*$", var.prefix)) && length(trimsuffix(var.prefix, "/")) <= 113
    error_message = "prefix must be printable ASCII of at most 114 bytes, its last '/' included."
  }

  validation {
    condition     = var.prefix == "" || !anytrue([for part in split("/", trimsuffix(var.prefix, "/")) : contains(["", ".", ".."], part)])
    error_message = "prefix must not begin with '/', nor hold '//', '.' or '..' as a part."
  }

  validation {
    condition     = !can(regex("[*?$'\"\\\\]", var.prefix))
    error_message = "prefix must not hold * ? $ ' \" or \\: they have a meaning in policies."
  }
}

variable "access_tier" {
  description = "Tier of the account and of new blobs, as given to AzureBlobBackend. Archive cannot serve a cache."
  type        = string
  default     = "Hot"
  nullable    = false

  validation {
    condition     = contains(["Hot", "Cool", "Cold"], var.access_tier)
    error_message = "access_tier must be Hot, Cool or Cold: a blob in Archive takes hours to read."
  }
}

variable "expire_after_days" {
  description = "Whole days after which an entry is deleted, counted from its writing: some more than the longest ttl. null keeps entries until the cache deletes them."
  type        = number

  validation {
    condition     = var.expire_after_days == null ? true : var.expire_after_days >= 1 && floor(var.expire_after_days) == var.expire_after_days
    error_message = "expire_after_days must be a whole number of days, 1 or more, or null."
  }
}

variable "customer_managed_key" {
  description = "The Key Vault key that encrypts the account, and the user-assigned identity that may use it; null: Microsoft's own keys."
  type = object({
    key_vault_key_id          = string
    user_assigned_identity_id = string
  })
  default = null
}

variable "principal_ids" {
  description = "Object IDs of the managed identities, service principals or groups that run a cache client; each gets the role on the container."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.principal_ids : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "principal_ids must be object IDs (GUIDs), not names nor application IDs."
  }
}

variable "public_network_access" {
  description = "Whether addresses outside of private endpoints reach the account; each still needs a token."
  type        = bool
  default     = true
  nullable    = false
}

variable "allowed_subnet_ids" {
  description = "Subnets that reach the account. With these and allowed_ip_ranges empty, every address does that has a token."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "allowed_ip_ranges" {
  description = "Public addresses, or ranges of them, that reach the account."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of the storage account."
  type        = map(string)
  default     = {}
  nullable    = false
}
