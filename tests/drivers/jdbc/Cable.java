import java.io.StringReader;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;

/**
 * What JDBC can do, told as a list of lines: every call of DatabaseMetaData, batches, savepoints, updatable results, rows in
 * portions, COPY, cancelling by timeout. tests/suites runs it directly and through pgveil, and compares the lines. Run as:
 * java -cp postgresql.jar Cable.java, with PGHOST, PGPORT, PGUSER, PGDATABASE; prints `test TAB passed` or `failed TAB why`.
 */
public class Cable {
    interface Step {
        void run(Connection db, List<String> told) throws Exception;
    }

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("sslmode", "disable");
        properties.setProperty("socketTimeout", "120");
        for (int n = 0; n < options.length; n += 2) {
            properties.setProperty(options[n], options[n + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), properties);
    }

    /** One test: its lines become one line of output, so that a difference is seen as another outcome. */
    static void test(String name, Step step, String... options) {
        List<String> told = new ArrayList<>();
        String outcome = "passed";
        try (Connection db = connect(options)) {
            step.run(db, told);
        } catch (Exception | AssertionError error) {
            Throwable cause = error instanceof InvocationTargetException ? error.getCause() : error;
            outcome = "failed\t" + String.valueOf(cause).replaceAll("\\s+", " ");
        }
        String lines = String.join("\n", told);
        System.out.println(name + "\t" + (outcome.equals("passed") ? "passed " + told.size() + " lines, " + Integer.toHexString(lines.hashCode()) : outcome));
        System.err.println("== " + name + "\n" + lines);
    }

    static void rows(List<String> told, ResultSet rows) throws SQLException {
        try (rows) {
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                StringBuilder line = new StringBuilder();
                for (int column = 1; column <= columns; column++) {
                    line.append('|').append(rows.getMetaData().getColumnLabel(column)).append('=').append(rows.getString(column));
                }
                told.add(line.toString());
            }
        }
    }

    static void rows(List<String> told, Connection db, String query) throws SQLException {
        try (Statement statement = db.createStatement()) {
            rows(told, statement.executeQuery(query));
        }
    }

    /** The state and the first line of an error, which is all that a restricted role keeps of it. */
    static void fails(List<String> told, Step step, Connection db) throws Exception {
        try {
            step.run(db, told);
            told.add("no error");
        } catch (SQLException error) {
            told.add("error " + error.getSQLState());
        }
    }

    /** An argument that fits: patterns that match what tests/suites/jdbc.sql makes, and every constant of an int. */
    static List<Object[]> arguments(Method method) {
        Class<?>[] types = method.getParameterTypes();
        List<Object[]> all = new ArrayList<>();
        int numbers = (int) Arrays.stream(types).filter(type -> type == int.class).count();
        for (int number = 0; number < (numbers > 0 ? 4 : 1); number++) {
            Object[] values = new Object[types.length];
            int text = 0;
            for (int n = 0; n < types.length; n++) {
                if (types[n] == int.class) {
                    values[n] = number == 3 ? 1005 : number;
                } else if (types[n] == boolean.class) {
                    values[n] = number % 2 == 0;
                } else if (types[n] == String.class) {
                    values[n] = text(method.getName(), text++);
                }
            }
            all.add(values);
        }
        return all;
    }

    /** Catalog, schema, table, column, or the two triples of a cross reference. */
    static String text(String method, int position) {
        if (method.equals("getCrossReference")) {
            return new String[] {null, "shop", "customers", null, "shop", "orders"}[position];
        }
        boolean pattern = !List.of("getPrimaryKeys", "getImportedKeys", "getExportedKeys", "getIndexInfo", "getBestRowIdentifier", "getVersionColumns", "getColumnPrivileges").contains(method);
        return switch (position) {
            case 0 -> null;
            case 1 -> "shop";
            case 2 -> pattern ? "%" : "customers";
            default -> "%";
        };
    }

    static void metadata() throws Exception {
        Method[] methods = DatabaseMetaData.class.getMethods();
        Arrays.sort(methods, Comparator.comparing(Method::toString));
        for (Method method : methods) {
            // Those that say where they are connected to.
            if (method.getDeclaringClass() != DatabaseMetaData.class || List.of("getURL", "getConnection").contains(method.getName())) {
                continue;
            }
            int number = 0;
            for (Object[] arguments : arguments(method)) {
                test("metadata " + method.getName() + "/" + method.getParameterCount() + "/" + number++, (db, told) -> {
                    Object result;
                    try {
                        result = method.invoke(db.getMetaData(), arguments);
                    } catch (InvocationTargetException error) {
                        // What the driver cannot do it says by itself; a server's error has a state.
                        if (error.getCause() instanceof SQLException cause && !"0A000".equals(cause.getSQLState())) {
                            throw cause;
                        }
                        told.add(String.valueOf(error.getCause()));
                        return;
                    }
                    if (result instanceof ResultSet found) {
                        rows(told, found);
                    } else {
                        told.add(String.valueOf(result));
                    }
                });
            }
        }
    }

    /** A table of the session's own: a restricted role makes no other. */
    static void table(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.execute("CREATE TEMP TABLE items (id int PRIMARY KEY, name text, price numeric(8, 2), at timestamp DEFAULT '2020-01-01')");
        }
    }

    static void batches() {
        for (String rewrite : List.of("false", "true")) {
            test("batch of a prepared statement, rewritten " + rewrite, (db, told) -> {
                table(db);
                try (PreparedStatement statement = db.prepareStatement("INSERT INTO items (id, name, price) VALUES (?, ?, ?)")) {
                    for (int n = 0; n < 2000; n++) {
                        statement.setInt(1, n);
                        statement.setString(2, n % 7 == 0 ? null : "item " + n);
                        statement.setBigDecimal(3, java.math.BigDecimal.valueOf(n, 2));
                        statement.addBatch();
                    }
                    told.add(Arrays.toString(statement.executeBatch()));
                }
                rows(told, db, "SELECT count(*), sum(price), count(name) FROM items");
            }, "reWriteBatchedInserts", rewrite);
        }
        test("batch of texts", (db, told) -> {
            table(db);
            try (Statement statement = db.createStatement()) {
                statement.addBatch("INSERT INTO items (id) VALUES (1), (2), (3)");
                statement.addBatch("UPDATE items SET name = 'x' WHERE id > 1");
                statement.addBatch("DELETE FROM items WHERE id = 1");
                told.add(Arrays.toString(statement.executeBatch()));
            }
            rows(told, db, "SELECT id, name FROM items ORDER BY id");
        });
        for (boolean automatic : new boolean[] {true, false}) {
            test("batch that fails in the middle, automatic commit " + automatic, (db, told) -> {
                table(db);
                db.setAutoCommit(automatic);
                try (PreparedStatement statement = db.prepareStatement("INSERT INTO items (id) VALUES (?)")) {
                    for (int id : new int[] {1, 2, 1, 3}) {
                        statement.setInt(1, id);
                        statement.addBatch();
                    }
                    statement.executeBatch();
                } catch (BatchUpdateException error) {
                    told.add(error.getSQLState() + Arrays.toString(error.getUpdateCounts()));
                }
                if (!automatic) {
                    fails(told, (same, into) -> rows(into, same, "SELECT 1"), db);
                    db.rollback();
                } else {
                    rows(told, db, "SELECT id FROM items ORDER BY id");
                }
            });
        }
        test("batch with generated keys", (db, told) -> {
            try (Statement statement = db.createStatement()) {
                statement.execute("CREATE TEMP TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, name text)");
            }
            try (PreparedStatement statement = db.prepareStatement("INSERT INTO numbered (name) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                for (int n = 0; n < 300; n++) {
                    statement.setString(1, "n" + n);
                    statement.addBatch();
                }
                told.add(Arrays.toString(statement.executeBatch()));
                rows(told, statement.getGeneratedKeys());
            }
        });
    }

    static void transactions() {
        test("savepoints, named, unnamed, nested, released", (db, told) -> {
            table(db);
            db.setAutoCommit(false);
            try (Statement statement = db.createStatement()) {
                statement.executeUpdate("INSERT INTO items (id) VALUES (1)");
                Savepoint outer = db.setSavepoint("outer");
                statement.executeUpdate("INSERT INTO items (id) VALUES (2)");
                Savepoint inner = db.setSavepoint();
                fails(told, (same, into) -> statement.executeUpdate("INSERT INTO items (id) VALUES (2)"), db);
                fails(told, (same, into) -> statement.executeUpdate("INSERT INTO items (id) VALUES (3)"), db);
                db.rollback(inner);
                statement.executeUpdate("INSERT INTO items (id) VALUES (4)");
                db.releaseSavepoint(inner);
                rows(told, db, "SELECT id FROM items ORDER BY id");
                db.rollback(outer);
                rows(told, db, "SELECT id FROM items ORDER BY id");
                fails(told, (same, into) -> db.rollback(inner), db);
            }
            db.rollback();
        });
        for (String autosave : List.of("always", "conservative", "never")) {
            test("autosave " + autosave, (db, told) -> {
                table(db);
                db.setAutoCommit(false);
                try (Statement statement = db.createStatement()) {
                    statement.executeUpdate("INSERT INTO items (id) VALUES (1)");
                    fails(told, (same, into) -> statement.executeUpdate("INSERT INTO items (id) VALUES (1)"), db);
                    fails(told, (same, into) -> rows(into, same, "SELECT count(*) FROM items"), db);
                }
                db.rollback();
            }, "autosave", autosave);
        }
        test("isolation levels and read only", (db, told) -> {
            for (int level : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE}) {
                db.setTransactionIsolation(level);
                rows(told, db, "SHOW transaction_isolation");
                told.add(String.valueOf(db.getTransactionIsolation()));
            }
            db.setReadOnly(true);
            db.setAutoCommit(false);
            rows(told, db, "SHOW transaction_read_only");
            db.commit();
        });
    }

    static void results() {
        test("an updatable result: update, insert, delete, refresh", (db, told) -> {
            table(db);
            try (Statement plain = db.createStatement()) {
                plain.executeUpdate("INSERT INTO items (id, name, price) SELECT g, 'n' || g, g FROM generate_series(1, 20) g");
            }
            try (Statement statement = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                try (ResultSet rows = statement.executeQuery("SELECT id, name, price FROM items ORDER BY id")) {
                    rows.absolute(3);
                    rows.updateString("name", "changed");
                    rows.updateNull("price");
                    rows.updateRow();
                    rows.refreshRow();
                    told.add(rows.getString("name") + rows.getString("price"));
                    rows.absolute(-1);
                    rows.deleteRow();
                    rows.moveToInsertRow();
                    rows.updateInt("id", 100);
                    rows.updateString("name", "new");
                    rows.insertRow();
                    rows.moveToCurrentRow();
                    rows.relative(-2);
                    told.add(rows.getString("id"));
                    rows.beforeFirst();
                    rows.next();
                    rows.updateString("name", "never");
                    rows.cancelRowUpdates();
                    told.add(rows.getString("name"));
                }
            }
            rows(told, db, "SELECT id, name, price FROM items ORDER BY id");
        });
        for (int size : new int[] {1, 7, 100, 5000}) {
            test("rows in portions of " + size, (db, told) -> {
                db.setAutoCommit(false);
                try (Statement statement = db.createStatement()) {
                    statement.setFetchSize(size);
                    rows(told, statement.executeQuery("SELECT g, repeat('f', g % 30) AS f FROM generate_series(1, 500) g"));
                }
                try (Statement statement = db.createStatement()) {
                    statement.setFetchSize(size);
                    statement.setMaxRows(33);
                    rows(told, statement.executeQuery("SELECT g FROM generate_series(1, 500) g"));
                    ResultSet abandoned = statement.executeQuery("SELECT g FROM generate_series(1, 500) g");
                    abandoned.next();
                    told.add(abandoned.getString(1));
                    rows(told, db, "SELECT 'while the other is open'");
                }
                db.commit();
            });
        }
        for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
            test("query mode " + mode, (db, told) -> {
                table(db);
                for (int n = 0; n < 12; n++) {
                    try (PreparedStatement statement = db.prepareStatement("SELECT ?::int + 1, ?::text, now() > '2000-01-01'")) {
                        statement.setInt(1, n);
                        statement.setString(2, n == 3 ? null : "t'" + n);
                        rows(told, statement.executeQuery());
                    }
                }
                fails(told, (same, into) -> rows(into, same, "SELECT nothing FROM nowhere"), db);
                // The columns change below a prepared statement.
                try (PreparedStatement statement = db.prepareStatement("SELECT * FROM items")) {
                    for (int n = 0; n < 7; n++) {
                        rows(told, statement.executeQuery());
                    }
                }
                try (Statement statement = db.createStatement()) {
                    boolean more = statement.execute("SELECT 1; UPDATE items SET id = 1; SELECT 2");
                    for (int n = 0; n < 3; n++) {
                        if (more) {
                            rows(told, statement.getResultSet());
                        } else {
                            told.add(String.valueOf(statement.getUpdateCount()));
                        }
                        more = statement.getMoreResults();
                    }
                }
            }, "preferQueryMode", mode);
        }
        test("types there and back", (db, told) -> {
            for (int n = 0; n < 7; n++) {
                try (PreparedStatement statement = db.prepareStatement("SELECT ?::int8, ?::float8, ?::bool, ?::bytea, ?::date, ?::timestamptz, ?::uuid, ?::int[], ?::jsonb")) {
                    statement.setLong(1, Long.MIN_VALUE);
                    statement.setDouble(2, 0.1);
                    statement.setBoolean(3, true);
                    statement.setBytes(4, new byte[] {0, 1, -1});
                    statement.setObject(5, java.time.LocalDate.of(2024, 2, 29));
                    statement.setObject(6, java.time.OffsetDateTime.parse("2024-02-29T12:00:00Z"));
                    statement.setObject(7, java.util.UUID.fromString("00000000-0000-4000-8000-000000000001"));
                    statement.setArray(8, db.createArrayOf("int4", new Object[] {1, null, 3}));
                    statement.setObject(9, "{\"a\": [1, null]}", java.sql.Types.OTHER);
                    rows(told, statement.executeQuery());
                }
            }
        }, "binaryTransfer", "true");
        test("metadata of results and parameters", (db, told) -> {
            try (PreparedStatement statement = db.prepareStatement("SELECT id, name AS called, total * ? FROM shop.orders JOIN shop.customers USING (id) WHERE id = ?")) {
                var columns = statement.getMetaData();
                for (int n = 1; n <= columns.getColumnCount(); n++) {
                    told.add(columns.getColumnName(n) + columns.getColumnTypeName(n) + columns.getTableName(n) + columns.getSchemaName(n) + columns.isNullable(n) + columns.isAutoIncrement(n) + columns.getPrecision(n) + columns.getScale(n));
                }
                var parameters = statement.getParameterMetaData();
                for (int n = 1; n <= parameters.getParameterCount(); n++) {
                    told.add(parameters.getParameterTypeName(n) + parameters.getParameterClassName(n));
                }
            }
        });
    }

    static void copies() {
        test("copy in and out", (db, told) -> {
            table(db);
            var copies = db.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder text = new StringBuilder();
            for (int n = 0; n < 20_000; n++) {
                text.append(n).append("\tname ").append(n).append("\t\\N\t2024-01-01\n");
            }
            told.add(String.valueOf(copies.copyIn("COPY items FROM STDIN", new StringReader(text.toString()))));
            StringWriter out = new StringWriter();
            told.add(String.valueOf(copies.copyOut("COPY (SELECT * FROM items ORDER BY id) TO STDOUT (FORMAT csv)", out)));
            told.add(Integer.toHexString(out.toString().hashCode()));
            fails(told, (same, into) -> copies.copyIn("COPY items FROM STDIN", new StringReader("0\tagain\t\\N\t2024-01-01\n")), db);
            fails(told, (same, into) -> copies.copyIn("COPY items FROM STDIN", new StringReader("no number\n")), db);
            var cancelled = copies.copyIn("COPY items FROM STDIN");
            byte[] line = "70000\tx\t\\N\t2024-01-01\n".getBytes();
            cancelled.writeToCopy(line, 0, line.length);
            cancelled.cancelCopy();
            rows(told, db, "SELECT count(*) FROM items");
        });
    }

    static void ends() {
        test("cancelled by timeout", (db, told) -> {
            for (int n = 0; n < 3; n++) {
                try (Statement statement = db.createStatement()) {
                    statement.setQueryTimeout(1);
                    fails(told, (same, into) -> statement.executeQuery("SELECT pg_sleep(100)"), db);
                }
                rows(told, db, "SELECT 'goes on'");
            }
        });
        test("cancelled by another thread", (db, told) -> {
            try (Statement statement = db.createStatement(); Connection other = connect()) {
                Thread thread = new Thread(() -> {
                    try (Statement watch = other.createStatement()) {
                        // Until the statement is under way there is nothing to cancel.
                        Thread.sleep(500);
                        statement.cancel();
                    } catch (SQLException | InterruptedException error) {
                        throw new AssertionError(error);
                    }
                });
                thread.start();
                fails(told, (same, into) -> statement.executeQuery("SELECT pg_sleep(100)"), db);
                thread.join();
            }
            rows(told, db, "SELECT 'goes on'");
        });
        test("warnings", (db, told) -> {
            try (Statement statement = db.createStatement()) {
                statement.execute("ROLLBACK");
                told.add(String.valueOf(statement.getWarnings()));
            }
            told.add(String.valueOf(db.isValid(5)));
        });
    }

    public static void main(String[] args) throws Exception {
        metadata();
        batches();
        transactions();
        results();
        copies();
        ends();
    }
}
