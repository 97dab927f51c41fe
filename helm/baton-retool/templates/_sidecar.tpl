{{/*
What another chart includes in a pod of its own. Its Chart.yaml depends on this chart, its values have `mode: sidecar`
under `baton-retool`, and its templates hand over this chart's view of the release:

    {{ include "baton-retool.sidecar.container" (index .Subcharts "baton-retool") | nindent 8 }}

helm/examples/parent is a whole chart that does so.
*/}}

{{/* The container, as an item of `containers`, or of `initContainers` with sidecar.native. */}}
{{- define "baton-retool.sidecar.container" -}}
{{- include "baton-retool.sidecar.check" . -}}
- {{ include "baton-retool.container" . | nindent 2 | trim }}
{{- end -}}

{{/* The items of the pod's `volumes`. Empty where there is nothing to mount. */}}
{{- define "baton-retool.sidecar.volumes" -}}
{{- include "baton-retool.sidecar.check" . -}}
{{- include "baton-retool.volumes" . | trim -}}
{{- end -}}

{{/* The pod's annotations that make it anew when the Secret of this chart changes. May be empty. */}}
{{- define "baton-retool.sidecar.podAnnotations" -}}
{{- include "baton-retool.podAnnotations" . -}}
{{- end -}}

{{/* An item of the agent's `volumeMounts`, with sidecar.transport socket. */}}
{{- define "baton-retool.sidecar.socketMount" -}}
- name: baton-retool-socket
  mountPath: {{ .Values.sidecar.socketDirectory }}
{{- end -}}

{{/* Where the agent finds the connector: unix:/... or 127.0.0.1:PORT. */}}
{{- define "baton-retool.sidecar.address" -}}
{{- include "baton-retool.listen" . -}}
{{- end -}}

{{- define "baton-retool.sidecar.check" -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail "baton-retool.sidecar.* needs mode: sidecar in the values under baton-retool" -}}
{{- end -}}
{{- end -}}
