// piramid through node-postgres and Knex, with pgvector's package.
// The connection comes from the environment (PGHOST, ...).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import knex from 'knex';
import pg from 'pg';
import { SparseVector } from 'pgvector';
import 'pgvector/knex';
import pgvector from 'pgvector/pg';

const items = [
  { id: 1, category: 1, x: [1, 2, 3], bits: '101' },
  { id: 2, category: 2, x: [4, 5, 6], bits: '000' },
  { id: 3, category: 1, x: [1, 1, 3], bits: '111' },
];
const insert = {
  name: 'insert', // named: a prepared statement
  text: 'INSERT INTO items (id, category, embedding, half, sparse, bits) VALUES ($1, $2, $3, $4, $5, $6)',
};
const types = {
  embedding: ['vector', (x) => pgvector.toSql(x)],
  half: ['halfvec', (x) => pgvector.toSql(x)],
  sparse: ['sparsevec', (x) => pgvector.toSql(new SparseVector(x))],
};
const orders = { '<->': ['l2', [1, 3, 2]], '<#>': ['ip', [2, 1, 3]], '<=>': ['cosine', [1, 2, 3]], '<+>': ['l1', [1, 3, 2]] };

let client;

function values({ id, category, x, bits }) {
  return [id, category, pgvector.toSql(x), pgvector.toSql(x), x && pgvector.toSql(new SparseVector(x)), bits];
}

async function ids(text, parameters) {
  return (await client.query(text, parameters)).rows.map((row) => row.id);
}

async function nearest(column, operator, parameter) {
  const text = `SELECT id FROM items ORDER BY ${column} ${operator} $1 LIMIT 3`;
  const plan = await client.query(`EXPLAIN ${text}`, [parameter]);
  assert.match(plan.rows.map((row) => row['QUERY PLAN']).join('\n'), /Index Scan/);
  return ids(text, [parameter]);
}

before(async () => {
  // [docs: connect
  client = new pg.Client(); // or { connectionString: 'postgres://...' }
  await client.connect();
  await client.query('CREATE EXTENSION IF NOT EXISTS vector');
  await pgvector.registerTypes(client);
  await client.query(`CREATE TABLE items (id int PRIMARY KEY, category int,
    embedding vector(3), half halfvec(3), sparse sparsevec(3), bits bit(3))`);
  // docs]
  for (const item of items) {
    await client.query({ ...insert, values: values(item) });
  }
  await client.query({ ...insert, values: values({ id: 4, category: 1, x: null, bits: null }) });
  await client.query('SET enable_seqscan = off');
});

after(() => client.end());

test('values read back as they were written', async () => {
  const { rows } = await client.query('SELECT * FROM items ORDER BY id LIMIT 3');
  for (const [i, { id, category, x, bits }] of items.entries()) {
    const { sparse, ...rest } = rows[i];
    assert.deepEqual(rest, { id, category, embedding: x, half: x, bits });
    assert.ok(sparse instanceof SparseVector);
    assert.deepEqual(sparse.toArray(), x);
  }
});

test('NULL reads back', async () => {
  const { rows } = await client.query('SELECT * FROM items WHERE embedding IS NULL');
  assert.deepEqual(rows, [{ id: 4, category: 1, embedding: null, half: null, sparse: null, bits: null }]);
});

for (const [column, [type, toSql]] of Object.entries(types)) {
  for (const [operator, [metric, expected]] of Object.entries(orders)) {
    test(`${type} ${operator}`, async () => {
      await client.query(`CREATE INDEX ON items USING hnsw (${column} ${type}_${metric}_ops)`);
      assert.deepEqual(await nearest(column, operator, toSql([1, 2, 3])), expected);
    });
  }
}

for (const [operator, metric] of [['<~>', 'hamming'], ['<%>', 'jaccard']]) {
  test(`bit ${operator}`, async () => {
    await client.query(`CREATE INDEX ON items USING hnsw (bits bit_${metric}_ops)`);
    assert.deepEqual(await nearest('bits', operator, '101'), [1, 3, 2]);
  });
}

test('a prepared search with a filter gives distances', async () => {
  const query = [1, 2, 3];
  // [docs: search
  const result = await client.query({
    name: 'search', // named: prepared once per connection
    text: `SELECT id, embedding <-> $1 AS distance FROM items WHERE category = $2
           ORDER BY embedding <-> $1 LIMIT 5`,
    values: [pgvector.toSql(query), 1],
  });
  // docs]
  assert.deepEqual(result.rows, [{ id: 1, distance: 0 }, { id: 3, distance: 1 }]);
});

test('a batch in one statement, through arrays', async () => {
  const many = Array.from({ length: 500 }, (_, i) => [i, i / 2, -i]);
  await client.query(
    `INSERT INTO items (id, category, embedding)
     SELECT 1000 + i, 3, v FROM unnest($1::vector[]) WITH ORDINALITY AS t(v, i)`,
    [many.map((x) => pgvector.toSql(x))]);
  const { rows } = await client.query('SELECT embedding FROM items WHERE category = 3 ORDER BY id');
  assert.deepEqual(rows.map((row) => row.embedding), many.map((x) => x.map((v) => v + 0)));
  await client.query('DELETE FROM items WHERE category = 3');
});

test('errors carry the SQLSTATE and the message', async () => {
  const bad = (text) => client.query('INSERT INTO items (id, embedding) VALUES (9, $1)', [text]);
  await assert.rejects(bad(pgvector.toSql([1, 2])), { code: '22000', message: 'expected 3 dimensions, not 2' });
  await assert.rejects(bad('[1,NaN,3]'), { code: '22000', message: 'NaN not allowed in vector' });
  await assert.rejects(bad('[]'), { code: '22000', message: 'vector must have at least 1 dimension' });
  await assert.rejects(bad('1,2,3'), (error) => error instanceof pg.DatabaseError && error.code === '22P02');
});

test('a rolled back row is gone', async () => {
  await client.query('BEGIN');
  await client.query({ ...insert, values: values({ ...items[0], id: 5 }) });
  assert.deepEqual(await ids('SELECT id FROM items WHERE id = 5'), [5]);
  await client.query('ROLLBACK');
  assert.deepEqual(await ids('SELECT id FROM items WHERE id = 5'), []);
});

test('Knex: extension, column types and distances', async () => {
  const db = knex({ client: 'pg', connection: {} });
  try {
    await db.schema.enableExtension('vector');
    await db.schema.createTable('knex_items', (table) => {
      table.increments('id');
      table.vector('embedding', 3);
      table.halfvec('half', 3);
      table.sparsevec('sparse', 3);
      table.specificType('bits', 'bit(3)');
      table.index(db.raw('embedding vector_l2_ops'), 'knex_items_embedding', 'hnsw');
    });
    await db('knex_items').insert(items.map(({ x, bits }) => (
      { embedding: pgvector.toSql(x), half: pgvector.toSql(x), sparse: pgvector.toSql(new SparseVector(x)), bits })));
    const order = async (distance) => (await db('knex_items').orderBy(distance).limit(3)).map((row) => row.id);
    for (const column of ['embedding', 'half', 'sparse']) {
      const x = column === 'sparse' ? new SparseVector([1, 2, 3]) : [1, 2, 3];
      assert.deepEqual(await order(db.l2Distance(column, x)), [1, 3, 2]);
      assert.deepEqual(await order(db.maxInnerProduct(column, x)), [2, 1, 3]);
      assert.deepEqual(await order(db.cosineDistance(column, x)), [1, 2, 3]);
      assert.deepEqual(await order(db.l1Distance(column, x)), [1, 3, 2]);
    }
    assert.deepEqual(await order(db.hammingDistance('bits', '101')), [1, 3, 2]);
    assert.deepEqual(await order(db.jaccardDistance('bits', '101')), [1, 3, 2]);
  } finally {
    await db.destroy();
  }
});
