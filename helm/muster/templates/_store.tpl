{{/* Where the store is, and how one logs in there. */}}

{{- define "muster.storeHosts" -}}
{{- if eq .Values.store.mode "bundled" -}}
{{ include "muster.fullname" . }}-store.{{ include "muster.namespace" . }}.svc:6379
{{- else -}}
{{- join "," .Values.store.hosts -}}
{{- end -}}
{{- end -}}

{{- define "muster.storeAuth" -}}
{{- if or .Values.store.auth.enabled (eq .Values.store.mode "bundled") -}}yes{{- end -}}
{{- end -}}

{{- define "muster.storeSecret" -}}
{{- default (printf "%s-store" (include "muster.fullname" .)) .Values.store.auth.existingSecret -}}
{{- end -}}

{{/* The scheme of the store's URL. */}}
{{- define "muster.storeScheme" -}}
{{- $tls := ternary "rediss" "redis" .Values.store.tls.enabled -}}
{{- if has .Values.store.mode (list "sentinel" "cluster") -}}{{ $tls }}+{{ .Values.store.mode }}{{- else -}}{{ $tls }}{{- end -}}
{{- end -}}

{{- define "muster.storePath" -}}
{{- if eq .Values.store.mode "sentinel" -}}
/{{ .Values.store.master }}/{{ .Values.store.database }}
{{- else if ne .Values.store.mode "cluster" -}}
/{{ .Values.store.database }}
{{- end -}}
{{- end -}}

{{/* The variables by which a process finds the store. Kubernetes puts the password into the URL, so
that it stands in no object but the secret. */}}
{{- define "muster.storeEnv" -}}
{{- $top := .top -}}
{{- $store := .top.Values.store -}}
{{- if $store.urlSecret }}
- name: MUSTER_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ $store.urlSecret }}, key: {{ .part }}-url}}
{{- else if include "muster.storeAuth" $top }}
- name: STORE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "muster.storeSecret" $top }}, key: {{ .part }}-password}}
- name: MUSTER_REDIS_URL
  value: {{ printf "%s://%s:$(STORE_PASSWORD)@%s%s" (include "muster.storeScheme" $top) (get $store.auth (printf "%sUser" .part)) (include "muster.storeHosts" $top) (include "muster.storePath" $top) | quote }}
{{- else }}
- name: MUSTER_REDIS_URL
  value: {{ printf "%s://%s%s" (include "muster.storeScheme" $top) (include "muster.storeHosts" $top) (include "muster.storePath" $top) | quote }}
{{- end }}
{{- if and (eq $store.mode "sentinel") $store.auth.sentinelUser }}
- {name: MUSTER_REDIS_SENTINEL_USER, value: {{ $store.auth.sentinelUser | quote }}}
- name: MUSTER_REDIS_SENTINEL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "muster.storeSecret" $top }}, key: sentinel-password}}
{{- end }}
{{- end -}}

{{/* The store's ports, for the NetworkPolicy. */}}
{{- define "muster.storePorts" -}}
{{- $ports := list -}}
{{- if eq .Values.store.mode "bundled" -}}
{{- $ports = list 6379 -}}
{{- else -}}
{{- range .Values.store.hosts -}}{{- $ports = append $ports (int (last (splitList ":" .))) -}}{{- end -}}
{{- if or (eq .Values.store.mode "sentinel") (not .Values.store.hosts) -}}{{- $ports = append $ports (int .Values.store.dataPort) -}}{{- end -}}
{{- range .Values.networkPolicy.storePorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- end -}}
{{- range (uniq $ports) }}
- {protocol: TCP, port: {{ . }}}
{{- end -}}
{{- end -}}
