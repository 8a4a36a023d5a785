"""A collector of OpenTelemetry logs and traces, by the published protocol files: prints each record and span it takes as a line of
JSON.

The first requests get what --trouble names, in its order: unavailable, garbage, exhausted, partial, hang."""

import argparse
import json
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

lock = threading.Lock()


def value(any_value):
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def take(request, token):
    with lock:
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    line = {
                        "resource": attributes(resource.resource.attributes),
                        "scope": scope.scope.name,
                        "time": record.time_unix_nano,
                        "severity": record.severity_number,
                        "event": record.event_name,
                        "body": value(record.body),
                        "attributes": attributes(record.attributes),
                        "authorization": token,
                        "trace": record.trace_id.hex(),
                        "span": record.span_id.hex(),
                    }
                    print(json.dumps(line), flush=True)


def take_spans(request):
    with lock:
        for resource in request.resource_spans:
            assert attributes(resource.resource.attributes)["service.name"] == "pgveil"
            for scope in resource.scope_spans:
                for span in scope.spans:
                    line = {
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "name": span.name,
                        "kind": span.kind,
                        "nanoseconds": span.end_time_unix_nano - span.start_time_unix_nano,
                        "attributes": attributes(span.attributes),
                        "error": span.status.code == span.status.STATUS_CODE_ERROR,
                    }
                    print(json.dumps(line), flush=True)


def records(request):
    return sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs)


def partial(request):
    answer = service.ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = records(request)
    answer.partial_success.error_message = "no"
    return answer


def next_trouble(trouble):
    with lock:
        return trouble.pop(0) if trouble else None


def http_server(port, trouble):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            kind = next_trouble(trouble)
            if kind == "hang":
                time.sleep(3600)
            if kind == "unavailable":
                return self.answer(503, b"")
            if kind == "exhausted":
                return self.answer(413, b"")
            if kind == "garbage":
                return self.answer(200, b"<html>welcome</html>", "text/html")
            assert self.headers["content-type"] == "application/x-protobuf"
            if self.path == "/v1/traces":
                take_spans(traces.ExportTraceServiceRequest.FromString(body))
                return self.answer(200, traces.ExportTraceServiceResponse().SerializeToString())
            assert self.path == "/v1/logs", self.path
            request = service.ExportLogsServiceRequest.FromString(body)
            if kind == "partial":
                return self.answer(200, partial(request).SerializeToString())
            take(request, self.headers["authorization"])
            self.answer(200, service.ExportLogsServiceResponse().SerializeToString())

        def answer(self, status, body, kind="application/x-protobuf"):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(json.dumps({"ready": True}), flush=True)
    server.serve_forever()


def grpc_server(port, trouble, cert, key, client_ca):
    class Logs(service_grpc.LogsServiceServicer):
        def Export(self, request, context):
            kind = next_trouble(trouble)
            if kind == "hang":
                time.sleep(3600)
            if kind in ("unavailable", "garbage"):
                context.abort(grpc.StatusCode.UNAVAILABLE, "later")
            if kind == "exhausted":
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
            if kind == "partial":
                return partial(request)
            take(request, dict(context.invocation_metadata()).get("authorization"))
            return service.ExportLogsServiceResponse()

    class Traces(traces_grpc.TraceServiceServicer):
        def Export(self, request, context):
            take_spans(request)
            return traces.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    service_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    traces_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    if cert:
        pair = (open(key, "rb").read(), open(cert, "rb").read())
        roots = open(client_ca, "rb").read() if client_ca else None
        credentials = grpc.ssl_server_credentials([pair], roots, require_client_auth=bool(roots))
        bound = server.add_secure_port(f"localhost:{port}", credentials)
    else:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    assert bound == port
    server.start()
    print(json.dumps({"ready": True}), flush=True)
    server.wait_for_termination()


parser = argparse.ArgumentParser()
parser.add_argument("protocol", choices=["http", "grpc"])
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--trouble", default="")
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--client-ca")
options = parser.parse_args()
trouble = [word for word in options.trouble.split(",") if word]
if options.protocol == "http":
    http_server(options.port, trouble)
else:
    grpc_server(options.port, trouble, options.cert, options.key, options.client_ca)
sys.exit(0)
