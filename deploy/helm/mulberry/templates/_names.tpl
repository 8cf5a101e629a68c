{{- define "mulberry.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "mulberry.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 57 | trimSuffix "-" }}
{{- else if contains (include "mulberry.name" .) .Release.Name -}}
{{ .Release.Name | trunc 57 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "mulberry.name" .) | trunc 57 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "mulberry.selector" -}}
app.kubernetes.io/name: {{ include "mulberry.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mulberry.labels" -}}
{{ include "mulberry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "mulberry.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "mulberry.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "mulberry.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whole seconds of a duration as mulberry.yaml writes them, rounded up. */}}
{{- define "mulberry.seconds" -}}
{{- $number := regexFind "^[0-9]+" (toString .) | int -}}
{{- $unit := regexFind "[a-z]*$" (toString .) -}}
{{- if eq $unit "ms" -}}
{{ div (add $number 999) 1000 }}
{{- else if eq $unit "s" -}}
{{ $number }}
{{- else if eq $unit "m" -}}
{{ mul $number 60 }}
{{- else if eq $unit "h" -}}
{{ mul $number 3600 }}
{{- else -}}
{{ fail (printf "config.drain: '%v' is no duration such as 500ms, 5s, 2m or 1h" .) }}
{{- end -}}
{{- end }}

{{/* drain.delay + drain.timeout + the margin: what the end of a pod may take. The defaults are the gateway's own. */}}
{{- define "mulberry.grace" -}}
{{- $drain := default dict .Values.config.drain -}}
{{- $delay := include "mulberry.seconds" (default "0s" $drain.delay) | int -}}
{{- $timeout := include "mulberry.seconds" (default "30s" $drain.timeout) | int -}}
{{ add $delay $timeout (int .Values.terminationMargin) }}
{{- end }}

{{/* mulberry.yaml: what the chart decides, and the operator's own. */}}
{{- define "mulberry.config" -}}
{{- $chart := dict "listen" "0.0.0.0:8080" "admin_listen" "0.0.0.0:9090" "data_dir" "/var/lib/mulberry" -}}
{{- if .Values.tls.secretName -}}
{{- $_ := set $chart "tls" (dict "certificate" "/etc/mulberry-tls/tls.crt" "key" "/etc/mulberry-tls/tls.key") -}}
{{- end -}}
{{ toYaml (merge $chart .Values.config) }}
{{- end }}
