"""A CRM session with psycopg 3, once as a restricted role and once as an unrestricted one.

Where to connect comes from libpq's PG* variables; AGENT and DPO are user:password; MASKED=0 says that there is no
pgveil in between (the baseline); SKIPS is the file with checks to leave out.
"""

import os
import sys
import threading
import traceback

import psycopg
from psycopg import errors

# Contact 3 and opportunity 2 of deploy/crm/seed.sql, raw and as an agent sees them.
PHONE, PHONE_MASKED = "13489222564", "134****2564"
EMAIL = "wenbo.wu68@company.example.cn"
ID_CARD = "350203196801182412"
BIRTH, BIRTH_MASKED = "1968-01-18", "1968-01-01"
AMOUNT, AMOUNT_MASKED = "178946.15", "170000"
CONTACTS, EXPORT_LIMIT = 5000, 100

skips = {}
if os.path.exists(os.environ.get("SKIPS", "")):
    with open(os.environ["SKIPS"], encoding="utf-8") as lines:
        for line in lines:
            if ":" in line and not line.startswith("#"):
                name, reason = line.split(":", 1)
                skips[name.strip()] = reason.strip()

passed, failed, skipped = 0, 0, 0


class Session:
    def __init__(self, role):
        self.role = role
        self.user, self.password = os.environ[role.upper()].split(":", 1)
        self.masked = role == "agent" and os.environ.get("MASKED", "1") == "1"

    def connect(self, **options):
        return psycopg.connect(user=self.user, password=self.password, autocommit=True, **options)

    def phone(self):
        return PHONE_MASKED if self.masked else PHONE

    def birth(self):
        return BIRTH_MASKED if self.masked else BIRTH

    def amount(self):
        return AMOUNT_MASKED if self.masked else AMOUNT


def equal(got, expected):
    assert got == expected, f"got {got!r} instead of {expected!r}"


def refused(run):
    """Runs what pgveil must refuse, and returns the diagnostics."""
    try:
        run()
    except errors.InsufficientPrivilege as error:
        assert "pgveil" in error.diag.message_primary, error.diag.message_primary
        assert error.diag.message_hint, "a refusal without a hint"
        return error.diag
    raise AssertionError("was not refused")


def agents_only(check):
    """The data protection officer may not write here."""
    check.applies = lambda s: s.role == "agent"
    return check


def masked_only(check):
    check.applies = lambda s: s.masked
    return check


def a_simple_query(s, conn):
    row = conn.execute("SELECT phone, email, id_card, birth_date::text FROM crm.contacts WHERE id = 3").fetchone()
    equal((row[0], row[3]), (s.phone(), s.birth()))
    if s.masked:
        assert row[1] != EMAIL and row[1].startswith("w") and "@" in row[1], row[1]
        assert row[2] != ID_CARD, row[2]
    else:
        equal((row[1], row[2]), (EMAIL, ID_CARD))


def a_query_with_parameters(s, conn):
    equal(conn.execute("SELECT phone FROM crm.contacts WHERE id = %s", [3]).fetchone()[0], s.phone())
    row = conn.execute("SELECT phone FROM crm.contacts WHERE id = ANY(%s) AND country = %s", [[3, 6], "CN"]).fetchone()
    equal(row[0], s.phone())


def a_prepared_statement_again_and_again(s, conn):
    for _ in range(10):
        query = "SELECT phone, birth_date FROM crm.contacts WHERE id = %s"
        row = conn.execute(query, [3], prepare=True).fetchone()
        equal((row[0], row[1].isoformat()), (s.phone(), s.birth()))


def binary_results(s, conn):
    with conn.cursor(binary=True) as cursor:
        row = cursor.execute("SELECT phone, birth_date, tags FROM crm.contacts WHERE id = %s", [3]).fetchone()
        equal((row[0], row[1].isoformat()), (s.phone(), s.birth()))
        assert isinstance(row[2], list)
        row = cursor.execute("SELECT amount FROM crm.opportunities WHERE id = %s", [2]).fetchone()
        equal(float(row[0]), float(s.amount()))


def chinese_names_arrive_whole(s, conn):
    equal(conn.execute("SELECT full_name, city FROM crm.contacts WHERE id = 3").fetchone(), ("吴文博", "厦门"))


def whole_rows_and_json(s, conn):
    as_json = conn.execute("SELECT row_to_json(c) FROM crm.contacts c WHERE id = 3").fetchone()[0]
    equal((as_json["phone"], as_json["full_name"]), (s.phone(), "吴文博"))
    as_text = conn.execute("SELECT c::text FROM crm.contacts c WHERE id = 3").fetchone()[0]
    equal(PHONE in as_text, not s.masked)


def the_view_is_masked_too(s, conn):
    equal(conn.execute("SELECT phone FROM crm.contact_directory WHERE id = 3").fetchone()[0], s.phone())


def partitions_are_masked_too(s, conn):
    for relation in ("crm.activities", "crm.activities_2024"):
        rows = conn.execute(f"SELECT dialled_phone FROM {relation} WHERE dialled_phone IS NOT NULL ORDER BY id LIMIT 20").fetchall()
        assert len(rows) == 20
        equal(all("*" in row[0] for row in rows), s.masked)


def joins_ctes_and_set_operations(s, conn):
    query = """
        WITH mine AS (SELECT id, phone FROM crm.contacts WHERE id IN (3, 6)),
             both_ways AS (SELECT id, phone FROM mine UNION ALL SELECT l.id, l.phone FROM crm.leads l WHERE l.id = 1)
        SELECT b.phone, (SELECT count(*) FROM crm.opportunities o WHERE o.contact_id = b.id)
        FROM both_ways b JOIN LATERAL (SELECT b.id) AS again(id) USING (id) WHERE b.id = 3
    """
    equal(conn.execute(query).fetchone()[0], s.phone())


def search_path_is_followed(s, conn):
    conn.execute("SET search_path = crm, public")
    equal(conn.execute("SELECT phone FROM contacts WHERE id = %s", [3]).fetchone()[0], s.phone())
    conn.execute("RESET search_path")


def a_server_side_cursor(s, conn):
    with conn.transaction(), conn.cursor(name="few") as cursor:
        cursor.execute("SELECT id, phone FROM crm.contacts WHERE id <= 50 ORDER BY id")
        first, second = cursor.fetchmany(3), cursor.fetchmany(3)
        equal([row[0] for row in first + second], [1, 2, 3, 4, 5, 6])
        equal(first[2][1], s.phone())


def copy_out_of_a_query(s, conn):
    with conn.cursor() as cursor, cursor.copy("COPY (SELECT id, phone FROM crm.contacts WHERE id = 3) TO STDOUT") as copy:
        equal(b"".join(bytes(data) for data in copy).decode(), f"3\t{s.phone()}\n")


def copy_out_in_csv_and_binary(s, conn):
    with conn.cursor() as cursor, cursor.copy("COPY (SELECT phone FROM crm.contacts WHERE id = 3) TO STDOUT (FORMAT csv, HEADER)") as copy:
        equal(b"".join(bytes(data) for data in copy).decode(), f"phone\n{s.phone()}\n")
    with conn.cursor() as cursor, cursor.copy("COPY (SELECT phone FROM crm.contacts WHERE id = 3) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["varchar"])
        equal([row[0] for row in copy.rows()], [s.phone()])


@agents_only
def copy_into_an_unprotected_table(s, conn):
    with conn.cursor() as cursor, cursor.copy("COPY crm.tags (name, description) FROM STDIN") as copy:
        for number in range(500):
            copy.write_row((f"copied-{number}", "a tag"))
    equal(conn.execute("SELECT count(*) FROM crm.tags WHERE name LIKE 'copied-%'").fetchone()[0], 500)
    conn.execute("DELETE FROM crm.tags WHERE name LIKE 'copied-%'")


@agents_only
def inserts_into_an_unprotected_table(s, conn):
    row = conn.execute("INSERT INTO crm.tags (name, description) VALUES (%s, %s) RETURNING name, created_at", ["new", "told"]).fetchone()
    equal(row[0], "new")
    try:
        conn.execute("INSERT INTO crm.tags (name) VALUES (%s)", ["new"])
        raise AssertionError("a second tag of that name")
    except errors.UniqueViolation as error:
        equal((error.diag.schema_name, error.diag.table_name, error.diag.constraint_name), ("crm", "tags", "tags_pkey"))
    equal(conn.execute("UPDATE crm.tags SET description = 'retold' WHERE name = 'new'").rowcount, 1)
    equal(conn.execute("DELETE FROM crm.tags WHERE name = 'new'").rowcount, 1)


@agents_only
def executemany_in_a_batch(s, conn):
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO crm.tags (name) VALUES (%s) RETURNING name", [(f"batch-{n}",) for n in range(50)], returning=True)
        names = []
        while True:
            names.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
    equal(len(names), 50)
    equal(conn.execute("DELETE FROM crm.tags WHERE name LIKE 'batch-%'").rowcount, 50)


def a_temporary_table(s, conn):
    conn.execute("CREATE TEMP TABLE shortlist AS SELECT id, phone FROM crm.contacts WHERE id IN (3, 6)")
    equal(conn.execute("SELECT phone FROM shortlist WHERE id = 3").fetchone()[0], s.phone())
    conn.execute("DROP TABLE shortlist")


def transactions_and_savepoints(s, conn):
    with conn.transaction(force_rollback=True):
        equal(conn.execute("SELECT phone FROM crm.contacts WHERE id = 3").fetchone()[0], s.phone())
        try:
            with conn.transaction():
                conn.execute("SELECT 1/0")
        except errors.DivisionByZero:
            pass
        equal(conn.execute("SELECT phone FROM crm.contacts WHERE id = 3").fetchone()[0], s.phone())
    equal(conn.info.transaction_status.name, "IDLE")


def errors_are_the_servers_own(s, conn):
    for query, kind in (
        ("SELEC 1", errors.SyntaxError),
        ("SELECT nothing FROM crm.tags", errors.UndefinedColumn),
        ("SELECT 1 FROM crm.nothing", errors.UndefinedTable),
        ("SELECT 1/0", errors.DivisionByZero),
    ):
        try:
            conn.execute(query)
            raise AssertionError(f"{query}: no error")
        except kind:
            pass


def what_runs_sql_out_of_sight_is_refused(s, conn):
    if not s.masked:
        conn.execute("SELECT query_to_xml('SELECT 1', true, false, '')")
        return
    refused(lambda: conn.execute("SELECT query_to_xml('SELECT phone FROM crm.contacts', true, false, '')"))
    refused(lambda: conn.execute("SELECT query_to_xml(%s, true, false, '')", ["SELECT phone FROM crm.contacts"]))
    refused(lambda: conn.execute("DO $$ BEGIN PERFORM 1; END $$"))
    equal(conn.execute("SELECT 1").fetchone()[0], 1)


@masked_only
def a_refusal_ends_the_transaction_as_an_error_does(s, conn):
    conn.execute("BEGIN")
    refused(lambda: conn.execute("SELECT query_to_xml('SELECT 1', true, false, '')"))
    equal(conn.info.transaction_status.name, "INERROR")
    try:
        conn.execute("SELECT 1")
        raise AssertionError("the transaction goes on")
    except errors.InFailedSqlTransaction:
        pass
    conn.execute("ROLLBACK")


def a_pipeline(s, conn):
    with conn.pipeline():
        cursors = [conn.execute("SELECT phone, %s::int FROM crm.contacts WHERE id = 3", [n]) for n in range(20)]
        equal([cursor.fetchone() for cursor in cursors], [(s.phone(), n) for n in range(20)])


@masked_only
def a_refusal_in_a_pipeline(s, conn):
    with conn.pipeline() as pipeline:
        before = conn.execute("SELECT phone FROM crm.contacts WHERE id = 3")
        pipeline.sync()
        bad = conn.execute("SELECT query_to_xml(%s, true, false, '')", ["SELECT 1"])
        after = conn.execute("SELECT 2")
        equal(before.fetchone()[0], s.phone())
        refused(bad.fetchone)
        try:
            after.fetchone()
            raise AssertionError("what follows a refusal runs")
        except psycopg.Error as error:
            # psycopg tells of a skipped statement by PipelineAborted or by having no result for it.
            assert isinstance(error, (errors.PipelineAborted, psycopg.ProgrammingError)), error
        pipeline.sync()
        equal(conn.execute("SELECT 3").fetchone()[0], 3)


def columns_are_described_as_ever(s, conn):
    with s.connect() as other, other.cursor() as cursor:
        oid = cursor.execute("SELECT 'crm.contacts'::regclass::oid").fetchone()[0]
        numbers = cursor.execute(
            "SELECT array_agg(attnum ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'crm.contacts'::regclass AND attname IN ('full_name', 'phone', 'birth_date')"
        ).fetchone()[0]
        cursor.execute("SELECT full_name, phone, birth_date FROM crm.contacts WHERE id = 3")
        result = cursor.pgresult
        equal([result.ftable(n) for n in range(3)], [oid] * 3)
        equal([result.ftablecol(n) for n in range(3)], numbers)
        equal([column.type_code for column in cursor.description], [25, 1043, 1082])
        equal([column.internal_size for column in cursor.description], [None, None, 4])
        equal(result.fmod(1), 24)


def the_catalogs_can_be_read(s, conn):
    query = "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'crm.contacts'::regclass AND a.attnum > 0 ORDER BY a.attnum"
    equal(conn.execute(query).fetchall()[3][0], "phone")
    info = psycopg.types.TypeInfo.fetch(conn, "varchar")
    equal(info.oid, 1043)
    tables = conn.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'crm' ORDER BY 1").fetchall()
    assert ("contacts",) in tables


def an_export_is_stopped_at_its_limit(s, conn):
    query = "SELECT full_name, phone FROM crm.contacts"
    if not s.masked:
        equal(len(conn.execute(query).fetchall()), CONTACTS)
        return
    equal(len(conn.execute(query + f" LIMIT {EXPORT_LIMIT}").fetchall()), EXPORT_LIMIT)
    for run in (
        lambda: conn.execute(query),
        lambda: conn.execute(query + " WHERE id > %s", [0]),
        lambda: conn.execute(query + f" LIMIT {EXPORT_LIMIT + 1}"),
    ):
        try:
            run()
            raise AssertionError("all contacts came")
        except psycopg.Error as error:
            assert "pgveil" in str(error), error
    equal(conn.execute("SELECT 1").fetchone()[0], 1)


@masked_only
def rows_before_the_stop_arrive_and_no_more(s, conn):
    rows = 0
    try:
        with conn.cursor() as cursor:
            for _ in cursor.stream("SELECT phone FROM crm.contacts"):
                rows += 1
        raise AssertionError("all contacts came")
    except psycopg.Error as error:
        assert "pgveil" in str(error), error
    assert rows <= EXPORT_LIMIT, rows
    rows = 0
    try:
        with conn.cursor() as cursor, cursor.copy("COPY (SELECT phone FROM crm.contacts) TO STDOUT") as copy:
            for data in copy:
                rows += bytes(data).count(b"\n")
        raise AssertionError("all contacts came by COPY")
    except psycopg.Error as error:
        assert "pgveil" in str(error), error
    assert rows <= EXPORT_LIMIT, rows


def unprotected_rows_have_no_limit(s, conn):
    equal(len(conn.execute("SELECT g FROM generate_series(1, 20000) AS g").fetchall()), 20000)
    equal(conn.execute("SELECT count(*) FROM crm.contacts").fetchone()[0], CONTACTS)


def listen_and_notify(s, conn):
    with s.connect() as other:
        conn.execute("LISTEN news")
        other.execute("NOTIFY news, 'hello'")
        notice = next(conn.notifies(timeout=20, stop_after=1))
        # A trigger may send rows in it: a restricted role learns only that something was sent.
        equal((notice.channel, notice.payload), ("news", "" if s.masked else "hello"))
        conn.execute("UNLISTEN news")


def a_running_query_is_cancelled(s, conn):
    # The cancel request is repeated: the first may come before the query has begun.
    done = threading.Event()

    def cancel():
        while not done.wait(0.3):
            conn.cancel_safe(timeout=10) if hasattr(conn, "cancel_safe") else conn.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        conn.execute("SELECT count(*) FROM generate_series(1, 3000000000) AS g")
        raise AssertionError("was not cancelled")
    except errors.QueryCanceled:
        pass
    finally:
        done.set()
        canceller.join()
    # A last cancel request may still be on its way.
    for _ in range(50):
        try:
            equal(conn.execute("SELECT 1").fetchone()[0], 1)
            break
        except errors.QueryCanceled:
            continue


def a_wrong_password_is_turned_away(s, conn):
    try:
        psycopg.connect(user=s.user, password="wrong").close()
        raise AssertionError("came in with a wrong password")
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error), error


def a_stranger_is_turned_away(s, conn):
    try:
        psycopg.connect(user="nobody_at_all", password="wrong").close()
        raise AssertionError("a stranger came in")
    except psycopg.OperationalError:
        pass


def tls_is_used_where_asked_for(s, conn):
    equal(bool(conn.pgconn.ssl_in_use), os.environ.get("PGSSLMODE", "prefer") not in ("disable", "allow"))


def large_values_pass(s, conn):
    text = "x" * (8 * 1024 * 1024)
    equal(len(conn.execute("SELECT %s || 'y'", [text]).fetchone()[0]), len(text) + 1)


CHECKS = [
    a_simple_query, a_query_with_parameters, a_prepared_statement_again_and_again, binary_results, chinese_names_arrive_whole,
    whole_rows_and_json, the_view_is_masked_too, partitions_are_masked_too, joins_ctes_and_set_operations, search_path_is_followed,
    a_server_side_cursor, copy_out_of_a_query, copy_out_in_csv_and_binary, copy_into_an_unprotected_table,
    inserts_into_an_unprotected_table, executemany_in_a_batch, a_temporary_table, transactions_and_savepoints, errors_are_the_servers_own,
    what_runs_sql_out_of_sight_is_refused, a_refusal_ends_the_transaction_as_an_error_does, a_pipeline, a_refusal_in_a_pipeline,
    columns_are_described_as_ever, the_catalogs_can_be_read, an_export_is_stopped_at_its_limit, rows_before_the_stop_arrive_and_no_more,
    unprotected_rows_have_no_limit, listen_and_notify, a_running_query_is_cancelled, a_wrong_password_is_turned_away,
    a_stranger_is_turned_away, tls_is_used_where_asked_for, large_values_pass,
]

for role in ("agent", "dpo"):
    session = Session(role)
    for check in CHECKS:
        name = f"python/{role}/{check.__name__}"
        if not getattr(check, "applies", lambda _: True)(session):
            continue
        if name in skips:
            skipped += 1
            print(f"skipped {name}: {skips[name]}")
            continue
        try:
            # A connection of its own: one failed check must not spoil the next.
            with session.connect() as connection:
                check(session, connection)
            passed += 1
        except Exception as error:  # whatever it is, the other checks go on
            failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAILED {name}: {type(error).__name__}: {str(error).strip()} (line {where.lineno})")

print(f"python: {passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
