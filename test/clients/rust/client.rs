//! piramid through postgres and tokio-postgres, with pgvector's crate; both
//! talk in binary.  The connection comes from the environment (PGHOST, ...).
//! Prints TAP.

use half::f16;
use pgvector::{Bit, HalfVector, SparseVector, Vector};
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{Client, Error, NoTls, Row};
use std::env::var;

struct Item {
    id: i32,
    category: i32,
    x: [f32; 3],
    bits: [bool; 3],
}

const ITEMS: [Item; 3] = [
    Item { id: 1, category: 1, x: [1.0, 2.0, 3.0], bits: [true, false, true] },
    Item { id: 2, category: 2, x: [4.0, 5.0, 6.0], bits: [false, false, false] },
    Item { id: 3, category: 1, x: [1.0, 1.0, 3.0], bits: [true, true, true] },
];

const INSERT: &str = "INSERT INTO items (id, category, embedding, half, sparse, bits) \
                      VALUES ($1, $2, $3, $4, $5, $6)";

/// The values of a row, as the crate's own types.
type Values = (Vector, HalfVector, SparseVector, Bit);

fn values(item: &Item) -> Values {
    (
        Vector::from(item.x.to_vec()),
        HalfVector::from_f32_slice(&item.x),
        SparseVector::from_dense(&item.x),
        Bit::new(&item.bits),
    )
}

fn row_values(row: &Row) -> Values {
    (row.get("embedding"), row.get("half"), row.get("sparse"), row.get("bits"))
}

struct Tap {
    points: usize,
    failures: usize,
}

impl Tap {
    fn ok(&mut self, passed: bool, name: &str) {
        self.points += 1;
        self.failures += usize::from(!passed);
        println!("{} {} - {}", if passed { "ok" } else { "not ok" }, self.points, name);
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, got: T, want: T, name: &str) {
        self.ok(got == want, name);
        if got != want {
            println!("# got {got:?}, want {want:?}");
        }
    }
}

fn connection() -> String {
    format!(
        "host={} port={} user={} dbname={}",
        var("PGHOST").unwrap(),
        var("PGPORT").unwrap(),
        var("PGUSER").unwrap(),
        var("PGDATABASE").unwrap()
    )
}

fn set_up() -> Result<Client, Error> {
    let params = connection();
    // [docs: connect
    let mut client = Client::connect(&params, NoTls)?;
    client.batch_execute(
        "CREATE EXTENSION IF NOT EXISTS vector;
         CREATE TABLE items (id int PRIMARY KEY, category int, embedding vector(3),
                             half halfvec(3), sparse sparsevec(3), bits bit(3))",
    )?;
    // docs]
    let insert = client.prepare(INSERT)?;
    for item in &ITEMS {
        let (v, h, s, b) = values(item);
        client.execute(&insert, &[&item.id, &item.category, &v, &h, &s, &b])?;
    }
    let none = (None::<Vector>, None::<HalfVector>, None::<SparseVector>, None::<Bit>);
    client.execute(&insert, &[&4, &1, &none.0, &none.1, &none.2, &none.3])?;
    client.batch_execute("SET enable_seqscan = off")?;
    Ok(client)
}

fn read_back(client: &mut Client, tap: &mut Tap) -> Result<(), Error> {
    for item in &ITEMS {
        let row = client.query_one("SELECT * FROM items WHERE id = $1", &[&item.id])?;
        tap.equal(row_values(&row), values(item), &format!("row {} reads back", item.id));
    }
    let row = client.query_one("SELECT half FROM items WHERE id = 1", &[])?;
    let half: HalfVector = row.get(0);
    tap.equal(half.to_vec(), [1.0, 2.0, 3.0].map(f16::from_f32).to_vec(), "halfvec as f16");
    let row = client.query_one("SELECT * FROM items WHERE embedding IS NULL", &[])?;
    let nulls = (
        row.get::<_, Option<Vector>>("embedding"),
        row.get::<_, Option<HalfVector>>("half"),
        row.get::<_, Option<SparseVector>>("sparse"),
        row.get::<_, Option<Bit>>("bits"),
    );
    tap.equal(nulls, (None, None, None, None), "NULL reads back");
    Ok(())
}

/// The three nearest by the index; what is asked, as (type, column, value).
fn search(
    client: &mut Client,
    tap: &mut Tap,
    (name, column, query): (&str, &str, &(dyn ToSql + Sync)),
    metrics: &[(&str, &str, [i32; 3])],
) -> Result<(), Error> {
    for (operator, metric, want) in metrics {
        client.batch_execute(&format!(
            "CREATE INDEX ON items USING hnsw ({column} {name}_{metric}_ops)"
        ))?;
        let order = format!("SELECT id FROM items ORDER BY {column} {operator} $1 LIMIT 3");
        let plan = client.query(&format!("EXPLAIN {order}"), &[query])?;
        let line: &str = plan[1].get(0);
        tap.ok(line.contains("Index Scan"), &format!("{name} {operator} uses the index"));
        let found: Vec<i32> = client.query(&order, &[query])?.iter().map(|r| r.get(0)).collect();
        tap.equal(found, want.to_vec(), &format!("{name} {operator}"));
    }
    Ok(())
}

fn search_all(client: &mut Client, tap: &mut Tap) -> Result<(), Error> {
    let (v, h, s, b) = values(&ITEMS[0]);
    let metrics = [
        ("<->", "l2", [1, 3, 2]),
        ("<#>", "ip", [2, 1, 3]),
        ("<=>", "cosine", [1, 2, 3]),
        ("<+>", "l1", [1, 3, 2]),
    ];
    let bit_metrics = [("<~>", "hamming", [1, 3, 2]), ("<%>", "jaccard", [1, 3, 2])];
    search(client, tap, ("vector", "embedding", &v), &metrics)?;
    search(client, tap, ("halfvec", "half", &h), &metrics)?;
    search(client, tap, ("sparsevec", "sparse", &s), &metrics)?;
    search(client, tap, ("bit", "bits", &b), &bit_metrics)
}

fn filter(client: &mut Client, tap: &mut Tap) -> Result<(), Error> {
    let query = ITEMS[0].x.to_vec();
    // [docs: search
    let search = client.prepare(
        "SELECT id, embedding <-> $1 FROM items WHERE category = $2
         ORDER BY embedding <-> $1 LIMIT 5",
    )?;
    let rows = client.query(&search, &[&Vector::from(query), &1])?;
    // docs]
    let found: Vec<(i32, f64)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    tap.equal(found, vec![(1, 0.0), (3, 1.0)], "prepared, with a filter");
    Ok(())
}

fn column_types(client: &mut Client) -> Result<Vec<Type>, Error> {
    let statement = client.prepare("SELECT embedding, half, sparse, bits FROM items")?;
    Ok(statement.columns().iter().map(|c| c.type_().clone()).collect())
}

fn copy(client: &mut Client, tap: &mut Tap) -> Result<(), Error> {
    let mut types = vec![Type::INT4, Type::INT4];
    types.extend(column_types(client)?);
    // [docs: copy
    let sink = client.copy_in(
        "COPY items (id, category, embedding, half, sparse, bits) FROM STDIN (FORMAT binary)",
    )?;
    let mut writer = BinaryCopyInWriter::new(sink, &types);
    for (i, item) in (10..).zip(&ITEMS) {
        let (v, h, s, b) = values(item);
        writer.write(&[&i, &item.category, &v, &h, &s, &b])?;
    }
    let count = writer.finish()?;
    // docs]
    tap.equal(count, 3, "COPY in binary");
    for (i, item) in (10..).zip(&ITEMS) {
        let row = client.query_one("SELECT * FROM items WHERE id = $1", &[&i])?;
        tap.equal(row_values(&row), values(item), &format!("row {i} of COPY reads back"));
    }
    client.batch_execute("DELETE FROM items WHERE id >= 10")
}

fn errors(client: &mut Client, tap: &mut Tap) {
    let cases = [
        (vec![1.0, 2.0], "expected 3 dimensions, not 2"),
        (vec![1.0, f32::NAN, 3.0], "NaN not allowed in vector"),
        (vec![], "vector must have at least 1 dimension"),
    ];
    for (x, message) in cases {
        let result = client
            .execute("INSERT INTO items (id, embedding) VALUES (9, $1)", &[&Vector::from(x)]);
        let error = result.err();
        let error = error.as_ref().and_then(Error::as_db_error);
        tap.equal(
            error.map(|e| (e.code().clone(), e.message())),
            Some((SqlState::DATA_EXCEPTION, message)),
            message,
        );
    }
}

fn rollback(client: &mut Client, tap: &mut Tap) -> Result<(), Error> {
    let (v, h, s, b) = values(&ITEMS[0]);
    let mut transaction = client.transaction()?;
    transaction.execute(INSERT, &[&5, &1, &v, &h, &s, &b])?;
    transaction.rollback()?;
    let rows = client.query("SELECT FROM items WHERE id = 5", &[])?;
    tap.ok(rows.is_empty(), "a rolled back row is gone");
    Ok(())
}

async fn asynchronous(tap: &mut Tap) -> Result<(), Error> {
    let (client, driver) = tokio_postgres::connect(&connection(), NoTls).await?;
    let driver = tokio::spawn(driver);
    let query = Vector::from(ITEMS[0].x.to_vec());
    let rows = client
        .query("SELECT * FROM items ORDER BY embedding <=> $1 LIMIT 2", &[&query])
        .await?;
    let found: Vec<Vector> = rows.iter().map(|r| r.get("embedding")).collect();
    let want = vec![query, Vector::from(ITEMS[1].x.to_vec())];
    tap.equal(found, want, "tokio-postgres");
    drop(client);
    driver.await.expect("the connection ends well")
}

fn main() -> Result<(), Error> {
    let mut tap = Tap { points: 0, failures: 0 };
    let mut client = set_up()?;
    read_back(&mut client, &mut tap)?;
    search_all(&mut client, &mut tap)?;
    filter(&mut client, &mut tap)?;
    copy(&mut client, &mut tap)?;
    errors(&mut client, &mut tap);
    rollback(&mut client, &mut tap)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(asynchronous(&mut tap))?;
    println!("1..{}", tap.points);
    std::process::exit(i32::from(tap.failures > 0));
}
