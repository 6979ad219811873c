# The platform's own pods. The front, or the platform as a whole, keeps a disk; the others keep nothing.
locals {
  keeper   = contains(keys(var.parts), "platform") ? "platform" : "front"
  services = [for part in keys(var.parts) : part if !contains(["platform", "front", "reconciler"], part)]
  pushed   = [for service in local.services : service if var.parts[service].pushed]
  worker   = ["tini", "--", "python", "-m", "services.worker"]

  commands = merge(
    { (local.keeper) = ["tini", "--", "kuznia", "up"] },
    { for service in local.services : service => concat(local.worker, ["pull", service]) if !var.parts[service].pushed },
    { for part in ["reconciler"] : part => concat(local.worker, ["reconcile"], local.pushed) if var.delivery == "push" },
  )

  # Who is pushed to cannot say itself what it hears, as it is not there before something was said.
  before = { for part in ["reconciler"] : part => concat(local.worker, ["subscribe"], local.pushed) if var.delivery == "push" }

  environment = merge({
    GOOGLE_CLOUD_PROJECT      = var.project
    KUZNIA_PROFILE            = "gcp"
    KUZNIA_HOST               = "0.0.0.0"
    KUZNIA_FIRESTORE_DATABASE = var.firestore_database
    KUZNIA_ARTIFACTS          = var.artifacts
    }, local.keeper == "platform" ? {} : {
    KUZNIA_CLUSTER           = "kubernetes"
    KUZNIA_K8S_TRAINER_IMAGE = var.trainer_image
    }, var.hub_secret == "" ? {} : {
    KUZNIA_K8S_HF_SECRET = "hub"
  }, var.environment)

  own_environment = { front = { KUZNIA_SERVICES = "none" } }
  default_size    = { cpu = "250m", memory = "512Mi", gpus = 0 }
}

resource "kubernetes_persistent_volume_claim_v1" "home" {
  metadata {
    name      = "${local.keeper}-home"
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = local.labels
  }

  spec {
    access_modes       = ["ReadWriteOnce"]
    storage_class_name = "premium-rwo"

    resources {
      requests = { storage = "${var.home_gb}Gi" }
    }
  }

  wait_until_bound = false
}

resource "kubernetes_deployment_v1" "part" {
  for_each = local.commands

  metadata {
    name      = each.key
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = merge(local.labels, { "app.kubernetes.io/name" = each.key })
  }

  spec {
    replicas = 1

    # A home has one owner: the old pod goes before the new one comes. Events wait meanwhile; none is lost.
    strategy {
      type = each.key == local.keeper ? "Recreate" : "RollingUpdate"
    }

    selector {
      match_labels = { "app.kubernetes.io/name" = each.key }
    }

    template {
      metadata {
        labels = merge(local.labels, { "app.kubernetes.io/name" = each.key })
      }

      spec {
        service_account_name             = kubernetes_service_account_v1.part[each.key].metadata[0].name
        automount_service_account_token  = var.parts[each.key].launches
        termination_grace_period_seconds = 60
        enable_service_links             = false

        security_context {
          run_as_non_root        = true
          run_as_user            = "10001"
          run_as_group           = "10001"
          fs_group               = "10001"
          fs_group_change_policy = "OnRootMismatch"

          seccomp_profile {
            type = "RuntimeDefault"
          }
        }

        dynamic "init_container" {
          for_each = { for part, command in local.before : part => command if part == each.key }

          content {
            name    = "subscribe"
            image   = var.image
            command = init_container.value

            security_context {
              allow_privilege_escalation = false
              read_only_root_filesystem  = true

              capabilities {
                drop = ["ALL"]
              }
            }

            dynamic "env" {
              for_each = local.environment

              content {
                name  = env.key
                value = env.value
              }
            }

            resources {
              requests = { cpu = "100m", memory = "256Mi" }
              limits   = { memory = "512Mi" }
            }

            volume_mount {
              name       = "home"
              mount_path = "/var/lib/kuznia"
            }
          }
        }

        # Secrets are mounted readable by all of the pod; this one is wanted by its owner alone, in the home.
        dynamic "init_container" {
          for_each = [for name in keys(var.parts[each.key].secrets) : name if name == "engine-secret"]

          content {
            name    = init_container.value
            image   = var.image
            command = ["install", "-m", "0600", "/etc/kuznia/secrets/${init_container.value}/value", "/var/lib/kuznia/engine.secret"]

            security_context {
              allow_privilege_escalation = false
              read_only_root_filesystem  = true

              capabilities {
                drop = ["ALL"]
              }
            }

            resources {
              requests = { cpu = "10m", memory = "16Mi" }
              limits   = { memory = "64Mi" }
            }

            volume_mount {
              name       = "home"
              mount_path = "/var/lib/kuznia"
            }

            volume_mount {
              name       = "secret-${init_container.value}"
              mount_path = "/etc/kuznia/secrets/${init_container.value}"
              read_only  = true
            }
          }
        }

        container {
          name    = each.key
          image   = var.image
          command = each.value

          security_context {
            allow_privilege_escalation = false
            read_only_root_filesystem  = true

            capabilities {
              drop = ["ALL"]
            }
          }

          dynamic "env" {
            for_each = merge(local.environment, lookup(local.own_environment, each.key, {}))

            content {
              name  = env.key
              value = env.value
            }
          }

          resources {
            requests = {
              cpu    = lookup(var.resources, each.key, local.default_size).cpu
              memory = lookup(var.resources, each.key, local.default_size).memory
            }

            limits = merge(
              { memory = lookup(var.resources, each.key, local.default_size).memory },
              lookup(var.resources, each.key, local.default_size).gpus > 0 ? { "nvidia.com/gpu" = tostring(lookup(var.resources, each.key, local.default_size).gpus) } : {},
            )
          }

          dynamic "port" {
            for_each = each.key == local.keeper ? { console = 8500, gateway = 8600 } : {}

            content {
              name           = port.key
              container_port = port.value
            }
          }

          dynamic "startup_probe" {
            for_each = each.key == local.keeper ? ["console"] : []

            content {
              period_seconds    = 2
              failure_threshold = 60

              http_get {
                path = "/readyz"
                port = startup_probe.value
              }
            }
          }

          dynamic "readiness_probe" {
            for_each = each.key == local.keeper ? ["console"] : []

            content {
              period_seconds = 5

              http_get {
                path = "/readyz"
                port = readiness_probe.value
              }
            }
          }

          dynamic "liveness_probe" {
            for_each = each.key == local.keeper ? ["console"] : []

            content {
              period_seconds    = 10
              failure_threshold = 6

              http_get {
                path = "/healthz"
                port = liveness_probe.value
              }
            }
          }

          volume_mount {
            name       = "home"
            mount_path = "/var/lib/kuznia"
          }

          volume_mount {
            name       = "tmp"
            mount_path = "/tmp"
          }

          dynamic "volume_mount" {
            for_each = var.parts[each.key].secrets

            content {
              name       = "secret-${replace(lower(volume_mount.key), "_", "-")}"
              mount_path = "/etc/kuznia/secrets/${volume_mount.key}"
              read_only  = true
            }
          }
        }

        dynamic "volume" {
          for_each = each.key == local.keeper ? [kubernetes_persistent_volume_claim_v1.home.metadata[0].name] : []

          content {
            name = "home"

            persistent_volume_claim {
              claim_name = volume.value
            }
          }
        }

        dynamic "volume" {
          for_each = each.key == local.keeper ? [] : ["home"]

          content {
            name = volume.value

            empty_dir {
              size_limit = "1Gi"
            }
          }
        }

        dynamic "volume" {
          for_each = var.parts[each.key].secrets

          content {
            name = "secret-${replace(lower(volume.key), "_", "-")}"

            csi {
              driver            = "secrets-store-gke.csi.k8s.io"
              read_only         = true
              volume_attributes = { secretProviderClass = kubernetes_manifest.secret[volume.key].manifest.metadata.name }
            }
          }
        }

        volume {
          name = "tmp"

          empty_dir {
            size_limit = "10Gi"
          }
        }

        dynamic "toleration" {
          for_each = lookup(var.resources, each.key, local.default_size).gpus > 0 ? ["nvidia.com/gpu", "cloud.google.com/gke-spot"] : []

          content {
            key      = toleration.value
            operator = "Exists"
            effect   = "NoSchedule"
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [metadata[0].annotations]
  }
}

# Inside the cluster only; the outside comes by an ingress or a gateway of your own, with TLS and, for the console, sign-in.
resource "kubernetes_service_v1" "front" {
  metadata {
    name      = "kuznia"
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = local.labels
  }

  spec {
    type     = "ClusterIP"
    selector = { "app.kubernetes.io/name" = local.keeper }

    port {
      name        = "console"
      port        = 8500
      target_port = "console"
    }

    port {
      name        = "gateway"
      port        = 8600
      target_port = "gateway"
    }
  }
}

# Google's managed Prometheus asks the console for what the doctor found; an alert watches it.
resource "kubernetes_manifest" "monitoring" {
  manifest = {
    apiVersion = "monitoring.googleapis.com/v1"
    kind       = "PodMonitoring"

    metadata = {
      name      = "kuznia"
      namespace = kubernetes_namespace_v1.platform.metadata[0].name
      labels    = local.labels
    }

    spec = {
      selector  = { matchLabels = { "app.kubernetes.io/name" = local.keeper } }
      endpoints = [{ port = "console", path = "/metrics", interval = "60s" }]
    }
  }
}

# The platform's pods are called by whom the installation lets in, at the front's two ports; workers by nobody.
resource "kubernetes_network_policy_v1" "platform" {
  metadata {
    name      = "platform"
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = local.labels
  }

  spec {
    policy_types = ["Ingress"]

    pod_selector {}
  }
}

resource "kubernetes_network_policy_v1" "front" {
  metadata {
    name      = "front"
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = local.labels
  }

  spec {
    policy_types = ["Ingress"]

    pod_selector {
      match_labels = { "app.kubernetes.io/name" = local.keeper }
    }

    ingress {
      ports {
        port     = "console"
        protocol = "TCP"
      }

      ports {
        port     = "gateway"
        protocol = "TCP"
      }
    }
  }
}
