# What a caller chooses.

variable "bucket_name" {
  description = "Name of the bucket to make. It belongs to the cache alone."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name)) && !endswith(var.bucket_name, "--x-s3")
    error_message = "bucket_name must have 3 to 63 characters of a-z, 0-9 and '-', begin and end with a letter or digit, and not be a directory bucket ('--x-s3'). Dots break TLS for bucket addresses."
  }
}

variable "prefix" {
  description = "What the names of all entries start with, as given to S3Backend; a '/' is added at its end."
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

variable "storage_class" {
  description = "Class of new objects, as given to S3Backend. It is the client's choice: the bucket has none of its own."
  type        = string
  default     = "STANDARD"
  nullable    = false

  validation {
    condition     = contains(["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"], var.storage_class)
    error_message = "storage_class must be one that answers at once: STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR or REDUCED_REDUNDANCY."
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

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the objects; null: keys that S3 manages (SSE-S3)."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (arn:aws:kms:REGION:ACCOUNT:key/ID), not of an alias."
  }
}

variable "role_names" {
  description = "Names of the IAM roles that run a cache client; each gets the policy."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "user_names" {
  description = "Names of IAM users that run a cache client; each gets the policy. Prefer roles: they have no keys that last."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes a bucket that still holds entries."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
  nullable    = false
}
