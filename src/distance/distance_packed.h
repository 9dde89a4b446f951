/*-------------------------------------------------------------------------
 *
 * distance_packed.h
 *		i8_dot_matrix over packed columns (template).
 *
 * The rows of b become the columns of a panel: PANEL_COLS of them (two
 * vectors of int32 lanes), and for each group of PACK_BYTES elements one
 * 32-bit word of every column, so that one multiply-add instruction advances
 * as many pairs as a vector has lanes and no sum across lanes is ever needed.
 * The matching word of a row of a is broadcast to all lanes.  TILE_ROWS rows
 * of a times one panel stay in registers: 12 vectors of sums, two of columns
 * and one of a row fit the 16 of AVX2, and more rows would want more pointers
 * than there are general registers.
 *
 * Panels live on the stack: a chunk of PACK_COLS columns and PACK_DIM elements
 * is packed once and used for all rows of a.  A longer dim takes more rounds
 * that add to out.
 *
 * The including file defines PACK_BYTES, PACK_DIM, PACK_COLS, VI, vi_zero,
 * vi_add and
 *		VI_LANES			int32 lanes
 *		vi_load(p) vi_store(p, x) vi_set1(word)
 *		vi_madd(acc, row, col)		acc plus the products in each lane
 *		pack_word(p)		the packed word of the elements at p
 *		prepare_row(n, row, buffer, correction)
 *							the n elements of a row of a as words that can be
 *							broadcast, perhaps in buffer (n int16), and what
 *							to subtract from all sums of this row
 *
 *-------------------------------------------------------------------------
 */

#define TILE_ROWS 6
#define FOR_TILE_ROWS(M) M(0) M(1) M(2) M(3) M(4) M(5)

#define PANEL_COLS (2 * VI_LANES)
#define PANEL_WORDS (PACK_DIM / PACK_BYTES * PANEL_COLS)

/* One row of a, ready to be multiplied with panels. */
typedef struct PreparedRow
{
	const void *words;
	int32		correction;
	int16		buffer[PACK_DIM];
} PreparedRow;

/* Pack n elements of up to PANEL_COLS columns; missing columns are zero. */
static void
pack_panel(int n, int cols, const int8 *b, int ldb, uint32 *panel)
{
	static const int8 zeros[PACK_BYTES];

	for (int j = 0; j < PANEL_COLS; j++)
	{
		const int8 *column = b + (Size) j * ldb;

		for (int k = 0; k < n / PACK_BYTES; k++)
			panel[k * PANEL_COLS + j] =
				pack_word(j < cols ? column + k * PACK_BYTES : zeros);
	}
}

/* The inner loop: TILE_ROWS rows times one panel, added to sums. */
INLINE void
packed_tile(int n, const PreparedRow *rows, const uint32 *panel,
			int32 sums[TILE_ROWS][PANEL_COLS])
{
	int			words = n / PACK_BYTES;

#define TILE_DECLARE(r) \
	const uint8 *row##r = rows[r].words; \
	VI			left##r = vi_zero(); \
	VI			right##r = vi_zero();
#define TILE_STEP(r) \
	do { \
		uint32		word; \
		VI			x; \
		memcpy(&word, row##r + (Size) k * 4, 4); \
		x = vi_set1(word); \
		left##r = vi_madd(left##r, x, left); \
		right##r = vi_madd(right##r, x, right); \
		/* Row after row: products of all rows at once would spill the sums. */ \
		__asm__ volatile ("" : "+v" (left##r), "+v" (right##r)); \
	} while (0);
#define TILE_STORE(r) \
	vi_store(sums[r], vi_sub(left##r, vi_set1(rows[r].correction))); \
	vi_store(sums[r] + VI_LANES, vi_sub(right##r, vi_set1(rows[r].correction)));

	FOR_TILE_ROWS(TILE_DECLARE)
	for (int k = 0; k < words; k++)
	{
		VI			left = vi_load(panel);
		VI			right = vi_load(panel + VI_LANES);

		FOR_TILE_ROWS(TILE_STEP)
		panel += PANEL_COLS;
	}
	FOR_TILE_ROWS(TILE_STORE)

#undef TILE_DECLARE
#undef TILE_STEP
#undef TILE_STORE
}

/* Move a tile's sums to out, which holds the sum so far unless "first". */
INLINE void
store_tile(bool first, int rows, int cols, int32 sums[TILE_ROWS][PANEL_COLS],
		   int32 *out, int ldo)
{
	for (int r = 0; r < rows; r++, out += ldo)
	{
		if (cols < PANEL_COLS)
		{
			for (int j = 0; j < cols; j++)
				out[j] = sums[r][j] + (first ? 0 : out[j]);
			continue;
		}
		for (int j = 0; j < PANEL_COLS; j += VI_LANES)
		{
			VI			sum = vi_load(&sums[r][j]);

			vi_store(out + j, first ? sum : vi_add(sum, vi_load(out + j)));
		}
	}
}

/* Packed columns: "dim" elements of the rows of b from some row on. */
typedef struct Panels
{
	int			dim;
	int			cols;
	bool		first;			/* the first elements: set out, don't add */
	uint32		words[PACK_COLS / PANEL_COLS][PANEL_WORDS];
} Panels;

/* All rows of a times the packed columns. */
static void
packed_columns(const Panels *panels, ByteRows a, int32 *out, int ldo)
{
	PreparedRow rows[TILE_ROWS];
	int32		sums[TILE_ROWS][PANEL_COLS];

	for (int i = 0; i < a.n; i += TILE_ROWS)
	{
		/* Beyond the last row repeat it; those sums are dropped. */
		for (int r = 0; r < TILE_ROWS; r++)
			rows[r].words = prepare_row(panels->dim,
										a.values + (Size) Min(i + r, a.n - 1) * a.stride,
										rows[r].buffer, &rows[r].correction);

		for (int j = 0; j < panels->cols; j += PANEL_COLS)
		{
			packed_tile(panels->dim, rows, panels->words[j / PANEL_COLS], sums);
			store_tile(panels->first, Min(TILE_ROWS, a.n - i),
					   Min(PANEL_COLS, panels->cols - j), sums,
					   out + (Size) i * ldo + j, ldo);
		}
	}
}

static void
i8_dot_matrix(int dim, ByteRows a, ByteRows b, int32 *out, int ldo)
{
	Panels		panels;

	if (dim == 0)
	{
		for (int i = 0; i < a.n; i++)
			memset(out + (Size) i * ldo, 0, sizeof(int32) * b.n);
		return;
	}

	for (int j = 0; j < b.n; j += PACK_COLS)
	{
		panels.cols = Min(PACK_COLS, b.n - j);

		for (int k = 0; k < dim; k += PACK_DIM)
		{
			panels.dim = Min(PACK_DIM, dim - k);
			panels.first = k == 0;
			for (int c = 0; c < panels.cols; c += PANEL_COLS)
				pack_panel(panels.dim, Min(PANEL_COLS, panels.cols - c),
						   b.values + (Size) (j + c) * b.stride + k, b.stride,
						   panels.words[c / PANEL_COLS]);
			packed_columns(&panels, (ByteRows) {a.n, a.values + k, a.stride}, out + j, ldo);
		}
	}
}
