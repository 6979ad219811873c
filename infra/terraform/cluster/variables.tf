variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Region of the cluster."
  type        = string
  default     = "europe-west4"
}

variable "cluster" {
  description = "Name of the cluster: output `cluster` of infra/terraform."
  type        = string
  default     = "kuznia"
}

variable "image" {
  description = "Image of the platform, by digest: the trainer image where pods are processes of the platform, the control image where the cluster runs them."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must end in @sha256:<64 hex digits>: a tag may be moved."
  }
}

variable "artifacts" {
  description = "Output `artifacts` of infra/terraform."
  type        = string

  validation {
    condition     = startswith(var.artifacts, "gs://")
    error_message = "artifacts must be a gs:// URL."
  }
}

variable "firestore_database" {
  description = "Output `firestore_database` of infra/terraform."
  type        = string
  default     = "(default)"
}

variable "delivery" {
  description = "As in infra/terraform: with push, the event services run on Cloud Run, and here the front and the reconciler."
  type        = string
  default     = "pull"

  validation {
    condition     = contains(["pull", "push"], var.delivery)
    error_message = "delivery must be pull or push."
  }

  validation {
    condition     = (var.delivery == "push") == contains(keys(var.parts), "reconciler")
    error_message = "delivery must be what infra/terraform was applied with: with push its parts have a reconciler."
  }
}

variable "parts" {
  description = "Output `parts` of infra/terraform."
  type = map(object({
    account  = string
    launches = bool
    secrets  = optional(map(string), {})
    pushed   = optional(bool, false)
  }))

  validation {
    condition     = contains(keys(var.parts), "platform") || contains(keys(var.parts), "front")
    error_message = "parts must be the output of infra/terraform: it has platform (together) or front (apart)."
  }
}

variable "tenants" {
  description = "Output `tenants` of infra/terraform."
  type = map(object({
    trainer   = string
    engine    = string
    artifacts = string
    secrets   = optional(map(string), {})
  }))
}

variable "trainer_image" {
  description = "Image of training pods, by digest, where the services are apart: they share no machine, so the cluster runs what they launch."
  type        = string
  default     = ""

  validation {
    condition     = var.trainer_image == "" || can(regex("@sha256:[0-9a-f]{64}$", var.trainer_image))
    error_message = "trainer_image must end in @sha256:<64 hex digits>: a tag may be moved."
  }

  validation {
    condition     = contains(keys(var.parts), "platform") || var.trainer_image != ""
    error_message = "trainer_image must be named where the services are apart: what they launch runs in it."
  }
}

variable "hub_secret" {
  description = "Which of a tenant's secrets opens the model hub: it becomes the Secret `hub` of the tenant's namespace, kept up by GKE itself (its secret sync must be on). Empty: make that Secret by hand, or do without."
  type        = string
  default     = ""

  validation {
    condition     = var.hub_secret == "" || anytrue([for tenant in var.tenants : contains(keys(tenant.secrets), var.hub_secret)])
    error_message = "hub_secret must be a secret that names a tenant in infra/terraform."
  }
}

variable "quotas" {
  description = "The most that pods of a tenant may ask for at once, in each of its two namespaces; a tenant that is not named gets the defaults."
  type = map(object({
    cpu    = optional(string, "16")
    memory = optional(string, "64Gi")
    gpus   = optional(number, 2)
    pods   = optional(number, 50)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.quotas), keys(var.tenants))) == 0
    error_message = "quotas names a tenant that tenants does not."
  }
}

variable "resources" {
  description = "What the pod of a part asks for; parts that are not named ask for little."
  type = map(object({
    cpu    = optional(string, "250m")
    memory = optional(string, "512Mi")
    gpus   = optional(number, 0)
  }))
  default = {
    platform = { cpu = "2", memory = "6Gi" }
  }
}

variable "home_gb" {
  description = "Disk of KUZNIA_HOME, where secrets and logs of the front lie, and what is being trained where pods are its processes."
  type        = number
  default     = 50

  validation {
    condition     = var.home_gb >= 10
    error_message = "home_gb must be 10 at least."
  }
}

variable "environment" {
  description = "More variables of every part, such as KUZNIA_MAX_ATTEMPTS. Never a secret: those are mounted below /etc/kuznia/secrets, and a variable may name the file (HF_TOKEN_PATH)."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY", upper(name))) || can(regex("_(PATH|FILE)$", upper(name)))])
    error_message = "A secret must not stand in environment: it would lie in state and in the pod's description."
  }
}
