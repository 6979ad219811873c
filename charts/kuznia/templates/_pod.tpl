{{- /* Variables of all parts; a part's own stand in its pod. */ -}}
{{- define "kuznia.variables" -}}
{{- $values := .Values -}}
GOOGLE_CLOUD_PROJECT: {{ $values.google.project | quote }}
KUZNIA_PROFILE: gcp
KUZNIA_HOST: 0.0.0.0
KUZNIA_FIRESTORE_DATABASE: {{ $values.google.firestoreDatabase | quote }}
KUZNIA_ARTIFACTS: {{ $values.google.artifacts | quote }}
KUZNIA_CLUSTER: kubernetes
KUZNIA_K8S_PLATFORM_NAMESPACE: {{ .Release.Namespace }}
KUZNIA_K8S_TRAINER_IMAGE: {{ $values.training.image | quote }}
KUZNIA_K8S_ORCHESTRATOR: {{ $values.training.orchestrator }}
KUZNIA_K8S_SPOT: {{ ternary "1" "0" $values.training.spot | quote }}
{{- with $values.training.accelerator }}
KUZNIA_K8S_ACCELERATOR: {{ . }}
{{- end }}
{{- with $values.training.queue }}
KUZNIA_K8S_QUEUE: {{ . }}
{{- end }}
{{- with $values.training.priorityClass }}
KUZNIA_K8S_PRIORITY_CLASS: {{ . | quote }}
{{- end }}
{{- with $values.training.hubSecret }}
KUZNIA_K8S_HF_SECRET: {{ . }}
{{- end }}
{{- with $values.training.gitSecret }}
KUZNIA_K8S_GIT_SECRET: {{ . }}
{{- end }}
{{- with $values.training.egress }}
KUZNIA_K8S_EGRESS: {{ join "," . | quote }}
{{- end }}
{{- with $values.imagePullSecrets }}
KUZNIA_K8S_IMAGE_PULL_SECRET: {{ (first .).name }}
{{- end }}
KUZNIA_K8S_RELEASES: {{ $values.serving.releases }}
{{- with $values.serving.image }}
KUZNIA_K8S_ENGINE_IMAGE: {{ . | quote }}
{{- end }}
{{- if ne $values.serving.releases "plain" }}
KUZNIA_K8S_CHART: {{ $values.serving.chart | quote }}
{{- if $values.serving.values }}
KUZNIA_K8S_CHART_VALUES: /etc/kuznia/serving/values.yaml
{{- end }}
{{- end }}
{{- if eq $values.serving.releases "gitops" }}
KUZNIA_K8S_GITOPS_REPOSITORY: {{ $values.serving.gitops.repository | quote }}
KUZNIA_K8S_GITOPS_BRANCH: {{ $values.serving.gitops.branch | quote }}
KUZNIA_K8S_GITOPS_PATH: {{ $values.serving.gitops.path | quote }}
{{- end }}
{{- if eq $values.delivery "push" }}
KUZNIA_PUSH_AUDIENCE: {{ $values.push.audience | quote }}
KUZNIA_PUSH_ACCOUNT: {{ $values.push.account | quote }}
{{- end }}
{{- end -}}

{{- /*
A pod template. Takes root, part (who it is), account (default: part), command, and where wanted: env (a map), ports
(name: number), probes (YAML), resources, disk (a claim), secrets (a list, as front.homeSecrets), launches, before (a
command that comes first), beside (YAML of one more container), grace and drain (seconds).
*/ -}}
{{- define "kuznia.pod" -}}
{{- $root := .root -}}
{{- $secrets := concat (list (dict "name" $root.Values.engineSecret.name "folder" ".")) (default list .secrets) -}}
{{- if and .launches (eq $root.Values.serving.releases "gitops") $root.Values.serving.gitops.credentialsSecret -}}
{{- $secrets = append $secrets (dict "name" $root.Values.serving.gitops.credentialsSecret "folder" ".") -}}
{{- end -}}
metadata:
  labels:
    {{- include "kuznia.selector" (dict "root" $root "part" .part) | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
    {{- include "kuznia.labels" $root | nindent 4 }}
  annotations:
    kuznia.dev/config: {{ toJson (list (include "kuznia.variables" $root) $root.Values.config $root.Values.serving.values) | sha256sum }}
    {{- with $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ default .part .account }}
  automountServiceAccountToken: {{ default false .launches }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ default 60 .grace }}
  securityContext:
    {{- include "kuznia.security" $root | nindent 4 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  initContainers:
    # Secrets are mounted readable by their group; whoever keeps one in a file wants it for itself alone.
    - name: home
      image: {{ include "kuznia.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [sh, -ec]
      args:
        - |
          umask 077
          {{- range $index, $secret := $secrets }}
          mkdir -p "/var/lib/kuznia/{{ default "." $secret.folder }}"
          find -L /run/secrets/kuznia/{{ $index }} -maxdepth 1 -type f -exec install -m 0600 '{}' '/var/lib/kuznia/{{ default "." $secret.folder }}/' ';'
          {{- end }}
      securityContext:
        {{- include "kuznia.containerSecurity" $root | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 64Mi}
      volumeMounts:
        - {name: home, mountPath: /var/lib/kuznia}
        {{- range $index, $secret := $secrets }}
        - {name: secret-{{ $index }}, mountPath: /run/secrets/kuznia/{{ $index }}, readOnly: true}
        {{- end }}
    {{- with .before }}
    - name: before
      image: {{ include "kuznia.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: {{ toJson . }}
      envFrom:
        - configMapRef: {name: kuznia}
      securityContext:
        {{- include "kuznia.containerSecurity" $root | nindent 8 }}
      resources:
        {{- toYaml $.resources | nindent 8 }}
      volumeMounts:
        - {name: home, mountPath: /var/lib/kuznia}
        - {name: tmp, mountPath: /tmp}
    {{- end }}
    {{- with .beside }}
    {{- . | nindent 4 }}
    {{- end }}
  containers:
    - name: {{ .part }}
      image: {{ include "kuznia.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: {{ toJson .command }}
      envFrom:
        - configMapRef: {name: kuznia}
      {{- with .env }}
      env:
        {{- range $name, $value := . }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- end }}
      {{- with .ports }}
      ports:
        {{- range $name, $number := . }}
        - {name: {{ $name }}, containerPort: {{ $number }}, protocol: TCP}
        {{- end }}
      {{- end }}
      {{- .probes | nindent 6 }}
      {{- with .drain }}
      # Until nobody sends any more requests here.
      lifecycle:
        preStop:
          exec: {command: [sleep, {{ . | quote }}]}
      {{- end }}
      securityContext:
        {{- include "kuznia.containerSecurity" $root | nindent 8 }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - {name: home, mountPath: /var/lib/kuznia}
        - {name: tmp, mountPath: /tmp}
        {{- if $root.Values.serving.values }}
        - {name: serving, mountPath: /etc/kuznia/serving, readOnly: true}
        {{- end }}
  volumes:
    {{- if .disk }}
    - name: home
      persistentVolumeClaim: {claimName: {{ .disk }}}
    {{- else }}
    - name: home
      emptyDir: {sizeLimit: 2Gi}
    {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 2Gi}
    {{- range $index, $secret := $secrets }}
    - name: secret-{{ $index }}
      secret: {secretName: {{ $secret.name }}, defaultMode: 0440}
    {{- end }}
    {{- if $root.Values.serving.values }}
    - name: serving
      configMap: {name: kuznia-serving}
    {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "kuznia.selector" (dict "root" $root "part" .part) | nindent 10 }}
{{- end -}}

{{- /* Takes port: probes by HTTP of what serves people. */ -}}
{{- define "kuznia.httpProbes" -}}
startupProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{- /* Of what serves nobody: whether it can write, which is what it dies of without a word. */ -}}
{{- define "kuznia.diskProbe" -}}
livenessProbe:
  exec:
    command: [python, infra/docker/health.py, disk]
  periodSeconds: 60
  timeoutSeconds: 15
  failureThreshold: 3
{{- end -}}

{{- define "kuznia.knockProbes" -}}
startupProbe:
  tcpSocket: {port: http}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  tcpSocket: {port: http}
  periodSeconds: 5
livenessProbe:
  tcpSocket: {port: http}
  periodSeconds: 20
  failureThreshold: 6
{{- end -}}
