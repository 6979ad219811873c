# Who there is, and what each may. All of it follows from catalog.tf.json, which is made from the code.
locals {
  labels = merge({ application = "kuznia" }, var.labels)

  # The console, the gateway, the webhooks and `POST /events`: people, other systems and redrives say any event here.
  front = {
    front = {
      hears     = []
      says      = local.catalog_events
      artifacts = "read"
      launches  = true
    }
  }

  # Who launches speaks to the cluster and mirrors nothing on Cloud Run: it pulls, inside, whatever the others do.
  pushed = var.delivery == "push" ? { for name, service in local.catalog_services : name => service if !service.launches } : {}

  # Beside services that are pushed to: does what nobody pushes, in each one's stead, and rings for them again.
  reconciler = var.delivery == "pull" ? {} : {
    reconciler = {
      hears     = []
      says      = distinct(flatten([for service in local.pushed : concat(service.says, service.hears)]))
      artifacts = "write"
      launches  = false
    }
  }

  services = { for name, service in local.catalog_services : name => {
    hears     = service.hears
    says      = service.says
    artifacts = service.artifacts
    launches  = service.launches
  } }

  # What runs under an account of its own.
  parts = var.layout == "apart" ? merge(local.services, local.front, local.reconciler) : {
    platform = {
      hears     = local.catalog_events
      says      = local.catalog_events
      artifacts = "write"
      launches  = true
    }
  }

  # Whose account takes what a service hears.
  part_of = { for name in keys(local.catalog_services) : name => var.layout == "apart" ? name : "platform" }

  publishers = merge([for part, rights in local.parts : { for event in rights.says : "${part}/${event}" => {
    part  = part
    event = event
  } }]...)

  tenant_publishers = merge([for tenant in var.tenants : { for event in local.catalog_pod_events : "${tenant}/${event}" => {
    tenant = tenant
    event  = event
  } }]...)

  # Readable, unique, and never over the 30 characters of an account's id.
  tenant_ids = { for tenant in var.tenants : tenant => "${var.name}-${substr(tenant, 0, 10)}-${substr(sha256(tenant), 0, 4)}" }

  # Apart, who starts engines and who calls them derive the engines' keys of one secret.
  secrets = merge(var.secrets, var.layout == "apart" ? {
    engine-secret = {
      parts   = toset([for part, rights in local.parts : part if rights.launches])
      tenants = toset([])
    }
  } : {})

  # Of each part the secrets that it may read: name -> where Secret Manager has it. All are mounted as files.
  secrets_of = { for part in keys(local.parts) : part => { for name, secret in local.secrets : name => "projects/${var.project}/secrets/${var.name}-${name}" if contains(secret.parts, part) } }

  database = "projects/${var.project}/databases/${var.firestore_database}"
  objects  = "projects/_/buckets/${google_storage_bucket.artifacts.name}/objects/"

  # Pub/Sub itself, which forwards dead letters and signs tokens for pushes.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  # For whom the token of a push is; not the service's own address, which is not known before it is there.
  push_audience = "${var.name}.push.${var.project}"
}
