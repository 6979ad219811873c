{{- define "llama-factory-api.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "llama-factory-api.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The model's id in the registry: team-x/llm-qa-v1 is team-x.llm-qa.v1, and a version behind `@` is no part of it. */ -}}
{{- define "llama-factory-api.modelId" -}}
{{- $said := regexReplaceAll "-v([0-9]+)$" (regexReplaceAll "@.*$" .Values.model.id "" | replace "/" ".") ".v${1}" -}}
{{- default $said .Values.model.registry.modelId -}}
{{- end -}}

{{- define "llama-factory-api.selectorLabels" -}}
app.kubernetes.io/name: {{ include "llama-factory-api.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* Of pods: without the chart's version, which makes no new pods. */ -}}
{{- define "llama-factory-api.podLabels" -}}
{{ include "llama-factory-api.selectorLabels" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.model.version | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/component: engine
app.kubernetes.io/part-of: kuznia
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- $id := include "llama-factory-api.modelId" . }}
{{- $own := dict "kuznia.dev/tenant" (splitList "." $id | first | trunc 63) "kuznia.dev/model" ($id | trunc 63 | trimAll "-._") }}
{{ mergeOverwrite $own .Values.commonLabels | toYaml }}
{{- end -}}

{{- define "llama-factory-api.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "llama-factory-api.podLabels" . }}
{{- end -}}

{{- /* metadata of an object; takes root and name, and more annotations and labels. */ -}}
{{- define "llama-factory-api.metadata" -}}
name: {{ .name }}
namespace: {{ default .root.Release.Namespace .namespace }}
labels:
  {{- include "llama-factory-api.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default dict .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "llama-factory-api.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "llama-factory-api.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "engine" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Takes image, repository and tag: what stands in for an empty one. */ -}}
{{- define "llama-factory-api.image" -}}
{{- $repository := default .repository .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .tag .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "llama-factory-api.fetchImage" -}}
{{- include "llama-factory-api.image" (dict "image" .Values.fetch.image "repository" "kuznia-control" "tag" .Chart.AppVersion) -}}
{{- end -}}

{{- define "llama-factory-api.engineImage" -}}
{{- if eq .Values.engine "vllm" -}}
{{- include "llama-factory-api.image" (dict "image" .Values.image "repository" "vllm/vllm-openai" "tag" "v0.33.0") -}}
{{- else -}}
{{- include "llama-factory-api.image" (dict "image" .Values.image "repository" "kuznia-engine" "tag" .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
