{{/* Stops the rendering if values contradict each other in a way that the schema cannot express. */}}

{{- define "baton-retool.check" -}}
{{- include "baton-retool.check.variables" . -}}
{{- include "baton-retool.check.server" . -}}
{{- include "baton-retool.check.probes" . -}}
{{- include "baton-retool.check.metrics" . -}}
{{- include "baton-retool.check.mode" . -}}
{{- include "baton-retool.check.objects" . -}}
{{- end -}}

{{/* The variables of extraEnv: a map of name to value, or to "from" for a variable with valueFrom. */}}
{{- define "baton-retool.extraVariables" -}}
{{- $variables := dict -}}
{{- range .Values.extraEnv }}{{ $_ := set $variables .name (hasKey . "value" | ternary .value "from") }}{{ end -}}
{{- toYaml $variables -}}
{{- end -}}

{{/* The value of a variable, or "from" if it comes from a Secret or valueFrom: (list CONTEXT VARIABLE VALUE-IN-SETTINGS).
     Empty if the values do not set the variable. */}}
{{- define "baton-retool.variable" -}}
{{- $values := (index . 0).Values -}}
{{- $variable := index . 1 -}}
{{- $setting := index . 2 -}}
{{- $extra := include "baton-retool.extraVariables" (index . 0) | fromYaml -}}
{{- if hasKey $extra $variable -}}
{{- get $extra $variable -}}
{{- else if hasKey $values.secret.keys $variable -}}
from
{{- else if not (kindIs "invalid" $setting) -}}
{{- $setting -}}
{{- else -}}
{{- get $values.secret.data $variable -}}
{{- end -}}
{{- end -}}

{{- define "baton-retool.check.variables" -}}
{{- $extra := include "baton-retool.extraVariables" . | fromYaml -}}
{{- with .Values -}}
{{- $seen := dict -}}
{{- range .extraEnv -}}
{{- if hasKey $seen .name }}{{ fail (printf "extraEnv: has %s twice; remove one of them" .name) }}{{ end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- if not (or .secret.create .secret.existingName) -}}
{{- fail "secret: a Secret with BATON_CONNECTION_STRING is required: name an existing one in secret.existingName, or set secret.create to create one" -}}
{{- end -}}
{{- /* The contents of an existing Secret, and variables from a whole Secret, are unknown to the chart. */}}
{{- $elsewhere := or .extraEnvFrom (get $extra "BATON_CONNECTION_STRING") (get $extra "BATON_CONFIG_PATH") -}}
{{- if not (or $elsewhere (not .secret.create) (get .secret.data "BATON_CONNECTION_STRING") (get .secret.data "BATON_CONFIG_PATH")) -}}
{{- fail "secret.data: BATON_CONNECTION_STRING is required: add it, or set it from another Secret with extraEnv" -}}
{{- end -}}
{{- if not (or $elsewhere (not .secret.keys) (get .secret.keys "BATON_CONNECTION_STRING") (get .secret.keys "BATON_CONFIG_PATH")) -}}
{{- fail "secret.keys: BATON_CONNECTION_STRING is required: add it, with the key of the Secret that contains it" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "baton-retool.check.server" -}}
{{- $tls := include "baton-retool.tlsSecretName" . -}}
{{- $exposed := include "baton-retool.exposed" . -}}
{{- with .Values -}}
{{- if and $exposed (not $tls) (not .server.insecure) -}}
{{- fail "server.expose: requires server.tls.secretName, server.tls.certManager.enabled, or server.insecure for unencrypted connections" -}}
{{- end -}}
{{- if and $exposed (include "baton-retool.loopback" .server) -}}
{{- fail "server.expose: other pods cannot reach a loopback address; set server.bindAddress to 0.0.0.0 or ::" -}}
{{- end -}}
{{- if and .server.tls.clientCa.secretName (not $tls) -}}
{{- fail "server.tls.clientCa: requires server.tls.secretName or server.tls.certManager.enabled" -}}
{{- end -}}
{{- $ports := list .health.port -}}
{{- if ne (include "baton-retool.listen" $ | trunc 5) "unix:" }}{{ $ports = append $ports .server.port }}{{ end -}}
{{- if .metrics.enabled }}{{ $ports = append $ports .metrics.port }}{{ end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail "server.port, health.port and metrics.port must be different" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "baton-retool.check.probes" -}}
{{- $reached := and (include "baton-retool.exposed" .) (not (include "baton-retool.tlsSecretName" .)) -}}
{{- $setting := index .Values.settings "health-without-token" -}}
{{- $closed := has (include "baton-retool.variable" (list . "BATON_HEALTH_WITHOUT_TOKEN" $setting) | lower) (list "false" "f" "0") -}}
{{- with .Values -}}
{{- if and (eq .probes.kind "grpc") (not $reached) -}}
{{- fail "probes.kind grpc: the kubelet connects from outside the pod and without TLS, so server.expose and server.insecure are required; otherwise use http or exec" -}}
{{- end -}}
{{- if and (eq .probes.kind "grpc") .server.authTokens.secretName $closed -}}
{{- fail "probes.kind grpc: the kubelet sends no token, and settings.health-without-token is false; set it to true, or use http or exec" -}}
{{- end -}}
{{- if and (eq .probes.kind "http") (include "baton-retool.loopback" .health) -}}
{{- fail "probes.kind http: the kubelet connects from outside the pod, so health.bindAddress cannot be a loopback address; use exec" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "baton-retool.check.metrics" -}}
{{- with .Values -}}
{{- if and (or .serviceMonitor.enabled .prometheusRule.enabled .dashboard.enabled) (not .metrics.enabled) -}}
{{- fail "serviceMonitor, prometheusRule and dashboard require metrics.enabled" -}}
{{- end -}}
{{- if and .serviceMonitor.enabled (include "baton-retool.loopback" .metrics) -}}
{{- fail "serviceMonitor: Prometheus cannot reach a loopback address; set metrics.bindAddress to 0.0.0.0 or ::" -}}
{{- end -}}
{{- if and .serviceMonitor.enabled (or (hasKey .labels "app.kubernetes.io/name") (hasKey .labels "app.kubernetes.io/instance")) -}}
{{- fail "labels: the ServiceMonitor selects the Service by app.kubernetes.io/name and app.kubernetes.io/instance; to change the first, set nameOverride; the second cannot be changed" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The pod of a sidecar, its network policy and its Service belong to another chart. */}}
{{- define "baton-retool.check.mode" -}}
{{- if eq (include "baton-retool.mode" .) "service" -}}
{{- with .Values -}}
{{- if or .server.expose .server.tls.secretName .server.tls.certManager.enabled .server.authTokens.secretName -}}
{{- fail "server: in mode service no agent calls the program, so server.expose, server.tls and server.authTokens have no effect; remove them, or set mode to standalone" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.mode "sidecar" -}}
{{- with .Values -}}
{{- if .server.expose -}}
{{- fail "server.expose: a sidecar serves only its own pod; set server.expose to false" -}}
{{- end -}}
{{- if .server.tls.certManager.enabled -}}
{{- fail "server.tls.certManager: a sidecar has no Service for the names of a certificate; set server.tls.certManager.enabled to false, and name a Secret in server.tls.secretName if you need TLS" -}}
{{- end -}}
{{- if .networkPolicy.enabled -}}
{{- fail "networkPolicy: the policy would also apply to the agent; set networkPolicy.enabled to false, and define a policy in the chart that owns the pod" -}}
{{- end -}}
{{- if and (include "baton-retool.metricsService" $) (not .selectorLabels) -}}
{{- fail "metrics in mode sidecar: selectorLabels must be the labels of the other chart's pods, because the Service selects by them; or set metrics.bindAddress to 127.0.0.1 for a reader inside the pod" -}}
{{- end -}}
{{- if and .sidecar.native (semverCompare "<1.29.0-0" $.Capabilities.KubeVersion.Version) -}}
{{- fail (printf "sidecar.native: requires Kubernetes 1.29, and this is %s; set it to false, and include the container in containers" $.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "baton-retool.check.objects" -}}
{{- $name := include "baton-retool.fullname" . -}}
{{- $standalone := ne (include "baton-retool.mode" .) "sidecar" -}}
{{- $api := include "baton-retool.variable" (list . "BATON_RETOOL_API_BASE_URL" (index .Values.settings "retool-api-base-url")) -}}
{{- $collector := include "baton-retool.variable" (list . "BATON_OTEL_COLLECTOR_ENDPOINT" (index .Values.settings "otel-collector-endpoint")) -}}
{{- range $variable, $value := include "baton-retool.extraVariables" . | fromYaml -}}
{{- if regexMatch "^OTEL_EXPORTER_OTLP_([A-Z]+_)?ENDPOINT$" $variable }}{{ $collector = default $collector $value }}{{ end -}}
{{- end -}}
{{- with .Values -}}
{{- $service := or (include "baton-retool.exposed" $) (include "baton-retool.metricsService" $) -}}
{{- if and $service (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) -}}
{{- fail (printf "%s is not a valid name for a Service: it must begin with a letter and contain only lower-case letters, digits and dashes; set fullnameOverride" $name) -}}
{{- end -}}
{{- if and $standalone .podDisruptionBudget.enabled (kindIs "invalid" .podDisruptionBudget.minAvailable) (kindIs "invalid" .podDisruptionBudget.maxUnavailable) -}}
{{- fail "podDisruptionBudget: requires maxUnavailable or minAvailable; or set podDisruptionBudget.enabled to false" -}}
{{- end -}}
{{- if .networkPolicy.enabled -}}
{{- if and $api (not .networkPolicy.retoolApi.ports) -}}
{{- fail "networkPolicy: retool-api-base-url is set, but the policy blocks this connection; add the port to networkPolicy.retoolApi.ports, such as [443]" -}}
{{- end -}}
{{- if and $collector (not .networkPolicy.telemetry.ports) -}}
{{- fail "networkPolicy: an OpenTelemetry collector is set, but the policy blocks this connection; add the port to networkPolicy.telemetry.ports, such as [4317]" -}}
{{- end -}}
{{- if and .serviceMonitor.enabled (not .networkPolicy.scrapers) -}}
{{- fail "networkPolicy: serviceMonitor is enabled, but the policy blocks Prometheus; add it to networkPolicy.scrapers, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
