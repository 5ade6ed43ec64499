# What a cache client may do: read, write, delete and list below its prefix; a test holds the list to what the client calls.
#
# There are two roles because a condition on an object's name cannot hold for a listing: `storage.objects.list` is
# asked of the bucket, whose name no object's prefix matches, so that a role with both, bound with that condition,
# could not list at all. A client thus sees the names of other prefixes, not their content: one more reason for a
# bucket of its own.

resource "google_project_iam_custom_role" "entries" {
  project     = var.project
  role_id     = "${var.role_id}Entries"
  title       = "tiercache: entries"
  description = "Read, write and delete cache entries"

  # Writing over an object takes delete as well as create.
  permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get"]
}

resource "google_project_iam_custom_role" "list" {
  project     = var.project
  role_id     = "${var.role_id}List"
  title       = "tiercache: listing"
  description = "List cache entries"
  permissions = ["storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "entries" {
  for_each = var.members

  bucket = google_storage_bucket.cache.name
  role   = google_project_iam_custom_role.entries.name
  member = each.value

  condition {
    title       = "tiercache entries"
    description = "Objects below ${local.prefix == "" ? "the bucket" : local.prefix}"
    expression  = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.cache.name}/objects/${local.prefix}\")"
  }
}

resource "google_storage_bucket_iam_member" "list" {
  for_each = var.members

  bucket = google_storage_bucket.cache.name
  role   = google_project_iam_custom_role.list.name
  member = each.value
}
