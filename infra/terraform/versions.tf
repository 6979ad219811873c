# Exact versions: an apply next year does what it did today. Raise them on purpose, and read the plan.
terraform {
  required_version = ">= 1.9, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "6.50.0"
    }
  }

  # State holds no secret values, but it is who owns what: keep it in a bucket, `terraform init -backend-config=bucket=…`.
  backend "gcs" {
    prefix = "kuznia/platform"
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

data "google_project" "this" {
  project_id = var.project
}
