{{- define "pgveil.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "pgveil.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgveil.labels" -}}
{{ include "pgveil.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "pgveil.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{ .Values.image.repository }}{{ if hasPrefix "@" $tag }}{{ $tag }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{- /* pgveil.yaml: what the values say, and what the chart knows better. */ -}}
{{- define "pgveil.config" -}}
{{- $audit := merge (dict "dir" "/var/lib/pgveil/audit") (.Values.config.audit | default dict) -}}
{{- if and (not $audit.sinks) (not .Values.audit.ephemeral) -}}
{{- fail "config.audit.sinks names none: the audit record would go with the pod. Name a sink, or set audit.ephemeral: true" -}}
{{- end -}}
{{- $own := dict "listen" "0.0.0.0:6432" "policies" "/etc/pgveil/policies" "audit" $audit -}}
{{- $_ := set $own "tls" (dict "cert" "/etc/pgveil/tls/tls.crt" "key" "/etc/pgveil/tls/tls.key") -}}
{{- $_ := set $own "admin" (dict "listen" "0.0.0.0:9432" "allow_plaintext" true) -}}
{{- toYaml (merge $own (omit .Values.config "audit")) -}}
{{- end }}
