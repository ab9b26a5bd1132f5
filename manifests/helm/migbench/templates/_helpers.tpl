{{- define "migbench.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Labels of an object; the argument is a list of the root context and the object's name. */}}
{{- define "migbench.labels" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/part-of: migbench
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end }}
