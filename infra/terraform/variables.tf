variable "project" {
  description = "Id of the Google Cloud project that everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project id: 6 to 30 small letters, digits and hyphens."
  }
}

variable "region" {
  description = "Region of all that is regional: cluster, buckets, images, Cloud Run."
  type        = string
  default     = "europe-west4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west4, not a zone."
  }
}

variable "name" {
  description = "What the names of what is made begin with."
  type        = string
  default     = "kuznia"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{1,10}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 12 small letters, digits and hyphens: names of service accounts hold 30."
  }
}

variable "labels" {
  description = "Labels of everything that takes some; the bill can be read by them."
  type        = map(string)
  default     = {}
}

variable "layout" {
  description = "together: all services in one pod, under one account. apart: a pod, or a Cloud Run service, and an account each."
  type        = string
  default     = "together"

  validation {
    condition     = contains(["together", "apart"], var.layout)
    error_message = "layout must be together or apart."
  }
}

variable "delivery" {
  description = "pull: services in the cluster lease events by StreamingPull. push: Pub/Sub pushes them to Cloud Run, where nothing runs while nothing happens."
  type        = string
  default     = "pull"

  validation {
    condition     = contains(["pull", "push"], var.delivery)
    error_message = "delivery must be pull or push."
  }

  validation {
    condition     = var.delivery == "pull" || (var.layout == "apart" && var.control_image != "")
    error_message = "delivery = \"push\" needs layout = \"apart\", and control_image, as Cloud Run starts it at once."
  }
}

variable "control_image" {
  description = "The control image by digest, for Cloud Run; empty where delivery is pull."
  type        = string
  default     = ""

  validation {
    condition     = var.control_image == "" || can(regex("@sha256:[0-9a-f]{64}$", var.control_image))
    error_message = "control_image must end in @sha256:<64 hex digits>: a tag may be moved."
  }
}

variable "tenants" {
  description = "Tenants, as model.yaml names them. Each gets accounts, namespaces and a part of the artifact bucket of its own."
  type        = set(string)

  validation {
    condition     = alltrue([for tenant in var.tenants : can(regex(local.catalog_tenant_pattern, tenant))])
    error_message = "A tenant has 1 to 40 small letters, digits and hyphens, begins with a letter and does not end with a hyphen."
  }

  validation {
    condition     = length(setintersection(var.tenants, [for tenant in var.tenants : "${tenant}-api"])) == 0
    error_message = "Of tenants a and a-api the namespaces would collide: <tenant>-api is where a tenant's models answer."
  }

  validation {
    condition = alltrue([
      for tenant in var.tenants : !contains(["default", "kuznia"], tenant) && !startswith(tenant, "kube-") && !startswith(tenant, "gke-") && !startswith(tenant, "gmp-")
    ])
    error_message = "default, kuznia and what begins with kube-, gke- or gmp- are namespaces of others."
  }
}

variable "firestore_database" {
  description = "Name of the Firestore database. (default) has the free quota; another name lets two installations share a project."
  type        = string
  default     = "(default)"

  validation {
    condition     = var.firestore_database == "(default)" || can(regex("^[a-z][-a-z0-9]{2,61}[a-z0-9]$", var.firestore_database))
    error_message = "firestore_database must be (default), or 4 to 63 small letters, digits and hyphens."
  }
}

variable "firestore_location" {
  description = "Where Firestore keeps the registry; it can never be changed. eur3 and nam5 are multi-region."
  type        = string
  default     = "eur3"
}

variable "artifact_history_days" {
  description = "Days for which an overwritten or deleted object of the artifact bucket can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.artifact_history_days >= 7 && var.artifact_history_days <= 3650
    error_message = "artifact_history_days must be 7 to 3650."
  }
}

variable "audit_retention_days" {
  description = "Days for which nobody can delete an audit record. The AI Act asks for 6 months of logs; technical files are kept 10 years."
  type        = number
  default     = 400

  validation {
    condition     = var.audit_retention_days >= 183 && var.audit_retention_days <= 36500
    error_message = "audit_retention_days must be 183 (6 months) to 36500."
  }
}

variable "audit_locked" {
  description = "Lock the retention: it can then never be shortened, by nobody, and the bucket not be deleted before it is over."
  type        = bool
  default     = false
}

variable "cpu_machine_type" {
  description = "Machine of the CPU pool, which carries the platform, and training on CPU."
  type        = string
  default     = "e2-standard-4"
}

variable "cpu_max_nodes" {
  description = "Most nodes of the CPU pool, over all zones together."
  type        = number
  default     = 3

  validation {
    condition     = var.cpu_max_nodes >= 1 && var.cpu_max_nodes <= 100
    error_message = "cpu_max_nodes must be 1 to 100."
  }
}

variable "zones" {
  description = "Zones of the nodes, in the region; not every zone has every GPU."
  type        = list(string)

  validation {
    condition     = length(var.zones) > 0 && alltrue([for zone in var.zones : startswith(zone, "${var.region}-")])
    error_message = "zones must name at least one zone of the region, such as europe-west4-a."
  }
}

variable "gpu_pools" {
  description = "GPU pools by name; each goes down to no node at all. spot: a third of the price, may be taken away; training goes on from its last checkpoint."
  type = map(object({
    machine_type = string
    accelerator  = string
    count        = optional(number, 1)
    max_nodes    = optional(number, 2)
    spot         = optional(bool, true)
    disk_gb      = optional(number, 200)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.gpu_pools) : can(regex("^[a-z][-a-z0-9]{0,24}[a-z0-9]$", name))])
    error_message = "Names of GPU pools have 2 to 26 small letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for pool in var.gpu_pools : pool.count >= 1 && pool.max_nodes >= 1 && pool.disk_gb >= 50])
    error_message = "A GPU pool needs count and max_nodes of 1 at least, and disk_gb of 50: a trainer image has 15."
  }
}

variable "operators" {
  description = "Who may reach the cluster and act on records, such as group:ops@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount):[^@]+@[^@]+$", member))])
    error_message = "operators are user:…, group:… or serviceAccount:…; nobody public."
  }
}

variable "secrets" {
  description = "Secrets, made empty: name -> parts (of the platform) and tenants that may read it. Values are added by hand, never here."
  type = map(object({
    parts   = optional(set(string), [])
    tenants = optional(set(string), [])
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex("^[a-zA-Z0-9_-]{1,200}$", name)) && name != "engine-secret"])
    error_message = "Names of secrets have 1 to 200 letters, digits, hyphens and underscores; engine-secret is made where it is needed."
  }

  validation {
    condition     = alltrue([for secret in var.secrets : length(setsubtract(secret.tenants, var.tenants)) == 0])
    error_message = "secrets names a tenant that tenants does not."
  }

  validation {
    condition     = alltrue([for secret in var.secrets : length(setsubtract(secret.parts, keys(local.parts))) == 0])
    error_message = "secrets names a part that there is not: platform where layout is together, else front and the services."
  }
}

variable "events_url" {
  description = "Where this installation's POST /events is reached from outside, such as https://kuznia.example.com/events: the artifact bucket then tells it what was written. Empty: it tells nobody, and pods speak for themselves."
  type        = string
  default     = ""

  validation {
    condition     = var.events_url == "" || can(regex("^https://[^/?#@ ]+(/[^?# ]*)?${local.catalog_notification.path}$", var.events_url))
    error_message = "events_url must be an https:// URL that ends in /events."
  }
}

variable "environment" {
  description = "More variables of the services on Cloud Run, the same as in infra/terraform/cluster, such as KUZNIA_DATA_ROOTS. Never a secret."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY", upper(name))) || can(regex("_(PATH|FILE)$", upper(name)))])
    error_message = "A secret must not stand in environment: it would lie in state and in the service's description."
  }
}

variable "alert_emails" {
  description = "Who is told when an alert fires."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alert_emails must be mail addresses."
  }
}

variable "oldest_unacked_seconds" {
  description = "An event that nobody took for so long fires an alert."
  type        = number
  default     = 300

  validation {
    condition     = var.oldest_unacked_seconds >= 60
    error_message = "oldest_unacked_seconds must be 60 at least: Pub/Sub measures once a minute."
  }
}

variable "billing_account" {
  description = "Billing account of the budget, such as 012345-6789AB-CDEF01; empty: no budget is made."
  type        = string
  default     = ""

  validation {
    condition     = var.billing_account == "" || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account must look like 012345-6789AB-CDEF01."
  }
}

variable "monthly_budget" {
  description = "Amount a month, in currency, at half of which, nine tenths, and all, mails are sent. It stops nothing."
  type        = number
  default     = 500

  validation {
    condition     = var.monthly_budget >= 1
    error_message = "monthly_budget must be 1 at least."
  }
}

variable "currency" {
  description = "Currency of the billing account."
  type        = string
  default     = "EUR"

  validation {
    condition     = can(regex("^[A-Z]{3}$", var.currency))
    error_message = "currency must be three capitals such as EUR."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete cluster, registry and buckets with content."
  type        = bool
  default     = true
}
