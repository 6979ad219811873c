# parts, tenants, artifacts and firestore_database come from infra/terraform:
#   terraform -chdir=infra/terraform output -json | jq 'with_entries(.value |= .value) | {parts, tenants, artifacts, firestore_database}' \
#     > infra/terraform/cluster/platform.auto.tfvars.json
project = "my-kuznia-project"
