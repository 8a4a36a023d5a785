"""What Django and SQLAlchemy find out about a database, through pgveil and without it, as a restricted role and as an
unrestricted one: it must be the same.

Where to connect comes from libpq's PG* variables, without pgveil from DIRECT_PORT; AGENT and DPO are user:password;
SKIPS is the file with checks to leave out.
"""

import io
import os
import sys

import django
import sqlalchemy
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from sqlalchemy.dialects import postgresql

skips = {}
if os.path.exists(os.environ.get("SKIPS", "")):
    with open(os.environ["SKIPS"], encoding="utf-8") as lines:
        for line in lines:
            if ":" in line and not line.startswith("#"):
                name, reason = line.split(":", 1)
                skips[name.strip()] = reason.strip()

ROLES = ("agent", "dpo")
DIRECT = {"host": "127.0.0.1", "port": os.environ.get("DIRECT_PORT", os.environ["PGPORT"]), "sslmode": "disable", "channel_binding": "prefer"}
THROUGH = {"host": os.environ["PGHOST"], "port": os.environ["PGPORT"]}
WAYS = {"through": THROUGH, "direct": DIRECT}


def login(role):
    return os.environ[role.upper()].split(":", 1)


def databases():
    for role in ROLES:
        user, password = login(role)
        for way, where in WAYS.items():
            options = {key: value for key, value in where.items() if key not in ("host", "port")}
            options["options"] = "-c search_path=crm,public"
            yield f"{role}_{way}", {
                "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "USER": user, "PASSWORD": password,
                "HOST": where["host"], "PORT": where["port"], "OPTIONS": options,
            }


found = dict(databases())
settings.configure(DATABASES={**found, "default": found["agent_direct"]}, INSTALLED_APPS=[])
django.setup()


def inspectdb(role, way):
    out = io.StringIO()
    call_command("inspectdb", "--include-views", "--include-partitions", database=f"{role}_{way}", stdout=out)
    text = out.getvalue()
    assert "class Contacts(" in text and "Unable to inspect" not in text, text[:2000]
    return text


def introspection(role, way):
    """What migrations and the admin ask for besides."""
    connection = connections[f"{role}_{way}"]
    with connection.cursor() as cursor:
        tables = connection.introspection.get_table_list(cursor)
        names = sorted(table.name for table in tables if table.type != "v")
        assert "contacts" in names, names
        return [
            (
                name, connection.introspection.get_table_description(cursor, name), connection.introspection.get_sequences(cursor, name),
                connection.introspection.get_relations(cursor, name), connection.introspection.get_constraints(cursor, name),
                connection.introspection.get_primary_key_columns(cursor, name),
            )
            for name in names
        ]


def engine(role, way):
    user, password = login(role)
    where = WAYS[way]
    url = sqlalchemy.URL.create("postgresql+psycopg", user, password, where["host"], int(where["port"]), os.environ["PGDATABASE"],
                                {key: value for key, value in where.items() if key not in ("host", "port")})
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)


def inspector(role, way):
    found = sqlalchemy.inspect(engine(role, way))
    described = []
    for schema in found.get_schema_names():
        described.append((schema, found.get_table_names(schema), found.get_view_names(schema), found.get_materialized_view_names(schema),
                          found.get_sequence_names(schema), found.get_enums(schema), found.get_domains(schema), found.get_foreign_table_names(schema)))
        if schema != "crm":
            continue
        everything = postgresql.base.PGInspector
        assert isinstance(found, everything)
        for read in ("get_multi_columns", "get_multi_pk_constraint", "get_multi_foreign_keys", "get_multi_indexes",
                     "get_multi_unique_constraints", "get_multi_check_constraints", "get_multi_table_comment", "get_multi_table_options"):
            described.append((read, sorted(getattr(found, read)(schema, kind=sqlalchemy.engine.reflection.ObjectKind.ANY).items(), key=str)))
        for view in found.get_view_names(schema):
            described.append((view, found.get_view_definition(view, schema)))
    text = "\n".join(str(part) for part in described)
    assert "contacts" in text and "phone" in text
    return text


def reflected_metadata(role, way):
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine(role, way), schema="crm", views=True)
    assert "crm.contacts" in metadata.tables
    return [str(sqlalchemy.schema.CreateTable(table)) for table in metadata.sorted_tables]


def automapped_objects(role, way):
    """Reads through what was reflected; the columns of the answer are the reflected ones."""
    here = engine(role, way)
    table = sqlalchemy.Table("tags", sqlalchemy.MetaData(), schema="crm", autoload_with=here)
    with here.connect() as connection:
        return [tuple(row) for row in connection.execute(sqlalchemy.select(table).order_by(*table.primary_key).limit(5))]


CHECKS = [inspectdb, introspection, inspector, reflected_metadata, automapped_objects]
passed, failed, skipped = 0, 0, 0
for role in ROLES:
    for check in CHECKS:
        name = f"reflection/{role}/{check.__name__}"
        if name in skips:
            skipped += 1
            print(f"skipped {name}: {skips[name]}")
            continue
        try:
            got, expected = check(role, "through"), check(role, "direct")
            if got != expected:
                pairs = zip(got.splitlines(), expected.splitlines()) if isinstance(got, str) else zip(got, expected)
                differs = next((pair for pair in pairs if pair[0] != pair[1]), "more or fewer of them")
                raise AssertionError(f"differs: {differs}")
            passed += 1
        except Exception as error:  # whatever it is, the other checks go on
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {str(error).strip()[:2000]}")

print(f"reflection: {passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
