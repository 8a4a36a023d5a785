#!/usr/bin/env python3
"""Writes the dashboards operations.json and security.json beside this file; --check says whether they are what it writes.

A panel is a line: title, unit, query with its legend (or several). Names of metrics are held against the program's own table by
tests/deploy/monitoring.rs.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
WHERE = 'job="$job",instance=~"$instance"'


def panel(title, unit, *queries, kind="timeseries", description="", width=8, stack=False):
    return {"title": title, "unit": unit, "queries": queries, "kind": kind, "description": description, "width": width, "stack": stack}


OPERATIONS = [
    ("Now", [
        panel("Ready", "none", ("min(pgveil_ready{%s})" % WHERE, "ready"), kind="stat", width=3, description="1: every instance answers /readyz with 200."),
        panel("Sessions", "none", ("sum(pgveil_sessions{%s})" % WHERE, "sessions"), kind="stat", width=3),
        panel("Statements", "ops", ("sum(rate(pgveil_statements_total{%s}[$__rate_interval]))" % WHERE, "a second"), kind="stat", width=3),
        panel("State", "none", ("min(pgveil_state_available{%s})" % WHERE, "available"), kind="stat", width=3, description="1: budgets and approvals can be read and written."),
        panel("Policy read", "none", ("min(pgveil_policy_last_reload_successful{%s})" % WHERE, "successful"), kind="stat", width=3, description="0: the files were changed and cannot be used; the policy from before is in force."),
        panel("First certificate ends in", "s", ("min(pgveil_tls_certificate_not_after_timestamp_seconds{%s}) - time()" % WHERE, "left"), kind="stat", width=3),
        panel("Version", "none", ("sum by (version) (pgveil_build_info{%s})" % WHERE, "{{version}}"), kind="stat", width=3),
        panel("Alerts firing", "none", ('count(ALERTS{alertstate="firing",alertname=~"Pgveil.*"}) or vector(0)', "alerts"), kind="stat", width=3),
    ]),
    ("Work", [
        panel("Statements by verdict", "ops", ("sum by (verdict) (rate(pgveil_statements_total{%s}[$__rate_interval]))" % WHERE, "{{verdict}}"), stack=True),
        panel("Statements by role", "ops", ("sum by (role) (rate(pgveil_statements_total{%s}[$__rate_interval]))" % WHERE, "{{role}}"), stack=True),
        panel("Statements by kind", "ops", ("sum by (kind) (rate(pgveil_statements_total{%s}[$__rate_interval]))" % WHERE, "{{kind}}"), stack=True),
        panel("Time of statements, p50 and p95 by role", "s",
              ("histogram_quantile(0.5, sum by (role, le) (rate(pgveil_statement_duration_seconds_bucket{%s}[$__rate_interval])))" % WHERE, "{{role}} p50"),
              ("histogram_quantile(0.95, sum by (role, le) (rate(pgveil_statement_duration_seconds_bucket{%s}[$__rate_interval])))" % WHERE, "{{role}} p95"),
              description="From the first byte to the end of the result; the server's time is part of it."),
        panel("Time to decide", "s",
              ("histogram_quantile(0.5, sum by (le) (rate(pgveil_planning_seconds_bucket{%s}[$__rate_interval])))" % WHERE, "p50"),
              ("histogram_quantile(0.99, sum by (le) (rate(pgveil_planning_seconds_bucket{%s}[$__rate_interval])))" % WHERE, "p99")),
        panel("Plans found in the cache", "percentunit",
              ("sum(rate(pgveil_plan_cache_hits_total{%s}[$__rate_interval])) / (sum(rate(pgveil_plan_cache_hits_total{%s}[$__rate_interval])) + sum(rate(pgveil_plan_cache_misses_total{%s}[$__rate_interval])))" % (WHERE, WHERE, WHERE), "found")),
    ]),
    ("Sessions", [
        panel("Sessions and their limit", "none",
              ("pgveil_sessions{%s}" % WHERE, "{{instance}}"),
              ("pgveil_sessions_limit{%s}" % WHERE, "limit of {{instance}}")),
        panel("Logins", "ops",
              ('sum by (result) (rate(pgveil_logins_total{%s}[$__rate_interval]))' % WHERE, "{{result}}"),
              ('sum by (blame) (rate(pgveil_login_failures_total{%s}[$__rate_interval]))' % WHERE, "failed: {{blame}}")),
        panel("Sessions that ended, connections turned away", "ops",
              ("sum by (end) (rate(pgveil_session_ends_total{%s}[$__rate_interval]))" % WHERE, "{{end}}"),
              ('sum by (result) (rate(pgveil_connections_total{%s,result!="accepted"}[$__rate_interval]))' % WHERE, "turned away: {{result}}")),
    ]),
    ("The record", [
        panel("Records written", "ops", ("sum by (event) (rate(pgveil_audit_records_total{%s}[$__rate_interval]))" % WHERE, "{{event}}"), stack=True),
        panel("Time to write one", "s",
              ("histogram_quantile(0.5, sum by (le) (rate(pgveil_audit_append_seconds_bucket{%s}[$__rate_interval])))" % WHERE, "p50"),
              ("histogram_quantile(0.99, sum by (le) (rate(pgveil_audit_append_seconds_bucket{%s}[$__rate_interval])))" % WHERE, "p99")),
        panel("Spool, and what is free beside it", "bytes",
              ("pgveil_audit_spool_bytes{%s}" % WHERE, "spool of {{instance}}"),
              ("pgveil_audit_disk_free_bytes{%s}" % WHERE, "free at {{instance}}")),
        panel("Oldest record a sink has not got", "s", ("pgveil_audit_sink_oldest_seconds{%s}" % WHERE, "{{sink}}")),
        panel("Deliveries", "ops",
              ("sum by (sink) (rate(pgveil_audit_sink_records_total{%s}[$__rate_interval]))" % WHERE, "{{sink}} delivered"),
              ("sum by (sink) (rate(pgveil_audit_sink_failures_total{%s}[$__rate_interval]))" % WHERE, "{{sink}} failed, tried again")),
        panel("Not on the disk yet, not looked at yet", "none",
              ("pgveil_audit_unsynced_records{%s}" % WHERE, "not on the disk"),
              ("pgveil_detection_behind_records{%s}" % WHERE, "not looked at for alarms")),
    ]),
    ("The process", [
        panel("CPU", "none", ("rate(process_cpu_seconds_total{%s}[$__rate_interval])" % WHERE, "cores of {{instance}}")),
        panel("Memory", "bytes",
              ("process_resident_memory_bytes{%s}" % WHERE, "resident of {{instance}}"),
              ("pgveil_plan_cache_bytes{%s}" % WHERE, "plan cache of {{instance}}")),
        panel("File descriptors", "none",
              ("process_open_fds{%s}" % WHERE, "open at {{instance}}"),
              ("process_max_fds{%s}" % WHERE, "limit of {{instance}}")),
    ]),
]

SECURITY = [
    ("Now", [
        panel("Violations", "none", ("sum(pgveil_violations_total{%s})" % WHERE, "since the start"), kind="stat", width=4, description="Masked columns that came back as plain columns and were stopped. Anything but 0 is an alarm."),
        panel("Alarms in a day", "none", ("sum(increase(pgveil_alarms_total{%s}[1d]))" % WHERE, "alarms"), kind="stat", width=4),
        panel("Names the policy has lost", "none", ("sum(pgveil_policy_drift{%s})" % WHERE, "names"), kind="stat", width=4),
        panel("Requests that wait", "none", ("max(pgveil_export_requests_pending{%s})" % WHERE, "requests"), kind="stat", width=4),
        panel("The oldest waits", "s", ("max(pgveil_export_requests_oldest_seconds{%s})" % WHERE, "seconds"), kind="stat", width=4),
        panel("Records lost", "none", ("sum(pgveil_audit_records_lost_total{%s})" % WHERE, "since the start"), kind="stat", width=4),
    ]),
    ("What is read", [
        panel("Rows of protected relations by role", "ops", ('sum by (role) (rate(pgveil_rows_total{%s,protected="true"}[$__rate_interval]))' % WHERE, "{{role}}"), stack=True),
        panel("Rows of other relations by role", "ops", ('sum by (role) (rate(pgveil_rows_total{%s,protected="false"}[$__rate_interval]))' % WHERE, "{{role}}"), stack=True),
        panel("Lookups by stored value", "ops", ("sum by (role) (rate(pgveil_lookups_total{%s}[$__rate_interval]))" % WHERE, "{{role}}")),
    ]),
    ("What is refused", [
        panel("Refusals by reason", "ops", ("sum by (reason) (rate(pgveil_refusals_total{%s}[$__rate_interval]))" % WHERE, "{{reason}}"), stack=True),
        panel("Refusals by role", "ops", ("sum by (role) (rate(pgveil_refusals_total{%s}[$__rate_interval]))" % WHERE, "{{role}}"), stack=True),
        panel("Export stops within an hour", "none", ("sum by (role, limit) (increase(pgveil_export_stops_total{%s}[1h])) > 0" % WHERE, "{{role}}: {{limit}}")),
        panel("Alarms within an hour", "none", ("sum by (alarm) (increase(pgveil_alarms_total{%s}[1h]))" % WHERE, "{{alarm}}")),
        panel("Failed logins by blame", "ops", ("sum by (blame) (rate(pgveil_login_failures_total{%s}[$__rate_interval]))" % WHERE, "{{blame}}"), stack=True),
        panel("Requests that wait for signatures", "none",
              ("max(pgveil_export_requests_pending{%s})" % WHERE, "requests"),
              ("max(pgveil_notifications_pending{%s})" % WHERE, "steps approvers have not been told")),
    ]),
    ("Whether the record is whole", [
        panel("Records in the chain", "none", ("pgveil_audit_head_seq{%s}" % WHERE, "{{instance}}"), description="It never goes down. The head is kept here, outside of the machine: pgveil audit verify --through compares it."),
        panel("Records that could not be written", "none",
              ("increase(pgveil_audit_failures_total{%s}[1h])" % WHERE, "failed at {{instance}}"),
              ("increase(pgveil_audit_records_lost_total{%s}[1h])" % WHERE, "lost at {{instance}}")),
        panel("Records a receiver has not got and never will", "none",
              ("increase(pgveil_audit_sink_missing_total{%s}[1h])" % WHERE, "{{sink}} missing"),
              ("increase(pgveil_audit_sink_rejected_total{%s}[1h])" % WHERE, "{{sink}} rejected")),
    ]),
]


def drawn(shape, number, x, y):
    made = {
        "id": number,
        "type": shape["kind"],
        "title": shape["title"],
        "description": shape["description"],
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": shape["width"], "h": 4 if shape["kind"] == "stat" else 8},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expr, "legendFormat": legend, "datasource": {"type": "prometheus", "uid": "${datasource}"}}
            for place, (expr, legend) in enumerate(shape["queries"])
        ],
        "fieldConfig": {"defaults": {"unit": shape["unit"], "min": 0}, "overrides": []},
    }
    if shape["kind"] == "timeseries":
        fill = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if shape["stack"] else {"fillOpacity": 0}
        made["fieldConfig"]["defaults"]["custom"] = {"lineWidth": 1, "showPoints": "never", **fill}
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    else:
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    return made


def dashboard(uid, title, rows):
    panels, y, number = [], 0, 0
    for heading, shapes in rows:
        number += 1
        panels.append({"id": number, "type": "row", "title": heading, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        y, x, tall = y + 1, 0, 0
        for shape in shapes:
            if x + shape["width"] > 24:
                x, y = 0, y + tall
            number += 1
            made = drawn(shape, number, x, y)
            x, tall = x + shape["width"], made["gridPos"]["h"]
            panels.append(made)
        y += tall
    chosen = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {"name": "job", "type": "query", "query": "label_values(pgveil_build_info, job)", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "refresh": 1},
        {"name": "instance", "type": "query", "query": 'label_values(pgveil_build_info{job="$job"}, instance)', "datasource": {"type": "prometheus", "uid": "${datasource}"}, "refresh": 1, "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}},
    ]
    return {
        "uid": uid, "title": title, "tags": ["pgveil"], "schemaVersion": 39, "editable": True, "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"}, "templating": {"list": chosen}, "annotations": {"list": []}, "panels": panels,
    }


def main():
    stale = []
    for name, rows in (("operations", OPERATIONS), ("security", SECURITY)):
        text = json.dumps(dashboard("pgveil-" + name, "pgveil: " + name, rows), indent=1, ensure_ascii=False) + "\n"
        path = HERE / (name + ".json")
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.write_text(text)
    if stale:
        sys.exit("%s: run deploy/grafana/dashboards.py" % ", ".join(stale))


if __name__ == "__main__":
    main()
