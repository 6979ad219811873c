resource "google_firestore_database" "this" {
  name                              = var.firestore_database
  location_id                       = var.firestore_location
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.deletion_protection ? "ABANDON" : "DELETE"

  depends_on = [google_project_service.this]
}

resource "google_firestore_backup_schedule" "daily" {
  database  = google_firestore_database.this.name
  retention = "604800s"

  daily_recurrence {}
}

resource "google_firestore_index" "this" {
  for_each = local.catalog_indexes

  database    = google_firestore_database.this.name
  collection  = each.value.collection
  query_scope = each.value.scope

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path   = fields.value.path
      order        = fields.value.order
      array_config = fields.value.contains
    }
  }
}

# Fields that are never searched by: an index of them would cost at every write.
resource "google_firestore_field" "unindexed" {
  for_each = local.catalog_unindexed

  database   = google_firestore_database.this.name
  collection = each.value.collection
  field      = each.value.field

  index_config {}
}

# Firestore knows no rights by collection; the condition keeps them to this database.
resource "google_project_iam_member" "registry" {
  for_each = local.parts

  project = var.project
  role    = "roles/datastore.user"
  member  = google_service_account.part[each.key].member

  condition {
    title       = "this registry"
    description = "Only the database of this installation"
    expression  = "resource.name == \"${local.database}\""
  }
}

# What a pod says is written into the ledger before it is published: see docs/deploy-gcp.md, "What a tenant can reach".
resource "google_project_iam_member" "ledger" {
  for_each = var.tenants

  project = var.project
  role    = "roles/datastore.user"
  member  = google_service_account.trainer[each.key].member

  condition {
    title       = "this registry"
    description = "Only the database of this installation"
    expression  = "resource.name == \"${local.database}\""
  }
}
