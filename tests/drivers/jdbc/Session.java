import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;

/**
 * A CRM session with the JDBC driver, once as a restricted role and once as an unrestricted one. Where to connect
 * comes from libpq's PG* variables; AGENT and DPO are user:password; MASKED=0 says that there is no pgveil in between;
 * SKIPS is the file with checks to leave out. Run as: java -cp postgresql.jar Session.java
 */
public class Session {
    // Contact 3 and opportunity 2 of deploy/crm/seed.sql.
    static final String PHONE = "13489222564", PHONE_MASKED = "134****2564", EMAIL = "wenbo.wu68@company.example.cn";
    static final int EXPORT_LIMIT = 100;
    static final String OUT_OF_SIGHT = "SELECT query_to_xml('SELECT phone FROM crm.contacts', true, false, '')";

    interface Check {
        void run(Session s, Connection db) throws Exception;
    }

    enum For { EVERYBODY, AGENTS, MASKED }

    record Entry(String name, For whom, Check check) {}

    static final List<Entry> CHECKS = new ArrayList<>();
    static final Map<String, String> SKIPS = new HashMap<>();

    final String role, user, password;
    final boolean masked;

    Session(String role) {
        this.role = role;
        String[] login = System.getenv(role.toUpperCase()).split(":", 2);
        user = login[0];
        password = login[1];
        masked = role.equals("agent") && !"0".equals(System.getenv("MASKED"));
    }

    String phone() {
        return masked ? PHONE_MASKED : PHONE;
    }

    Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("password", password);
        properties.setProperty("sslmode", System.getenv().getOrDefault("PGSSLMODE", "prefer"));
        properties.setProperty("loginTimeout", "20");
        properties.setProperty("socketTimeout", "60");
        for (int n = 0; n < options.length; n += 2) {
            properties.setProperty(options[n], options[n + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), properties);
    }

    /** Past pgveil. */
    Connection connectDirectly() throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("password", password);
        properties.setProperty("sslmode", "disable");
        String port = System.getenv().getOrDefault("DIRECT_PORT", System.getenv("PGPORT"));
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/" + System.getenv("PGDATABASE"), properties);
    }

    static List<String> described(DatabaseMetaData data) throws SQLException {
        List<String> lines = new ArrayList<>();
        String any = "%";
        rows(lines, "schemas", data.getSchemas());
        rows(lines, "catalogs", data.getCatalogs());
        rows(lines, "table types", data.getTableTypes());
        rows(lines, "tables", data.getTables(null, null, any, null));
        rows(lines, "columns", data.getColumns(null, "crm", any, any));
        rows(lines, "system columns", data.getColumns(null, "pg_catalog", "pg_cl%", any));
        rows(lines, "column privileges", data.getColumnPrivileges(null, "crm", "contacts", any));
        rows(lines, "table privileges", data.getTablePrivileges(null, "crm", any));
        rows(lines, "functions", data.getFunctions(null, "crm", any));
        rows(lines, "function columns", data.getFunctionColumns(null, "crm", any, any));
        rows(lines, "procedures", data.getProcedures(null, null, any));
        rows(lines, "procedure columns", data.getProcedureColumns(null, "crm", any, any));
        rows(lines, "types", data.getTypeInfo());
        rows(lines, "user types", data.getUDTs(null, null, any, null));
        rows(lines, "client info", data.getClientInfoProperties());
        for (String table : List.of("contacts", "activities", "opportunities", "tags")) {
            rows(lines, table + " key", data.getPrimaryKeys(null, "crm", table));
            rows(lines, table + " imported", data.getImportedKeys(null, "crm", table));
            rows(lines, table + " exported", data.getExportedKeys(null, "crm", table));
            rows(lines, table + " indexes", data.getIndexInfo(null, "crm", table, false, true));
            rows(lines, table + " best row", data.getBestRowIdentifier(null, "crm", table, DatabaseMetaData.bestRowSession, true));
            rows(lines, table + " versions", data.getVersionColumns(null, "crm", table));
        }
        rows(lines, "cross reference", data.getCrossReference(null, "crm", "contacts", null, "crm", "opportunities"));
        lines.add(data.getDatabaseProductVersion() + data.getSQLKeywords() + data.getNumericFunctions() + data.getMaxColumnNameLength());
        return lines;
    }

    static void rows(List<String> lines, String of, ResultSet rows) throws SQLException {
        try (rows) {
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                StringBuilder line = new StringBuilder(of);
                for (int column = 1; column <= columns; column++) {
                    line.append('|').append(rows.getMetaData().getColumnLabel(column)).append('=').append(rows.getString(column));
                }
                lines.add(line.toString());
            }
        }
    }

    static void equal(Object got, Object expected) {
        if (!Objects.equals(got, expected)) {
            throw new AssertionError("got " + got + " instead of " + expected);
        }
    }

    static void holds(boolean what, String otherwise) {
        if (!what) {
            throw new AssertionError(otherwise);
        }
    }

    interface Action {
        void run() throws Exception;
    }

    static SQLException fails(String state, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException error) {
            equal(error.getSQLState(), state);
            return error;
        }
        throw new AssertionError("no error where " + state + " was expected");
    }

    static void refused(Action action) throws Exception {
        var message = ((PSQLException) fails("42501", action)).getServerErrorMessage();
        holds(message.getMessage().startsWith("pgveil: "), message.getMessage());
        holds(message.getHint() != null && message.getDetail() != null, "a refusal without detail or hint");
    }

    static String one(Connection db, String query) throws SQLException {
        try (Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery(query)) {
            return rows.next() ? rows.getString(1) : null;
        }
    }

    static void check(String name, For whom, Check check) {
        CHECKS.add(new Entry(name, whom, check));
    }

    static {
        check("statement", For.EVERYBODY, (s, db) -> {
            equal(one(db, "SELECT phone FROM crm.contacts WHERE id = 3"), s.phone());
            equal(one(db, "SELECT email FROM crm.contacts WHERE id = 3").equals(EMAIL), !s.masked);
            equal(one(db, "SELECT full_name FROM crm.contacts WHERE id = 3"), "吴文博");
        });

        check("prepared_statement_text_then_binary", For.EVERYBODY, (s, db) -> {
            // After the first executions the driver prepares it on the server and asks for binary results.
            try (var statement = db.prepareStatement("SELECT phone, birth_date, id FROM crm.contacts WHERE id = ?")) {
                statement.unwrap(org.postgresql.PGStatement.class).setPrepareThreshold(2);
                for (int n = 0; n < 8; n++) {
                    statement.setInt(1, 3);
                    try (ResultSet rows = statement.executeQuery()) {
                        holds(rows.next(), "no row");
                        equal(rows.getString(1), s.phone());
                        equal(rows.getDate(2).toString(), s.masked ? "1968-01-01" : "1968-01-18");
                        equal(rows.getInt(3), 3);
                    }
                }
            }
        });

        check("numbers_in_binary", For.EVERYBODY, (s, db) -> {
            try (Connection binary = s.connect("binaryTransfer", "true", "prepareThreshold", "-1");
                    var statement = binary.prepareStatement("SELECT amount FROM crm.opportunities WHERE id = ?")) {
                statement.setInt(1, 2);
                try (ResultSet rows = statement.executeQuery()) {
                    holds(rows.next(), "no row");
                    equal(rows.getBigDecimal(1).doubleValue(), s.masked ? 170000.0 : 178946.15);
                }
            }
        });

        check("simple_query_mode", For.EVERYBODY, (s, db) -> {
            try (Connection simple = s.connect("preferQueryMode", "simple"); var statement = simple.prepareStatement("SELECT phone FROM crm.contacts WHERE id = ?")) {
                statement.setInt(1, 3);
                try (ResultSet rows = statement.executeQuery()) {
                    holds(rows.next(), "no row");
                    equal(rows.getString(1), s.phone());
                }
            }
        });

        check("metadata_of_a_result", For.EVERYBODY, (s, db) -> {
            try (Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery("SELECT full_name, phone AS number, birth_date FROM crm.contacts WHERE id = 3")) {
                ResultSetMetaData metadata = rows.getMetaData();
                equal(metadata.getColumnLabel(2), "number");
                equal(metadata.getColumnTypeName(2), "varchar");
                equal(metadata.getPrecision(2), 20);
                // The driver looks these two up in the catalog by the table OID and column number of the description.
                equal(metadata.unwrap(org.postgresql.PGResultSetMetaData.class).getBaseTableName(2), "contacts");
                equal(metadata.unwrap(org.postgresql.PGResultSetMetaData.class).getBaseColumnName(2), "phone");
                equal(metadata.isNullable(1), ResultSetMetaData.columnNoNulls);
            }
        });

        check("metadata_of_the_database", For.EVERYBODY, (s, db) -> {
            var metadata = db.getMetaData();
            List<String> columns = new ArrayList<>();
            try (ResultSet rows = metadata.getColumns(null, "crm", "contacts", null)) {
                while (rows.next()) {
                    columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
                }
            }
            holds(columns.contains("phone varchar") && columns.contains("tags _text"), columns.toString());
            int tables = 0;
            try (ResultSet rows = metadata.getTables(null, "crm", "%", new String[] {"TABLE", "VIEW", "PARTITIONED TABLE"})) {
                while (rows.next()) {
                    tables++;
                }
            }
            holds(tables >= 9, tables + " tables");
            try (ResultSet rows = metadata.getPrimaryKeys(null, "crm", "contacts")) {
                holds(rows.next() && rows.getString("COLUMN_NAME").equals("id"), "the primary key is id");
            }
            try (ResultSet rows = metadata.getImportedKeys(null, "crm", "contacts")) {
                holds(rows.next(), "there are foreign keys");
            }
            try (ResultSet rows = metadata.getIndexInfo(null, "crm", "contacts", false, false)) {
                holds(rows.next(), "there are indexes");
            }
        });

        // What tools with a tree of the database (DBeaver, IntelliJ, Squirrel) ask for.
        check("metadata_is_as_without_pgveil", For.EVERYBODY, (s, db) -> {
            try (Connection direct = s.connectDirectly()) {
                List<String> expected = described(direct.getMetaData()), got = described(db.getMetaData());
                for (int n = 0; n < Math.min(got.size(), expected.size()); n++) {
                    equal(got.get(n), expected.get(n));
                }
                equal(got.size(), expected.size());
                holds(got.size() > 1000, got.size() + " lines");
            }
        });

        check("parameter_metadata", For.EVERYBODY, (s, db) -> {
            try (var statement = db.prepareStatement("SELECT phone FROM crm.contacts WHERE id = ? AND created_at > ?")) {
                equal(statement.getParameterMetaData().getParameterTypeName(1), "int4");
                equal(statement.getParameterMetaData().getParameterTypeName(2), "timestamptz");
                equal(statement.getMetaData().getColumnTypeName(1), "varchar");
            }
        });

        check("rows_in_portions", For.EVERYBODY, (s, db) -> {
            db.setAutoCommit(false);
            try (Statement statement = db.createStatement()) {
                statement.setFetchSize(7);
                int count = 0;
                try (ResultSet rows = statement.executeQuery("SELECT id, phone FROM crm.contacts WHERE id <= 60 ORDER BY id")) {
                    while (rows.next()) {
                        count++;
                        if (rows.getInt(1) == 3) {
                            equal(rows.getString(2), s.phone());
                        }
                    }
                }
                equal(count, 60);
            }
            db.commit();
        });

        check("arrays", For.EVERYBODY, (s, db) -> {
            try (var statement = db.prepareStatement("SELECT phone, tags FROM crm.contacts WHERE id = ANY(?) ORDER BY id")) {
                statement.setArray(1, db.createArrayOf("int4", new Object[] {3, 6}));
                try (ResultSet rows = statement.executeQuery()) {
                    holds(rows.next(), "no row");
                    equal(rows.getString(1), s.phone());
                    holds(rows.getArray(2).getArray() instanceof String[], "tags are an array");
                }
            }
        });

        check("copy_out", For.EVERYBODY, (s, db) -> {
            StringWriter out = new StringWriter();
            long rows = db.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT id, phone FROM crm.contacts WHERE id = 3) TO STDOUT (FORMAT csv)", out);
            equal(rows, 1L);
            equal(out.toString(), "3," + s.phone() + "\n");
        });

        check("copy_in", For.AGENTS, (s, db) -> {
            long rows = db.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY crm.tags (name) FROM STDIN", new StringReader("jdbc-a\njdbc-b\n"));
            equal(rows, 2L);
            try (Statement statement = db.createStatement()) {
                equal(statement.executeUpdate("DELETE FROM crm.tags WHERE name LIKE 'jdbc-%'"), 2);
            }
        });

        check("batch_into_an_unprotected_table", For.AGENTS, (s, db) -> {
            db.setAutoCommit(false);
            try (var statement = db.prepareStatement("INSERT INTO crm.tags (name, description) VALUES (?, ?)")) {
                for (int n = 0; n < 100; n++) {
                    statement.setString(1, "jdbc-" + n);
                    statement.setString(2, "in a batch");
                    statement.addBatch();
                }
                equal(statement.executeBatch().length, 100);
            }
            equal(one(db, "SELECT count(*) FROM crm.tags WHERE name LIKE 'jdbc-%'"), "100");
            db.rollback();
            equal(one(db, "SELECT count(*) FROM crm.tags WHERE name LIKE 'jdbc-%'"), "0");
        });

        check("generated_keys", For.AGENTS, (s, db) -> {
            db.setAutoCommit(false);
            try (var statement = db.prepareStatement("INSERT INTO crm.tags (name) VALUES (?)", new String[] {"name"})) {
                statement.setString(1, "jdbc-key");
                equal(statement.executeUpdate(), 1);
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    holds(keys.next() && keys.getString(1).equals("jdbc-key"), "the key comes back");
                }
            }
            db.rollback();
        });

        check("savepoints", For.EVERYBODY, (s, db) -> {
            db.setAutoCommit(false);
            equal(one(db, "SELECT phone FROM crm.contacts WHERE id = 3"), s.phone());
            Savepoint savepoint = db.setSavepoint("here");
            fails("22012", () -> one(db, "SELECT 1/0"));
            fails("25P02", () -> one(db, "SELECT 1"));
            db.rollback(savepoint);
            equal(one(db, "SELECT phone FROM crm.contacts WHERE id = 3"), s.phone());
            db.commit();
        });

        check("refusal", For.MASKED, (s, db) -> {
            refused(() -> one(db, OUT_OF_SIGHT));
            refused(() -> {
                try (var statement = db.prepareStatement("SELECT query_to_xml(?, true, false, '')")) {
                    statement.setString(1, "SELECT phone FROM crm.contacts");
                    statement.executeQuery();
                }
            });
            equal(one(db, "SELECT 1"), "1");
        });

        check("refusal_in_a_transaction", For.MASKED, (s, db) -> {
            db.setAutoCommit(false);
            refused(() -> one(db, OUT_OF_SIGHT));
            fails("25P02", () -> one(db, "SELECT 1"));
            db.rollback();
            equal(one(db, "SELECT 1"), "1");
        });

        check("refusal_before_describe", For.MASKED, (s, db) -> {
            try (var statement = db.prepareStatement(OUT_OF_SIGHT)) {
                refused(statement::getMetaData);
            }
            equal(one(db, "SELECT 1"), "1");
        });

        check("export_stopped", For.MASKED, (s, db) -> {
            equal(stopped(db, 0) <= EXPORT_LIMIT, true);
            db.setAutoCommit(false);
            int rows = stopped(db, 30);
            db.rollback();
            holds(rows <= EXPORT_LIMIT, rows + " rows came");
            equal(one(db, "SELECT 1"), "1");
        });

        check("wrong_password", For.EVERYBODY, (s, db) -> fails("28P01", () -> s.connect("password", "wrong").close()));

        check("cancel", For.EVERYBODY, (s, db) -> {
            try (Statement statement = db.createStatement()) {
                statement.setQueryTimeout(1);
                fails("57014", () -> statement.executeQuery("SELECT count(*) FROM generate_series(1, 3000000000) AS g"));
            }
            equal(one(db, "SELECT 1"), "1");
        });

        check("listen_and_notify", For.EVERYBODY, (s, db) -> {
            try (Statement statement = db.createStatement()) {
                statement.execute("LISTEN news");
                statement.execute("NOTIFY news, 'hello'");
            }
            PGNotification[] notifications = db.unwrap(PGConnection.class).getNotifications(10_000);
            // A trigger may send rows in it: a restricted role learns only that something was sent.
            equal(notifications[0].getParameter(), s.masked ? "" : "hello");
        });
    }

    /** How many rows came before the stop. */
    static int stopped(Connection db, int fetchSize) throws SQLException {
        int count = 0;
        try (Statement statement = db.createStatement()) {
            statement.setFetchSize(fetchSize);
            try (ResultSet rows = statement.executeQuery("SELECT phone FROM crm.contacts")) {
                while (rows.next()) {
                    count++;
                }
            }
        } catch (SQLException error) {
            holds(error.getMessage().contains("pgveil"), error.getMessage());
            return count;
        }
        throw new AssertionError("all contacts came");
    }

    static void readSkips() throws IOException {
        String file = System.getenv().getOrDefault("SKIPS", "");
        if (file.isEmpty() || !Files.exists(Path.of(file))) {
            return;
        }
        for (String line : Files.readAllLines(Path.of(file))) {
            int colon = line.indexOf(':');
            if (colon > 0 && !line.startsWith("#")) {
                SKIPS.put(line.substring(0, colon).trim(), line.substring(colon + 1).trim());
            }
        }
    }

    public static void main(String[] args) throws Exception {
        readSkips();
        int passed = 0, failed = 0, skipped = 0;
        for (String role : List.of("agent", "dpo")) {
            Session session = new Session(role);
            for (Entry entry : CHECKS) {
                String name = "jdbc/" + role + "/" + entry.name();
                if (entry.whom() == For.AGENTS && !role.equals("agent") || entry.whom() == For.MASKED && !session.masked) {
                    continue;
                }
                if (SKIPS.containsKey(name)) {
                    skipped++;
                    System.out.println("skipped " + name + ": " + SKIPS.get(name));
                    continue;
                }
                try (Connection db = session.connect()) {
                    entry.check().run(session, db);
                    passed++;
                } catch (Exception | AssertionError error) {
                    failed++;
                    System.out.println("FAILED " + name + ": " + String.valueOf(error.getMessage()).replace('\n', ' '));
                }
            }
        }
        System.out.println("jdbc: " + passed + " passed, " + failed + " failed, " + skipped + " skipped");
        System.exit(failed == 0 ? 0 : 1);
    }
}
