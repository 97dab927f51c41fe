{{/* Names and labels. */}}

{{- define "baton-retool.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the release, followed by the name of the chart unless the name of the release contains it. Leaves room for a
     suffix of nine characters. */}}
{{- define "baton-retool.fullname" -}}
{{- $name := include "baton-retool.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{/* The mode of the program: the mode of the values; otherwise service if the values contain client credentials of
     ConductorOne. */}}
{{- define "baton-retool.mode" -}}
{{- if .Values.mode -}}
{{- .Values.mode -}}
{{- else if or .Values.hostId (include "baton-retool.variable" (list . "BATON_CLIENT_ID" nil)) -}}
service
{{- else -}}
standalone
{{- end -}}
{{- end -}}

{{- define "baton-retool.selectorLabels" -}}
{{- if .Values.selectorLabels -}}
{{- toYaml .Values.selectorLabels -}}
{{- else -}}
app.kubernetes.io/name: {{ include "baton-retool.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end -}}

{{/* Labels of every object. Labels in the values take precedence. */}}
{{- define "baton-retool.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "baton-retool.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_")
  "app.kubernetes.io/component" "connector"
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (mergeOverwrite $labels .Values.labels) -}}
{{- end -}}

{{/* The metadata of all objects: (list CONTEXT NAME-SUFFIX LABELS ANNOTATIONS) */}}
{{- define "baton-retool.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "baton-retool.fullname" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- toYaml (mergeOverwrite (include "baton-retool.labels" $root | fromYaml) (index . 2)) | nindent 2 }}
{{- with mergeOverwrite (deepCopy $root.Values.annotations) (index . 3) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "baton-retool.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "baton-retool.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "baton-retool.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the variables; empty without one. */}}
{{- define "baton-retool.secretName" -}}
{{- if .Values.secret.create -}}
{{- include "baton-retool.fullname" . -}}
{{- else -}}
{{- .Values.secret.existingName -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the server's certificate; empty without TLS. */}}
{{- define "baton-retool.tlsSecretName" -}}
{{- with .Values.server.tls -}}
{{- if .certManager.enabled -}}
{{- default (printf "%s-tls" (include "baton-retool.fullname" $)) .secretName -}}
{{- else -}}
{{- .secretName -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the port can be reached from outside the pod: "true" or empty. */}}
{{- define "baton-retool.exposed" -}}
{{- if and (eq (include "baton-retool.mode" .) "standalone") .Values.server.expose -}}true{{- end -}}
{{- end -}}

{{/* ADDRESS:PORT of {bindAddress, port}; IPv6 in brackets. */}}
{{- define "baton-retool.address" -}}
{{ ternary (printf "[%s]" .bindAddress) .bindAddress (contains ":" .bindAddress) }}:{{ .port }}
{{- end -}}

{{/* Whether {bindAddress} can be reached only inside the pod: "true" or empty. */}}
{{- define "baton-retool.loopback" -}}
{{- if regexMatch "^(127[.]|(0*:)+0*1$|(?i:(0*:)+ffff:(127[.]|7f)))" .bindAddress -}}true{{- end -}}
{{- end -}}

{{/* Whether there is a Service for the metrics: "true" or empty. */}}
{{- define "baton-retool.metricsService" -}}
{{- if and .Values.metrics.enabled (not (include "baton-retool.loopback" .Values.metrics)) -}}true{{- end -}}
{{- end -}}

{{/* The address of the listener. */}}
{{- define "baton-retool.listen" -}}
{{- if include "baton-retool.exposed" . -}}
{{ include "baton-retool.address" .Values.server }}
{{- else if and (eq .Values.mode "sidecar") (eq .Values.sidecar.transport "socket") -}}
unix:{{ .Values.sidecar.socketDirectory }}/baton-retool.sock
{{- else -}}
127.0.0.1:{{ .Values.server.port }}
{{- end -}}
{{- end -}}

{{/* A checksum of the Secret that the chart creates, so that the pods are recreated when it changes. */}}
{{- define "baton-retool.podAnnotations" -}}
{{- $annotations := deepCopy .Values.podAnnotations -}}
{{- if .Values.secret.create -}}
{{- $_ := set $annotations "checksum/secret" (toJson .Values.secret.data | sha256sum) -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end -}}
