{{/*
Templates for another chart to include in its pod. Its Chart.yaml depends on this chart, its values have `mode: sidecar`
under `baton-retool`, and its templates pass this chart's context:

    {{ include "baton-retool.sidecar.container" (index .Subcharts "baton-retool") | nindent 8 }}

helm/examples/parent is a complete example.
*/}}

{{/* The container, as an item of `containers`, or of `initContainers` if sidecar.native is true. */}}
{{- define "baton-retool.sidecar.container" -}}
{{- include "baton-retool.sidecar.check" . -}}
- {{ include "baton-retool.container" . | nindent 2 | trim }}
{{- end -}}

{{/* The items of the pod's `volumes`. Empty if there is nothing to mount. */}}
{{- define "baton-retool.sidecar.volumes" -}}
{{- include "baton-retool.sidecar.check" . -}}
{{- include "baton-retool.volumes" . | trim -}}
{{- end -}}

{{/* The annotations of the pod, which recreate it when the Secret of this chart changes. May be empty. */}}
{{- define "baton-retool.sidecar.podAnnotations" -}}
{{- include "baton-retool.podAnnotations" . -}}
{{- end -}}

{{/* An item of the agent's `volumeMounts`, for sidecar.transport socket. */}}
{{- define "baton-retool.sidecar.socketMount" -}}
- name: baton-retool-socket
  mountPath: {{ .Values.sidecar.socketDirectory }}
{{- end -}}

{{/* The address of the connector for the agent: unix:/... or 127.0.0.1:PORT. */}}
{{- define "baton-retool.sidecar.address" -}}
{{- include "baton-retool.listen" . -}}
{{- end -}}

{{- define "baton-retool.sidecar.check" -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail "baton-retool.sidecar.*: requires mode: sidecar in the values under baton-retool" -}}
{{- end -}}
{{- end -}}
