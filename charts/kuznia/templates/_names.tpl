{{- define "kuznia.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: kuznia
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Takes root and part: what selects the pods of a part. */ -}}
{{- define "kuznia.selector" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

{{- /* metadata; takes root, name, part (its component), and namespace, labels, annotations where there are more. */ -}}
{{- define "kuznia.metadata" -}}
name: {{ .name }}
{{- if ne (toString .namespace) "none" }}
namespace: {{ default .root.Release.Namespace .namespace }}
{{- end }}
labels:
  {{- include "kuznia.selector" (dict "root" .root "part" .part) | nindent 2 }}
  app.kubernetes.io/component: {{ .part }}
  {{- include "kuznia.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default dict .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "kuznia.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The event services that run as workers: none where one pod runs them all. YAML, by name. */ -}}
{{- define "kuznia.workers" -}}
{{- if eq .Values.layout "apart" -}}
{{ .Files.Get "files/services.yaml" }}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- /* The pod with the disk: front, or the platform as a whole. */ -}}
{{- define "kuznia.keeper" -}}
{{- ternary "front" "platform" (eq .Values.layout "apart") -}}
{{- end -}}

{{- /* Parts, each with its account, and whether it asks the cluster for anything. YAML, by name. */ -}}
{{- define "kuznia.parts" -}}
{{ include "kuznia.keeper" . }}: {launches: true}
{{- if and (eq .Values.layout "apart") (eq .Values.delivery "push") }}
reconciler: {launches: true}
{{- end }}
{{- range $name, $service := include "kuznia.workers" . | fromYaml }}
{{ $name }}: {launches: {{ $service.launches }}}
{{- end }}
{{- end -}}

{{- /* Takes root and part: the Google account that infra/terraform made for it; empty where none is named. */ -}}
{{- define "kuznia.account" -}}
{{- with .root.Values.google -}}
{{- if .accountPrefix -}}
{{- printf "%s-%s@%s.iam.gserviceaccount.com" .accountPrefix $.part .project -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Takes root, tenant and kind (t or e): as infra/terraform/locals.tf makes it. */ -}}
{{- define "kuznia.tenantAccount" -}}
{{- with .root.Values.google -}}
{{- if .accountPrefix -}}
{{- printf "%s-%s-%s-%s@%s.iam.gserviceaccount.com" .accountPrefix (trunc 10 $.tenant) (sha256sum $.tenant | trunc 4) $.kind .project -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kuznia.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kuznia.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
