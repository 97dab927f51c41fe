{{/* The container, its variables, mounts and volumes. The Deployment and a sidecar use the same templates. */}}

{{- define "baton-retool.container" -}}
{{- include "baton-retool.check" . -}}
name: baton-retool
image: {{ include "baton-retool.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if ne (include "baton-retool.mode" .) "service" }}
args: [serve]
{{- end }}
{{- if and (eq .Values.mode "sidecar") .Values.sidecar.native }}
restartPolicy: Always
{{- end }}
env:
  {{- include "baton-retool.env" . | trim | nindent 2 }}
{{- include "baton-retool.envFrom" . }}
ports:
  {{- if include "baton-retool.exposed" . }}
  - name: grpc
    containerPort: {{ .Values.server.port }}
    protocol: TCP
  {{- end }}
  - name: health
    containerPort: {{ .Values.health.port }}
    protocol: TCP
  {{- if .Values.metrics.enabled }}
  - name: metrics
    containerPort: {{ .Values.metrics.port }}
    protocol: TCP
  {{- end }}
startupProbe:
  {{- /* In service mode the program waits for ConductorOne without a time limit. */}}
  {{- include "baton-retool.probe" (list . (ternary "live" "ready" (eq (include "baton-retool.mode" .) "service")) .Values.probes.startup) | nindent 2 }}
livenessProbe:
  {{- include "baton-retool.probe" (list . "live" .Values.probes.liveness) | nindent 2 }}
readinessProbe:
  {{- include "baton-retool.probe" (list . "ready" .Values.probes.readiness) | nindent 2 }}
resources:
  {{- include "baton-retool.resources" . | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with include "baton-retool.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* One probe: (list CONTEXT ENDPOINT TIMES). gRPC has one health check for all endpoints. */}}
{{- define "baton-retool.probe" -}}
{{- $values := (index . 0).Values -}}
{{- if eq $values.probes.kind "grpc" -}}
grpc:
  port: {{ $values.server.port }}
{{- else if eq $values.probes.kind "exec" -}}
exec:
  command: [/baton-retool, health-check, --endpoint, {{ index . 1 }}]
{{- else -}}
httpGet:
  path: /{{ index . 1 }}
  port: health
{{- end }}
{{ toYaml (index . 2) }}
{{- end -}}

{{/* The settings as variables: BATON_ and the flag in upper case. None of them is secret. */}}
{{- define "baton-retool.env" -}}
{{- $env := dict -}}
{{- range $flag, $value := .Values.settings -}}
{{- $_ := set $env (printf "BATON_%s" ($flag | replace "-" "_" | upper)) (kindIs "float64" $value | ternary ($value | int64 | toString) ($value | toString)) -}}
{{- end -}}
{{- if ne (include "baton-retool.mode" .) "service" -}}
{{- $_ := set $env "BATON_LISTEN" (include "baton-retool.listen" .) -}}
{{- end -}}
{{- $_ := set $env "BATON_HEALTH_CHECK" "true" -}}
{{- $_ := set $env "BATON_HEALTH_CHECK_PORT" (.Values.health.port | int64 | toString) -}}
{{- $_ := set $env "BATON_HEALTH_CHECK_BIND_ADDRESS" .Values.health.bindAddress -}}
{{- if .Values.metrics.enabled -}}
{{- $_ := set $env "BATON_METRICS_LISTEN" (include "baton-retool.address" .Values.metrics) -}}
{{- end -}}
{{- if include "baton-retool.tlsSecretName" . -}}
{{- $_ := set $env "BATON_TLS_CERT" "/etc/baton-retool/tls/tls.crt" -}}
{{- $_ := set $env "BATON_TLS_KEY" "/etc/baton-retool/tls/tls.key" -}}
{{- end -}}
{{- with .Values.server.tls.clientCa -}}
{{- if .secretName }}{{ $_ := set $env "BATON_TLS_CLIENT_CA" (printf "/etc/baton-retool/client-ca/%s" .key) }}{{ end -}}
{{- end -}}
{{- with .Values.server.authTokens -}}
{{- if .secretName }}{{ $_ := set $env "BATON_AUTH_TOKEN_FILE" (printf "/etc/baton-retool/tokens/%s" .key) }}{{ end -}}
{{- end -}}
{{- if .Values.server.insecure -}}
{{- $_ := set $env "BATON_INSECURE" "true" -}}
{{- end -}}
{{- if or .Values.postgresCa.secretName .Values.postgresCa.configMapName -}}
{{- $_ := set $env "PGSSLROOTCERT" (printf "/etc/baton-retool/postgres-ca/%s" .Values.postgresCa.key) -}}
{{- end -}}
{{- with .Values.hostId -}}
{{- $_ := set $env "BATON_HOST_ID" . -}}
{{- end -}}
{{- /* Server-side apply refuses a duplicate name: extraEnv overrides secret.keys, and secret.keys override the rest. */}}
{{- $extra := include "baton-retool.extraVariables" . | fromYaml -}}
{{- range $name, $value := $env }}
{{- if or (hasKey $extra $name) (hasKey $.Values.secret.keys $name) }}{{ continue }}{{ end }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- $secret := include "baton-retool.secretName" . }}
{{- range $name, $key := .Values.secret.keys }}
{{- if hasKey $extra $name }}{{ continue }}{{ end }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $key }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "baton-retool.envFrom" -}}
{{- if or (not .Values.secret.keys) .Values.extraEnvFrom }}
envFrom:
  {{- if not .Values.secret.keys }}
  - secretRef:
      name: {{ include "baton-retool.secretName" . }}
  {{- end }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Mounts and their volumes: two matching lists. Names start with baton-retool, because the pod may belong to another chart. */}}
{{- define "baton-retool.volumeMounts" -}}
{{- if include "baton-retool.tlsSecretName" . }}
- name: baton-retool-tls
  mountPath: /etc/baton-retool/tls
  readOnly: true
{{- end }}
{{- if .Values.server.tls.clientCa.secretName }}
- name: baton-retool-client-ca
  mountPath: /etc/baton-retool/client-ca
  readOnly: true
{{- end }}
{{- if .Values.server.authTokens.secretName }}
- name: baton-retool-tokens
  mountPath: /etc/baton-retool/tokens
  readOnly: true
{{- end }}
{{- if or .Values.postgresCa.secretName .Values.postgresCa.configMapName }}
- name: baton-retool-postgres-ca
  mountPath: /etc/baton-retool/postgres-ca
  readOnly: true
{{- end }}
{{- if and (eq .Values.mode "sidecar") (eq .Values.sidecar.transport "socket") }}
{{ include "baton-retool.sidecar.socketMount" . }}
{{- end }}
{{- if eq (include "baton-retool.mode" .) "service" }}
- name: baton-retool-tmp
  mountPath: /tmp
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "baton-retool.volumes" -}}
{{- /* 0440 lets only the owner and the pod's fsGroup read. Certificates of a certificate authority are not secret. */}}
{{- with include "baton-retool.tlsSecretName" . }}
- name: baton-retool-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.server.tls.clientCa.secretName }}
- name: baton-retool-client-ca
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.server.authTokens.secretName }}
- name: baton-retool-tokens
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.postgresCa }}
{{- if .secretName }}
- name: baton-retool-postgres-ca
  secret:
    secretName: {{ .secretName }}
{{- else if .configMapName }}
- name: baton-retool-postgres-ca
  configMap:
    name: {{ .configMapName }}
{{- end }}
{{- end }}
{{- if and (eq .Values.mode "sidecar") (eq .Values.sidecar.transport "socket") }}
- name: baton-retool-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- if eq (include "baton-retool.mode" .) "service" }}
- name: baton-retool-tmp
  emptyDir:
    sizeLimit: {{ .Values.conductorOne.temporaryStorage }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The resources of the container: the defaults of the mode, overridden by the values. */}}
{{- define "baton-retool.resources" -}}
{{- $server := dict "requests" (dict "cpu" "100m" "memory" "64Mi") "limits" (dict "memory" "384Mi") -}}
{{- $service := dict "requests" (dict "cpu" "100m" "memory" "128Mi") "limits" (dict "memory" "1Gi") -}}
{{- $usual := ternary $service $server (eq (include "baton-retool.mode" .) "service") -}}
{{- toYaml (mergeOverwrite $usual .Values.resources) -}}
{{- end -}}
