/* examine: what is measured of each picture, and how copies are found.
 *
 * What pictures look like is compared by dHash: whether a mean of a 9 x 9 grid is darker than its neighbour
 * to the right (64 bits) and below (64 bits). Source: N. Krawetz, "Kind of Like That", The Hacker Factor
 * Blog, 2013-01-21; with both directions as in B. Hoyt's `dhash` (2017). It knows nothing of colour, so
 * colours of 3 x 3 fields are compared too. No packaged C library does it (Debian 12 and 13, Ubuntu 24.04:
 * none).
 *
 * Of two hashes that differ in 4 bits at most, one of 5 disjoint blocks of bits is equal in both. So only
 * pictures are compared that agree in a block, which sorting by blocks finds.
 */
#include "data/examine.h"

#include "core/tally.h"
#include "data/source.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
	GRID = 9,
	BITS_APART = 4,
	BLOCKS = BITS_APART + 1,
	EDGES_A_BIT =
	    12, /* that a picture has for each bit that may differ: one of few edges is like many others */
	COLOURS_APART = 8,
	LEAST_CONTRAST = 12, /* of 255, between means of the grid */
	NEIGHBOURS = 512     /* that are compared with one picture, where a block is equal in many */
};

/* ---- one picture --------------------------------------------------------------------- */

/* Red, green, blue of a pixel of 1 to 4 channels, alpha over white; of more channels the first three. */
static void rgb_of(const uint8_t *pixel, int c, int rgb[3])
{
	int alpha = c == 2 || c == 4 ? pixel[c - 1] : 255;
	for (int k = 0; k < 3; k++) {
		int value = pixel[c <= 2 ? 0 : k];
		rgb[k] = (value * alpha + 255 * (255 - alpha) + 127) / 255;
	}
}

/* The mean over [top, bottom) x [left, right), in pixels and parts of them. */
static void mean_of(const otp_image *image, double top, double bottom, double left, double right,
		    uint8_t out[3])
{
	double sum[3] = {0}, area = 0;
	int last_y = (int)ceil(bottom), last_x = (int)ceil(right), rgb[3];
	last_y = last_y < image->h ? last_y : image->h;
	last_x = last_x < image->w ? last_x : image->w;
	for (int y = (int)top; y < last_y; y++) {
		double tall = fmin(bottom, y + 1) - fmax(top, y);
		const uint8_t *row = image->u8 + (size_t)y * (size_t)image->w * (size_t)image->c;
		for (int x = (int)left; x < last_x; x++) {
			double part = tall * (fmin(right, x + 1) - fmax(left, x));
			rgb_of(row + (size_t)x * (size_t)image->c, image->c, rgb);
			area += part;
			for (int k = 0; k < 3; k++)
				sum[k] += part * rgb[k];
		}
	}
	for (int k = 0; k < 3; k++)
		out[k] = (uint8_t)(area > 0 ? sum[k] / area + 0.5 : 0);
}

void otp_examine_shrink(const otp_image *image, int h, int w, uint8_t *out)
{
	double tall = (double)image->h / h, wide = (double)image->w / w;
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++, out += 3)
			mean_of(image, y * tall, (y + 1) * tall, x * wide, (x + 1) * wide, out);
}

static int light_of(const uint8_t *rgb) { return (299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2]) / 1000; }

static void look_at(otp_print *p, const otp_image *image)
{
	uint8_t grid[GRID * GRID * 3];
	int light[GRID][GRID], least = 255, most = 0, bit = 0;
	otp_examine_shrink(image, GRID, GRID, grid);
	for (int y = 0; y < GRID; y++)
		for (int x = 0; x < GRID; x++) {
			int l = light[y][x] = light_of(grid + 3 * (y * GRID + x));
			least = l < least ? l : least;
			most = l > most ? l : most;
		}
	for (int y = 0; y < GRID - 1; y++)
		for (int x = 0; x < GRID - 1; x++, bit++) {
			p->look[0] |= (uint64_t)(light[y][x] < light[y][x + 1]) << bit;
			p->look[1] |= (uint64_t)(light[y][x] < light[y + 1][x]) << bit;
		}
	p->flags |= most - least < LEAST_CONTRAST ? OTP_PRINT_FLAT : 0;
	otp_examine_shrink(image, 3, 3, p->thumb);
}

typedef struct sums {
	uint64_t pixels, sum[3], squares[3];
	int least[3], most[3];
} sums;

/* Whole numbers, so that the team's order does not matter. Returns whether the channels are equal everywhere.
 */
static bool add_pixels(sums *s, const otp_image *image)
{
	size_t count = (size_t)image->h * (size_t)image->w;
	const uint8_t *at = image->u8;
	bool equal = true;
	int rgb[3];
	for (size_t i = 0; i < count; i++, at += image->c) {
		rgb_of(at, image->c, rgb);
		equal = equal && rgb[0] == rgb[1] && rgb[1] == rgb[2];
		for (int k = 0; k < 3; k++) {
			s->sum[k] += (uint64_t)rgb[k];
			s->squares[k] += (uint64_t)(rgb[k] * rgb[k]);
			s->least[k] = rgb[k] < s->least[k] ? rgb[k] : s->least[k];
			s->most[k] = rgb[k] > s->most[k] ? rgb[k] : s->most[k];
		}
	}
	s->pixels += count;
	return equal;
}

static void print_of(otp_print *p, sums *s, otp_image *image)
{
	otp_image_to_bytes(image);
	int size[3] = {image->h, image->w, image->c};
	uint64_t seed = XXH3_64bits(size, sizeof size);
	bool grey = image->c <= 2;
	p->h = image->h;
	p->w = image->w;
	p->exact = XXH3_64bits_withSeed(image->u8, otp_image_values(image), seed);
	p->flags = (image->deep ? OTP_PRINT_DEEP : 0) | (image->turned ? OTP_PRINT_TURNED : 0) |
		   (image->c == 2 || image->c == 4 ? OTP_PRINT_ALPHA : 0) | (grey ? OTP_PRINT_GREY : 0);
	if (add_pixels(s, image) && !grey)
		p->flags |= OTP_PRINT_COLOURLESS;
	look_at(p, image);
}

/* ---- the set --------------------------------------------------------------------------- */

typedef struct reading {
	otp_dataset *set;
	otp_examined *out;
	sums *sums; /* of each worker */
	char **why; /* (count) */
	otp_tally *tally;
	atomic_int_fast64_t next;
	pthread_mutex_t lock;
	otp_error refused;
} reading;

static void read_some(void *argument, int worker)
{
	reading *r = argument;
	for (int64_t i; (i = atomic_fetch_add(&r->next, 1)) < r->out->count;) {
		otp_print *p = &r->out->prints[i];
		otp_image image = {0};
		otp_error trouble = {0};
		p->like = -1;
		if (otp_dataset_take(r->set, (uint64_t)i, &image, &trouble)) {
			print_of(p, &r->sums[worker], &image);
		} else if (otp_source_refused(&trouble)) {
			pthread_mutex_lock(&r->lock);
			r->refused = trouble;
			pthread_mutex_unlock(&r->lock);
			atomic_store(&r->next, r->out->count);
		} else {
			p->flags = OTP_PRINT_BROKEN;
			r->why[i] = otp_strdup(trouble.text);
		}
		otp_image_free(&image);
		otp_tally_add(r->tally, 1);
	}
}

static void add_up(otp_examined *out, const sums *each, int workers)
{
	sums all = {.least = {255, 255, 255}};
	for (int i = 0; i < workers; i++) {
		all.pixels += each[i].pixels;
		for (int k = 0; k < 3; k++) {
			all.sum[k] += each[i].sum[k];
			all.squares[k] += each[i].squares[k];
			all.least[k] = each[i].least[k] < all.least[k] ? each[i].least[k] : all.least[k];
			all.most[k] = each[i].most[k] > all.most[k] ? each[i].most[k] : all.most[k];
		}
	}
	for (int k = 0; k < 3 && all.pixels; k++) {
		double mean = (double)all.sum[k] / (double)all.pixels;
		out->least[k] = all.least[k];
		out->most[k] = all.most[k];
		out->mean[k] = mean;
		out->spread[k] = sqrt(fmax(0, (double)all.squares[k] / (double)all.pixels - mean * mean));
	}
}

bool otp_examine(otp_dataset *d, otp_pool *pool, otp_examined *out, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(d);
	int workers = otp_pool_workers(pool);
	char *what = otp_format("%s: read", info.spec);
	*out = (otp_examined){.count = info.count, .channels = 1};
	reading r = {.set = d, .out = out, .tally = otp_tally_new(what, 0, info.count)};
	out->prints = otp_calloc((size_t)info.count, sizeof *out->prints);
	r.sums = otp_calloc((size_t)workers, sizeof *r.sums);
	r.why = otp_calloc((size_t)info.count, sizeof *r.why);
	for (int i = 0; i < workers; i++)
		r.sums[i] = (sums){.least = {255, 255, 255}};
	pthread_mutex_init(&r.lock, NULL);
	otp_pool_run(pool, read_some, &r);
	otp_tally_free(r.tally);
	otp_free(what);
	for (int64_t i = 0; i < info.count; i++) {
		if (r.why[i])
			otp_dataset_leave_out(d, (uint64_t)i, r.why[i]);
		else if (!(out->prints[i].flags & OTP_PRINT_GREY))
			out->channels = 3;
		out->readable += r.why[i] == NULL;
		otp_free(r.why[i]);
	}
	add_up(out, r.sums, workers);
	pthread_mutex_destroy(&r.lock);
	otp_free(r.sums);
	otp_free(r.why);
	if (r.refused.exit_code)
		*err = r.refused;
	return !r.refused.exit_code;
}

void otp_examined_free(otp_examined *e)
{
	otp_free(e->prints);
	*e = (otp_examined){0};
}

/* ---- copies ------------------------------------------------------------------------------ */

/* A picture among those of all sets. */
typedef struct member {
	otp_print *print;
	uint64_t key;
	int64_t number;
	int set;
} member;

static int by_key(const void *a, const void *b)
{
	const member *p = a, *q = b;
	int order = (p->key > q->key) - (p->key < q->key);
	return order ? order : (p->number > q->number) - (p->number < q->number);
}

/* Of two that are alike the later one is the copy; both are shared, if they are of two sets. */
static void note_alike(member *a, member *b, bool exact)
{
	member *first = a->number < b->number ? a : b, *later = first == a ? b : a;
	if (a->set == b->set) {
		later->print->flags |= exact ? OTP_PRINT_COPY : OTP_PRINT_NEAR_COPY;
	} else {
		*(exact ? &a->print->shared : &a->print->near_shared) |= (uint8_t)(1u << b->set);
		*(exact ? &b->print->shared : &b->print->near_shared) |= (uint8_t)(1u << a->set);
		if (first->print->like < 0)
			first->print->like = later->number;
	}
	if (later->print->like < 0)
		later->print->like = first->number;
}

/* All that have one digest; the first of each set stands for its others. */
static void note_equal(member *run, size_t count)
{
	member *first[OTP_EXAMINE_SETS] = {NULL};
	for (size_t i = 0; i < count; i++) {
		for (int s = 0; s < OTP_EXAMINE_SETS; s++)
			if (first[s])
				note_alike(first[s], &run[i], true);
		if (!first[run[i].set])
			first[run[i].set] = &run[i];
	}
}

static bool look_alike(const otp_print *a, const otp_print *b)
{
	int apart =
	    __builtin_popcountll(a->look[0] ^ b->look[0]) + __builtin_popcountll(a->look[1] ^ b->look[1]);
	int edges = __builtin_popcountll(a->look[0]) + __builtin_popcountll(a->look[1]);
	if (apart > BITS_APART || apart * EDGES_A_BIT > edges || a->exact == b->exact)
		return false;
	for (int i = 0; i < OTP_PRINT_THUMB; i++)
		if (abs(a->thumb[i] - b->thumb[i]) > COLOURS_APART)
			return false;
	return true;
}

static void note_near(member *run, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = i + 1; k < count && k <= i + NEIGHBOURS; k++)
			if (look_alike(run[i].print, run[k].print))
				note_alike(&run[i], &run[k], false);
}

static void over_runs(member *all, size_t count, void (*note)(member *run, size_t count))
{
	qsort(all, count, sizeof *all, by_key);
	for (size_t first = 0, end; first < count; first = end) {
		for (end = first + 1; end < count && all[end].key == all[first].key; end++)
			;
		if (end > first + 1)
			note(all + first, end - first);
	}
}

/* Every fifth bit: a block from all over the picture, so that a white margin does not make many equal. */
static uint64_t block_of(const otp_print *p, int block)
{
	uint64_t key = 0;
	for (int bit = block, to = 0; bit < 128; bit += BLOCKS, to++)
		key |= (p->look[bit / 64] >> bit % 64 & 1) << to;
	return key;
}

void otp_examine_compare(otp_examined *const *sets, int count)
{
	OTP_ASSERT(count <= OTP_EXAMINE_SETS, "%d sets", count);
	int64_t all = 0;
	size_t used = 0;
	for (int s = 0; s < count; s++)
		all += sets[s]->count;
	member *members = otp_calloc((size_t)all, sizeof *members);
	int64_t number = 0;
	for (int s = 0; s < count; s++)
		for (int64_t i = 0; i < sets[s]->count; i++, number++)
			if (!(sets[s]->prints[i].flags & OTP_PRINT_BROKEN))
				members[used++] =
				    (member){&sets[s]->prints[i], sets[s]->prints[i].exact, number, s};
	over_runs(members, used, note_equal);
	size_t seen = 0;
	for (size_t i = 0; i < used; i++)
		if (!(members[i].print->flags & (OTP_PRINT_FLAT | OTP_PRINT_COPY)))
			members[seen++] = members[i];
	for (int block = 0; block < BLOCKS; block++) {
		for (size_t i = 0; i < seen; i++)
			members[i].key = block_of(members[i].print, block);
		over_runs(members, seen, note_near);
	}
	otp_free(members);
}
