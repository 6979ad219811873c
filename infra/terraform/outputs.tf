output "artifacts" {
  description = "KUZNIA_ARTIFACTS of the platform."
  value       = "gs://${google_storage_bucket.artifacts.name}"
}

output "images" {
  description = "What names of images begin with."
  value       = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.name}"
}

output "cluster" {
  description = "Name of the cluster."
  value       = google_container_cluster.this.name
}

output "credentials" {
  description = "Makes kubectl find the cluster."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.this.name} --location ${var.region} --project ${var.project} --dns-endpoint"
}

output "firestore_database" {
  description = "KUZNIA_FIRESTORE_DATABASE."
  value       = google_firestore_database.this.name
}

output "parts" {
  description = "Parts of the platform and their accounts: what infra/terraform/cluster wants as `parts`."
  value = { for part, rights in local.parts : part => {
    account  = google_service_account.part[part].email
    launches = rights.launches
    secrets  = local.secrets_of[part]
    pushed   = contains(keys(local.pushed), part)
  } }
}

output "tenants" {
  description = "Accounts and places of each tenant: what infra/terraform/cluster wants as `tenants`."
  value = { for tenant in var.tenants : tenant => {
    trainer   = google_service_account.trainer[tenant].email
    engine    = google_service_account.engine[tenant].email
    artifacts = "gs://${google_storage_bucket.artifacts.name}/tenants/${tenant}"
    secrets   = { for name, secret in var.secrets : name => "projects/${var.project}/secrets/${var.name}-${name}" if contains(secret.tenants, tenant) }
  } }
}

output "bucket_sender" {
  description = "Lets the bucket's word in, once the platform runs; empty without events_url."
  value       = join("", [for key, url in local.told : "kuznia senders add bucket --event ${local.catalog_notification.event} --source ${local.catalog_notification.source}${google_storage_bucket.artifacts.name} --google-account ${google_service_account.bucket[key].email} --audience ${url}"])
}

output "secrets" {
  description = "Names of the secrets that wait for a value."
  value       = sort([for secret in google_secret_manager_secret.this : secret.secret_id])
}
