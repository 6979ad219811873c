{{- define "llama-factory-api.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Volumes with weights, and where they are seen; the one that is written to lies in /models. */ -}}
{{- define "llama-factory-api.usesDisk" -}}
{{- $found := "" -}}
{{- range $part := include "llama-factory-api.parts" . | fromYaml -}}
{{- if has $part.load (list "fetch" "hub") -}}
{{- $found = "yes" -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{- define "llama-factory-api.weightVolumes" -}}
{{- if include "llama-factory-api.usesDisk" . }}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.model.disk }}
{{- end }}
{{- range $part := include "llama-factory-api.parts" . | fromYaml }}
{{- $words := splitList "/" $part.path }}
{{- if eq $part.load "fuse" }}
- name: {{ $part.name }}
  csi:
    driver: gcsfuse.csi.storage.gke.io
    readOnly: true
    volumeAttributes:
      bucketName: {{ index $words 2 }}
      # Without the cache there are no parallel downloads, and with them no mount.
      fileCacheCapacity: {{ $.Values.model.disk }}
      {{- $options := list "implicit-dirs" "file-cache:enable-parallel-downloads:true" }}
      {{- range $option, $user := dict "uid" $.Values.podSecurityContext.runAsUser "gid" $.Values.podSecurityContext.runAsGroup }}
      {{- with $user }}
      {{- $options = append $options (printf "%s=%d" $option (int .)) }}
      {{- end }}
      {{- end }}
      {{- with slice $words 3 | join "/" | trimSuffix "/" }}
      {{- $options = append $options (printf "only-dir=%s" .) }}
      {{- end }}
      mountOptions: {{ join "," $options | quote }}
{{- else if eq $part.load "mount" }}
- name: {{ $part.name }}
  persistentVolumeClaim:
    claimName: {{ index $words 2 }}
    readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "llama-factory-api.weightMounts" -}}
{{- range $part := include "llama-factory-api.parts" . | fromYaml }}
{{- if has $part.load (list "fuse" "mount") }}
- name: {{ $part.name }}
  mountPath: {{ $part.place }}
  readOnly: true
  {{- if eq $part.load "mount" }}
  {{- with slice (splitList "/" $part.path) 3 | join "/" | trimSuffix "/" }}
  subPath: {{ . }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "llama-factory-api.credentials" -}}
{{- with .Values.model.credentialsSecret -}}
envFrom:
  - secretRef:
      name: {{ . }}
{{- end -}}
{{- end -}}

{{- /* Brings the weights, or looks at those that are there, before anything is loaded; one that follows goes on. */ -}}
{{- define "llama-factory-api.fetchers" -}}
- name: fetch
  command: [python, -m, services.deployment.pod.fetch]
  {{- include "llama-factory-api.fetcher" (dict "root" . "follows" false) | nindent 2 }}
{{- if .Values.model.registry.follow }}
- name: follow
  restartPolicy: Always
  command: [python, -m, services.deployment.pod.follow]
  {{- include "llama-factory-api.fetcher" (dict "root" . "follows" true) | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Takes root and follows: who follows speaks to the engine as well. */ -}}
{{- define "llama-factory-api.fetcher" -}}
{{- $follows := .follows -}}
{{- with .root -}}
image: {{ include "llama-factory-api.fetchImage" . | quote }}
imagePullPolicy: {{ .Values.fetch.image.pullPolicy }}
env:
  - name: KUZNIA_FETCH
    value: /etc/kuznia/fetch.json
  - name: HOME
    value: /tmp
  - name: KUZNIA_HOME
    value: /tmp/kuznia
  {{- if $follows }}
  - name: ENGINE_KEY
    valueFrom:
      secretKeyRef:
        name: {{ .Values.apiKey.secretName }}
        key: {{ .Values.apiKey.key }}
  {{- end }}
{{- with include "llama-factory-api.credentials" . }}
{{- . | nindent 0 }}
{{- end }}
resources:
  {{- toYaml .Values.fetch.resources | nindent 2 }}
securityContext:
  {{- include "llama-factory-api.containerSecurity" . | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/kuznia/fetch.json
    subPath: fetch.json
    readOnly: true
  - name: scratch
    mountPath: /tmp
  {{- if include "llama-factory-api.usesDisk" . }}
  - name: models
    mountPath: /models
  {{- end }}
  {{- if .Values.model.signature.configMapName }}
  - name: keys
    mountPath: /etc/kuznia/keys
    readOnly: true
  {{- end }}
  {{- with include "llama-factory-api.weightMounts" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "llama-factory-api.engineContainer" -}}
{{- $parts := include "llama-factory-api.parts" . | fromYaml -}}
- name: engine
  image: {{ include "llama-factory-api.engineImage" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if eq .Values.engine "vllm" }}
  command: [vllm]
  args:
    {{- include "llama-factory-api.vllm" . | nindent 4 }}
  {{- else }}
  command:
    {{- toYaml .Values.llamafactory.command | nindent 4 }}
  args: [api, /etc/kuznia/api.yaml]
  {{- end }}
  env:
    {{- include "llama-factory-api.variables" . | trim | nindent 4 }}
  {{- if eq $parts.weights.load "stream" }}
  {{- with include "llama-factory-api.credentials" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- end }}
  ports:
    - name: http
      containerPort: 8000
      protocol: TCP
  {{- include "llama-factory-api.probes" . | nindent 2 }}
  {{- with include "llama-factory-api.preStop" . }}
  {{- . | nindent 2 }}
  {{- end }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- include "llama-factory-api.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: scratch
      mountPath: /tmp
    - name: memory
      mountPath: /dev/shm
    {{- $file := ternary "python/kuznia_gate.py" "api.yaml" (eq .Values.engine "vllm") }}
    - name: config
      mountPath: /etc/kuznia/{{ $file }}
      subPath: {{ base $file }}
      readOnly: true
    {{- if include "llama-factory-api.usesDisk" . }}
    - name: models
      mountPath: /models
      {{- if not (include "llama-factory-api.hub" .) }}
      readOnly: true
      {{- end }}
    {{- end }}
    {{- with include "llama-factory-api.weightMounts" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "llama-factory-api.nodeSelector" -}}
{{- $asked := deepCopy .Values.nodeSelector -}}
{{- with .Values.gpu.accelerator -}}
{{- $_ := set $asked "cloud.google.com/gke-accelerator" . -}}
{{- end -}}
{{- if .Values.gpu.spot -}}
{{- $_ := set $asked "cloud.google.com/gke-spot" "true" -}}
{{- end -}}
{{- with $asked -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "llama-factory-api.tolerations" -}}
{{- $taken := .Values.tolerations -}}
{{- if gt (include "llama-factory-api.gpus" . | int) 0 -}}
{{- $taken = append $taken (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- if .Values.gpu.spot -}}
{{- $taken = append $taken (dict "key" "cloud.google.com/gke-spot" "operator" "Equal" "value" "true" "effect" "NoSchedule") -}}
{{- end -}}
{{- with $taken -}}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "llama-factory-api.spread" -}}
{{- if .Values.topologySpread.enabled -}}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "llama-factory-api.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "llama-factory-api.podAnnotations" -}}
{{- $said := merge (deepCopy .Values.podAnnotations) .Values.commonAnnotations -}}
{{- range $part := include "llama-factory-api.parts" . | fromYaml -}}
{{- if eq $part.load "fuse" -}}
{{- $_ := set $said "gke-gcsfuse/volumes" "true" -}}
{{- /* GKE's sidecar reads, and keeps the cache: by itself with a quarter of a CPU, 256 MiB, and 5 GiB of disk. */ -}}
{{- range $limit := list "cpu" "memory" "ephemeral-storage" -}}
{{- $name := printf "gke-gcsfuse/%s-limit" $limit -}}
{{- if not (hasKey $said $name) -}}
{{- $_ := set $said $name "0" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $_ := set $said "kubectl.kubernetes.io/default-container" "engine" -}}
{{- $_ := set $said "checksum/config" (include "llama-factory-api.config" . | sha256sum) -}}
{{- toYaml $said -}}
{{- end -}}

{{- /* What the ConfigMap holds: a change of it makes new pods. */ -}}
{{- define "llama-factory-api.config" -}}
{{- $held := dict -}}
{{- with include "llama-factory-api.fetch" . -}}
{{- $_ := set $held "fetch.json" . -}}
{{- end -}}
{{- if eq .Values.engine "llamafactory" -}}
{{- $_ := set $held "api.yaml" (include "llama-factory-api.llamafactory" .) -}}
{{- else -}}
{{- $_ := set $held "kuznia_gate.py" (.Files.Get "files/kuznia_gate.py") -}}
{{- end -}}
{{- toYaml $held -}}
{{- end -}}
