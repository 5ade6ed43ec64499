# What a caller chooses.

variable "project" {
  description = "ID of the project; null: the provider's."
  type        = string
  default     = null
}

variable "bucket_name" {
  description = "Name of the bucket to make. It belongs to the cache alone."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name must have 3 to 63 characters of a-z, 0-9, '-' and '_', and begin and end with a letter or digit. Names with dots need a domain of yours."
  }
}

variable "location" {
  description = "A region near the clients, such as europe-west3: reads from another one cost traffic and time."
  type        = string
}

variable "prefix" {
  description = "What the names of all entries start with, as given to GCSBackend; a '/' is added at its end."
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
  description = "Class of the bucket and of new objects, as given to GCSBackend. All answer at once; all but STANDARD bill a minimum time."
  type        = string
  default     = "STANDARD"
  nullable    = false

  validation {
    condition     = contains(["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"], var.storage_class)
    error_message = "storage_class must be STANDARD, NEARLINE, COLDLINE or ARCHIVE."
  }
}

variable "expire_after_days" {
  description = "Whole days after which any entry is deleted, counted from its writing, beside the time that each entry carries. null: the entry's own time alone."
  type        = number
  default     = null

  validation {
    condition     = var.expire_after_days == null ? true : var.expire_after_days >= 1 && floor(var.expire_after_days) == var.expire_after_days
    error_message = "expire_after_days must be a whole number of days, 1 or more, or null."
  }
}

variable "kms_key_name" {
  description = "The Cloud KMS key that encrypts the objects (projects/P/locations/L/keyRings/R/cryptoKeys/K); null: Google's own. The project's Cloud Storage service agent needs roles/cloudkms.cryptoKeyEncrypterDecrypter on it first."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_name == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key_name))
    error_message = "kms_key_name must be projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "members" {
  description = "Who runs a cache client: \"serviceAccount:…\", \"principalSet:…\", \"group:…\"; each gets the two roles on the bucket."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for member in var.members : can(regex("^(serviceAccount|user|group|principal|principalSet):.+$", member))])
    error_message = "members must begin with serviceAccount:, user:, group:, principal: or principalSet:; a cache is never for allUsers."
  }
}

variable "role_id" {
  description = "What the IDs of the project's two custom roles start with; another one for each use of this module in a project."
  type        = string
  default     = "tiercache"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.]{3,48}$", var.role_id))
    error_message = "role_id must have 3 to 48 characters of A-Z, a-z, 0-9, '_' and '.'."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes a bucket that still holds entries."
  type        = bool
  default     = false
  nullable    = false
}

variable "labels" {
  description = "Labels of the bucket."
  type        = map(string)
  default     = {}
  nullable    = false
}
