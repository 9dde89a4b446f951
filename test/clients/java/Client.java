import com.pgvector.PGbit;
import com.pgvector.PGhalfvec;
import com.pgvector.PGsparsevec;
import com.pgvector.PGvector;
import java.io.StringReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.postgresql.PGConnection;

/** piramid through JDBC, with pgvector's package.  Prints TAP. */
public final class Client {
    private record Item(int id, int category, float[] x, boolean[] bits) {}

    private static final List<Item> ITEMS = List.of(
        new Item(1, 1, new float[] {1, 2, 3}, new boolean[] {true, false, true}),
        new Item(2, 2, new float[] {4, 5, 6}, new boolean[] {false, false, false}),
        new Item(3, 1, new float[] {1, 1, 3}, new boolean[] {true, true, true}));

    private static final String INSERT =
        "INSERT INTO items (id, category, embedding, half, sparse, bits) VALUES (?, ?, ?, ?, ?, ?)";

    private final Connection conn;
    private final String mode;
    private static int points;
    private static int failures;

    private Client(Connection conn, String mode) {
        this.conn = conn;
        this.mode = mode;
    }

    private void ok(boolean passed, String name) {
        System.out.printf("%s %d - %s, %s%n", passed ? "ok" : "not ok", ++points, name, mode);
        if (!passed) {
            failures++;
        }
    }

    private void equal(Object got, Object want, String name) {
        ok(Objects.deepEquals(got, want), name);
        if (!Objects.deepEquals(got, want)) {
            System.out.printf("# got %s, want %s%n", got, want);
        }
    }

    private void sql(String command) throws SQLException {
        try (Statement statement = conn.createStatement()) {
            statement.execute(command);
        }
    }

    private static Connection connect(String url) throws SQLException {
        // [docs: connect
        Connection conn = DriverManager.getConnection(url);
        try (Statement statement = conn.createStatement()) {
            statement.execute("CREATE EXTENSION IF NOT EXISTS vector");
        }
        PGvector.registerTypes(conn);
        PGbit.registerType(conn);
        // docs]
        return conn;
    }

    private static void fill(PreparedStatement statement, Item item) throws SQLException {
        statement.setInt(1, item.id);
        statement.setInt(2, item.category);
        statement.setObject(3, item.x == null ? null : new PGvector(item.x));
        statement.setObject(4, item.x == null ? null : new PGhalfvec(item.x));
        statement.setObject(5, item.x == null ? null : new PGsparsevec(item.x));
        statement.setObject(6, item.bits == null ? null : new PGbit(item.bits));
    }

    private void insert() throws SQLException {
        sql("DROP TABLE IF EXISTS items");
        sql("CREATE TABLE items (id int PRIMARY KEY, category int,"
            + " embedding vector(3), half halfvec(3), sparse sparsevec(3), bits bit(3))");
        try (PreparedStatement statement = conn.prepareStatement(INSERT)) {
            for (Item item : ITEMS) {
                fill(statement, item);
                statement.addBatch();
            }
            fill(statement, new Item(4, 1, null, null));
            statement.addBatch();
            equal(statement.executeBatch(), new int[] {1, 1, 1, 1}, "insert as a batch");
        }
    }

    private void expectRow(Item item, String name) throws SQLException {
        try (PreparedStatement statement = conn.prepareStatement(
                "SELECT embedding, half, sparse, bits FROM items WHERE id = ?")) {
            statement.setInt(1, item.id);
            ResultSet row = statement.executeQuery();
            row.next();
            equal(((PGvector) row.getObject(1)).toArray(), item.x, name + ": vector");
            equal(((PGhalfvec) row.getObject(2)).toArray(), item.x, name + ": halfvec");
            equal(((PGsparsevec) row.getObject(3)).toArray(), item.x, name + ": sparsevec");
            equal(row.getObject(4, PGbit.class).toArray(), item.bits, name + ": bit");
        }
    }

    private void readNull() throws SQLException {
        try (Statement statement = conn.createStatement()) {
            ResultSet row = statement.executeQuery(
                "SELECT embedding, half, sparse, bits FROM items WHERE embedding IS NULL");
            boolean allNull = row.next();
            for (int i = 1; i <= 4; i++) {
                allNull &= row.getObject(i) == null;
            }
            ok(allNull, "NULL reads back");
        }
    }

    private void search(String column, String type, String operator, String metric,
                        Object query, List<Integer> want) throws SQLException {
        String order = String.format("SELECT id FROM items ORDER BY %s %s ? LIMIT 3", column, operator);
        sql(String.format("CREATE INDEX ON items USING hnsw (%s %s_%s_ops)", column, type, metric));
        sql("SET enable_seqscan = off");
        try (PreparedStatement statement = conn.prepareStatement("EXPLAIN " + order)) {
            statement.setObject(1, query);
            ResultSet plan = statement.executeQuery();
            plan.next();
            plan.next();
            ok(plan.getString(1).contains("Index Scan"), type + " " + operator + " uses the index");
        }
        try (PreparedStatement statement = conn.prepareStatement(order)) {
            List<Integer> found = new ArrayList<>();
            // Often enough for the driver to prepare it on the server.
            for (int i = 0; i < 7; i++) {
                found.clear();
                statement.setObject(1, query);
                ResultSet rows = statement.executeQuery();
                while (rows.next()) {
                    found.add(rows.getInt(1));
                }
            }
            equal(found, want, type + " " + operator);
        }
    }

    private void searchAll() throws SQLException {
        float[] x = ITEMS.get(0).x;
        String[] columns = {"embedding", "half", "sparse"};
        String[] types = {"vector", "halfvec", "sparsevec"};
        Object[] queries = {new PGvector(x), new PGhalfvec(x), new PGsparsevec(x)};
        for (int i = 0; i < types.length; i++) {
            search(columns[i], types[i], "<->", "l2", queries[i], List.of(1, 3, 2));
            search(columns[i], types[i], "<#>", "ip", queries[i], List.of(2, 1, 3));
            search(columns[i], types[i], "<=>", "cosine", queries[i], List.of(1, 2, 3));
            search(columns[i], types[i], "<+>", "l1", queries[i], List.of(1, 3, 2));
        }
        PGbit bits = new PGbit(ITEMS.get(0).bits);
        search("bits", "bit", "<~>", "hamming", bits, List.of(1, 3, 2));
        search("bits", "bit", "<%>", "jaccard", bits, List.of(1, 3, 2));
    }

    private void filter() throws SQLException {
        float[] query = ITEMS.get(0).x;
        List<Object> found = new ArrayList<>();
        // [docs: search
        try (PreparedStatement statement = conn.prepareStatement(
                "SELECT id, embedding <-> ? AS distance FROM items WHERE category = ?"
                + " ORDER BY distance LIMIT 5")) {
            statement.setObject(1, new PGvector(query));
            statement.setInt(2, 1);
            ResultSet rows = statement.executeQuery();
            while (rows.next()) {
                found.addAll(List.of(rows.getInt(1), rows.getDouble(2)));
            }
        }
        // docs]
        equal(found, List.of(1, 0.0, 3, 1.0), "a search with a filter");
    }

    private void copy() throws Exception {
        String rows = "5\t2\t[1,2,3]\t[1,2,3]\t{1:1,2:2,3:3}/3\t101\n6\t2\t\\N\t\\N\t\\N\t\\N\n";
        long count = conn.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("COPY items FROM STDIN", new StringReader(rows));
        equal(count, 2L, "COPY");
        expectRow(new Item(5, 2, ITEMS.get(0).x, ITEMS.get(0).bits), "COPY");
        sql("DELETE FROM items WHERE id > 4");
    }

    private void error(float[] x, String state, String message) throws SQLException {
        try (PreparedStatement statement = conn.prepareStatement(
                "INSERT INTO items (id, embedding) VALUES (9, ?)")) {
            statement.setObject(1, new PGvector(x));
            statement.executeUpdate();
            ok(false, message);
        } catch (SQLException e) {
            equal(Arrays.asList(e.getSQLState(), e.getMessage().contains(message)),
                Arrays.asList(state, true), state + " " + message);
        }
    }

    private void rollback() throws SQLException {
        conn.setAutoCommit(false);
        try (PreparedStatement statement = conn.prepareStatement(INSERT)) {
            fill(statement, new Item(7, 1, ITEMS.get(0).x, ITEMS.get(0).bits));
            statement.executeUpdate();
        }
        conn.rollback();
        conn.setAutoCommit(true);
        try (Statement statement = conn.createStatement()) {
            ok(!statement.executeQuery("SELECT FROM items WHERE id = 7").next(), "a rolled back row is gone");
        }
    }

    private void run() throws Exception {
        insert();
        for (Item item : ITEMS) {
            expectRow(item, "row " + item.id);
        }
        readNull();
        searchAll();
        filter();
        copy();
        error(new float[] {1, 2}, "22000", "expected 3 dimensions, not 2");
        error(new float[] {1, Float.NaN, 3}, "22000", "NaN not allowed in vector");
        error(new float[] {}, "22000", "vector must have at least 1 dimension");
        rollback();
    }

    public static void main(String[] args) throws Exception {
        String url = System.getenv("JDBC_URL");
        try (Connection conn = connect(url)) {
            new Client(conn, "as the driver chooses").run();
        }
        // -1: prepared, with binary results, from the first execution on
        try (Connection conn = connect(url + "&prepareThreshold=-1")) {
            new Client(conn, "binary").run();
        }
        System.out.printf("1..%d%n", points);
        System.exit(failures == 0 ? 0 : 1);
    }
}
