#!/bin/bash
# Those of psycopg 3's tests (psycopg.sh) that need no tables, types or functions of their own to begin with: connections,
# cursors, COPY, pipelines, prepared statements, transactions, notifications, and its layer over libpq.
PSYCOPG_TESTS="tests/pq tests/test_connection.py tests/test_connection_info.py tests/test_cursor.py tests/test_cursor_server.py \
    tests/test_cursor_raw.py tests/test_copy.py tests/test_pipeline.py tests/test_prepared.py tests/test_transaction.py tests/test_notify.py \
    tests/test_generators.py tests/test_waiting.py"
. "$(dirname "$0")/psycopg.sh"
