// Package client: piramid through pgx, with pgvector's module; pgx talks in
// binary.  The connection comes from the environment (PGHOST, ...).
package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/pgvector/pgvector-go"
	pgxvec "github.com/pgvector/pgvector-go/pgx"
)

type item struct {
	id, category int
	x            []float32
	bits         pgtype.Bits
}

func bits(b byte) pgtype.Bits {
	return pgtype.Bits{Bytes: []byte{b << 5}, Len: 3, Valid: true}
}

var items = []item{
	{1, 1, []float32{1, 2, 3}, bits(0b101)},
	{2, 2, []float32{4, 5, 6}, bits(0b000)},
	{3, 1, []float32{1, 1, 3}, bits(0b111)},
}

var columns = []string{"id", "category", "embedding", "half", "sparse", "bits"}

const insert = "INSERT INTO items (id, category, embedding, half, sparse, bits) VALUES ($1, $2, $3, $4, $5, $6)"

var ctx = context.Background()
var conn *pgx.Conn

func (i item) values() []any {
	return []any{i.id, i.category, pgvector.NewVector(i.x), pgvector.NewHalfVector(i.x),
		pgvector.NewSparseVector(i.x), i.bits}
}

func setUp() (err error) {
	// [docs: connect
	conn, err = pgx.Connect(ctx, "") // or "postgres://..."
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS vector")
	if err != nil {
		return err
	}
	err = pgxvec.RegisterTypes(ctx, conn)
	// docs]
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE TABLE items (id int PRIMARY KEY, category int,
		embedding vector(3), half halfvec(3), sparse sparsevec(3), bits bit(3))`)
	if err != nil {
		return err
	}
	for _, i := range items {
		if _, err = conn.Exec(ctx, insert, i.values()...); err != nil {
			return err
		}
	}
	if _, err = conn.Exec(ctx, insert, 4, 1, nil, nil, nil, nil); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SET enable_seqscan = off")
	return err
}

func TestMain(m *testing.M) {
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// expectRow compares a row with what was written, in the given result format.
func expectRow(t *testing.T, id int, want item, format int16) {
	t.Helper()
	var v pgvector.Vector
	var h pgvector.HalfVector
	var s pgvector.SparseVector
	var b pgtype.Bits
	err := conn.QueryRow(ctx, "SELECT embedding, half, sparse, bits FROM items WHERE id = $1",
		pgx.QueryResultFormats{format, format, format, format}, id).Scan(&v, &h, &s, &b)
	must(t, err)
	equal(t, v.Slice(), want.x)
	equal(t, h.Slice(), want.x)
	equal(t, s.Slice(), want.x)
	equal(t, b, want.bits)
}

func ids(t *testing.T, query string, parameters ...any) []int {
	t.Helper()
	rows, err := conn.Query(ctx, query, parameters...)
	must(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[int])
	must(t, err)
	return found
}

func TestReadBack(t *testing.T) {
	for _, i := range items {
		expectRow(t, i.id, i, pgx.BinaryFormatCode)
		expectRow(t, i.id, i, pgx.TextFormatCode)
	}
}

func TestNull(t *testing.T) {
	var v *pgvector.Vector
	var h *pgvector.HalfVector
	var s *pgvector.SparseVector
	var b pgtype.Bits
	must(t, conn.QueryRow(ctx, "SELECT embedding, half, sparse, bits FROM items WHERE embedding IS NULL").
		Scan(&v, &h, &s, &b))
	if v != nil || h != nil || s != nil || b.Valid {
		t.Errorf("got %v %v %v %v", v, h, s, b)
	}
}

func TestSearch(t *testing.T) {
	metrics := []struct {
		operator, name string
		want           []int
	}{
		{"<->", "l2", []int{1, 3, 2}},
		{"<#>", "ip", []int{2, 1, 3}},
		{"<=>", "cosine", []int{1, 2, 3}},
		{"<+>", "l1", []int{1, 3, 2}},
		{"<~>", "hamming", []int{1, 3, 2}},
		{"<%>", "jaccard", []int{1, 3, 2}},
	}
	types := []struct {
		column, name string
		query        any
	}{
		{"embedding", "vector", pgvector.NewVector(items[0].x)},
		{"half", "halfvec", pgvector.NewHalfVector(items[0].x)},
		{"sparse", "sparsevec", pgvector.NewSparseVector(items[0].x)},
		{"bits", "bit", items[0].bits},
	}
	for _, ty := range types {
		for _, m := range metrics {
			if (ty.name == "bit") != (m.name == "hamming" || m.name == "jaccard") {
				continue
			}
			t.Run(ty.name+" "+m.operator, func(t *testing.T) {
				_, err := conn.Exec(ctx, fmt.Sprintf("CREATE INDEX ON items USING hnsw (%s %s_%s_ops)",
					ty.column, ty.name, m.name))
				must(t, err)
				query := fmt.Sprintf("SELECT id FROM items ORDER BY %s %s $1 LIMIT 3", ty.column, m.operator)
				rows, err := conn.Query(ctx, "EXPLAIN "+query, ty.query)
				must(t, err)
				plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
				must(t, err)
				if !strings.Contains(plan[1], "Index Scan") {
					t.Errorf("no index scan: %v", plan)
				}
				equal(t, ids(t, query, ty.query), m.want)
			})
		}
	}
}

func TestPreparedWithFilter(t *testing.T) {
	query := items[0].x
	// [docs: search
	// pgx prepares it once per connection; the vector goes in binary
	rows, err := conn.Query(ctx, `SELECT id, embedding <-> $1 FROM items WHERE category = $2
		ORDER BY embedding <-> $1 LIMIT 5`, pgvector.NewVector(query), 1)
	// docs]
	must(t, err)
	var id int
	var distance float64
	var got []string
	_, err = pgx.ForEachRow(rows, []any{&id, &distance}, func() error {
		got = append(got, fmt.Sprint(id, " ", distance))
		return nil
	})
	must(t, err)
	equal(t, got, []string{"1 0", "3 1"})
}

func TestArrays(t *testing.T) {
	want := []pgvector.Vector{pgvector.NewVector(items[0].x), pgvector.NewVector(items[1].x)}
	var got []pgvector.Vector
	must(t, conn.QueryRow(ctx, "SELECT $1::vector[]", want).Scan(&got))
	equal(t, got, want)
}

func TestCopy(t *testing.T) {
	const n = 1000
	var rows [][]any
	for k := range n {
		i := items[k%3]
		i.id, i.category = 1000+k, 3
		rows = append(rows, i.values())
	}
	// [docs: copy
	count, err := conn.CopyFrom(ctx, pgx.Identifier{"items"}, columns, pgx.CopyFromRows(rows))
	// docs]
	must(t, err)
	equal(t, count, int64(n))
	expectRow(t, 1000, items[0], pgx.BinaryFormatCode)
	expectRow(t, 1000+n-1, items[(n-1)%3], pgx.BinaryFormatCode)
	_, err = conn.Exec(ctx, "DELETE FROM items WHERE category = 3")
	must(t, err)
}

func TestBatch(t *testing.T) {
	batch := &pgx.Batch{}
	for _, i := range items {
		i.id += 10
		batch.Queue(insert, i.values()...)
	}
	must(t, conn.SendBatch(ctx, batch).Close())
	for _, i := range items {
		expectRow(t, i.id+10, i, pgx.BinaryFormatCode)
	}
	_, err := conn.Exec(ctx, "DELETE FROM items WHERE id > 10")
	must(t, err)
}

func TestErrors(t *testing.T) {
	check := func(value any, state, message string) {
		t.Helper()
		_, err := conn.Exec(ctx, "INSERT INTO items (id, embedding) VALUES (9, $1)", value)
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != state || pgErr.Message != message {
			t.Errorf("got %v, want %s %s", err, state, message)
		}
	}
	check(pgvector.NewVector([]float32{1, 2}), "22000", "expected 3 dimensions, not 2")
	check(pgvector.NewVector([]float32{1, float32(math.NaN()), 3}), "22000", "NaN not allowed in vector")
	check(pgvector.NewVector([]float32{}), "22000", "vector must have at least 1 dimension")
}

func TestRollback(t *testing.T) {
	tx, err := conn.Begin(ctx)
	must(t, err)
	i := items[0]
	i.id = 5
	_, err = tx.Exec(ctx, insert, i.values()...)
	must(t, err)
	must(t, tx.Rollback(ctx))
	equal(t, len(ids(t, "SELECT id FROM items WHERE id = 5")), 0)
}
