/* thin.c (cpu): matrix products with a side of a few entries, where packing
 * and calling oneDNN cost more than the arithmetic. One operand is thin (its
 * short side is the result's, or the summed one), the other wide; the product
 * is seen transposed where the thin operand comes first.
 *
 * Sums are float32 in a fixed order. The short side's count is a constant of
 * each inlined body, so that its sums stay in registers. */
#include "cpu/thin.h"
#include "cpu/cpu.h"

enum { BLOCK = 64 }; /* columns summed at once: four of the widest vectors */

/* Elements of op(x), step apart. */
typedef struct operand {
	const float *data;
	int64_t row, column;
} operand;

static operand view(const float *data, int64_t rows, int64_t columns, bool transposed)
{
	operand o = {data, transposed ? 1 : columns, transposed ? rows : 1};
	return o;
}

static operand transpose(operand o)
{
	operand t = {o.data, o.column, o.row};
	return t;
}

/* The thin operand or result has `count` entries for each of many. */
static void pack(float *packed, operand from, int64_t rows, int64_t columns)
{
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < columns; c++)
			packed[r * columns + c] = from.data[r * from.row + c * from.column];
}

/* ---- few sums: y[i][t] = sum over k of wide[i][k] thin[k][t] ---- */

typedef struct sums {
	float *y;
	int64_t y_row, y_column; /* steps to the next i, to the next t */
	const float *wide, *thin;
	int64_t many, depth;
	int few;
} sums;

/* Rows of `wide` lie along k, and thin is packed as [t][k]. */
OTP_INLINE void sum_rows_of(const sums *s, int few)
{
	for (int64_t i = 0; i < s->many; i++) {
		const float *row = s->wide + i * s->depth;
		for (int t = 0; t < few; t++) {
			const float *other = s->thin + t * s->depth;
			float total = 0;
#pragma omp simd reduction(+ : total)
			for (int64_t k = 0; k < s->depth; k++)
				total += row[k] * other[k];
			s->y[i * s->y_row + t * s->y_column] = total;
		}
	}
}

/* Rows of `wide` lie along i, and thin is packed as [k][t]. */
OTP_INLINE void sum_block_of(const sums *s, int64_t first, int few, int width)
{
	float total[OTP_THIN_MOST][BLOCK] = {{0}};
	for (int64_t k = 0; k < s->depth; k++) {
		const float *row = s->wide + k * s->many + first, *factor = s->thin + k * few;
		for (int t = 0; t < few; t++) {
#pragma omp simd
			for (int j = 0; j < width; j++)
				total[t][j] += factor[t] * row[j];
		}
	}
	for (int t = 0; t < few; t++)
		for (int j = 0; j < width; j++)
			s->y[(first + j) * s->y_row + t * s->y_column] = total[t][j];
}

OTP_INLINE void sum_columns_of(const sums *s, int few)
{
	int64_t i = 0;
	for (; i + BLOCK <= s->many; i += BLOCK)
		sum_block_of(s, i, few, BLOCK);
	if (i < s->many)
		sum_block_of(s, i, few, (int)(s->many - i));
}

#define FOR_EACH_COUNT(count, call)                                                                          \
	switch (count) {                                                                                     \
	case 1:                                                                                              \
		call(1);                                                                                     \
		break;                                                                                       \
	case 2:                                                                                              \
		call(2);                                                                                     \
		break;                                                                                       \
	case 3:                                                                                              \
		call(3);                                                                                     \
		break;                                                                                       \
	default:                                                                                             \
		call(4);                                                                                     \
	}

OTP_SIMD static void sum_rows(const sums *s){
#define CALL(count) sum_rows_of(s, count)
    FOR_EACH_COUNT(s->few, CALL)
#undef CALL
}

OTP_SIMD static void sum_columns(const sums *s)
{
#define CALL(count) sum_columns_of(s, count)
	FOR_EACH_COUNT(s->few, CALL)
#undef CALL
}

static void run_sums(operand wide, operand thin, sums s, float *scratch)
{
	s.wide = wide.data;
	s.thin = scratch;
	if (wide.column == 1) {
		pack(scratch, transpose(thin), s.few, s.depth);
		sum_rows(&s);
	} else {
		pack(scratch, thin, s.depth, s.few);
		sum_columns(&s);
	}
}

/* ---- short sums: y[i][j] = sum over few k of a[i][k] b[k][j] ---- */

OTP_INLINE void add_outer_of(float *y, operand a, const float *b, int64_t rows, int64_t columns, int few)
{
	for (int64_t i = 0; i < rows; i++, y += columns) {
		float factor[OTP_THIN_MOST];
		for (int k = 0; k < few; k++)
			factor[k] = a.data[i * a.row + k * a.column];
#pragma omp simd
		for (int64_t j = 0; j < columns; j++) {
			float total = factor[0] * b[j];
			for (int k = 1; k < few; k++)
				total += factor[k] * b[k * columns + j];
			y[j] = total;
		}
	}
}

OTP_SIMD static void add_outer(float *y, operand a, const float *b, int64_t rows, int64_t columns, int few)
{
#define CALL(count) add_outer_of(y, a, b, rows, columns, count)
	FOR_EACH_COUNT(few, CALL)
#undef CALL
}

/* ---- the product ---- */

bool otp_thin_suits(int64_t m, int64_t n, int64_t k)
{
	return m <= OTP_THIN_MOST || n <= OTP_THIN_MOST || k <= OTP_THIN_MOST;
}

/* The packed operand: thin, or b of short sums. */
size_t otp_thin_scratch_bytes(int64_t m, int64_t n, int64_t k)
{
	int64_t longest = m > n ? m : n;
	longest = k > longest ? k : longest;
	return (size_t)(OTP_THIN_MOST * longest) * sizeof(float);
}

void otp_thin_product(float *y, const float *a_data, const float *b_data, int64_t m, int64_t n, int64_t k,
		      bool ta, bool tb, float *scratch)
{
	operand a = view(a_data, m, k, ta), b = view(b_data, k, n, tb);
	if (k <= OTP_THIN_MOST) {
		pack(scratch, b, k, n);
		add_outer(y, a, scratch, m, n, (int)k);
	} else if (n <= OTP_THIN_MOST) {
		run_sums(a, b,
			 (sums){.y = y, .y_row = n, .y_column = 1, .many = m, .depth = k, .few = (int)n},
			 scratch);
	} else {
		run_sums(transpose(b), transpose(a),
			 (sums){.y = y, .y_row = 1, .y_column = n, .many = n, .depth = k, .few = (int)m},
			 scratch);
	}
}
