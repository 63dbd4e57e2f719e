#include "data/scan.h"
#include "core/mapped.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

/* ---- values ---------------------------------------------------------------- */

typedef struct extremes {
	double least, most;
	bool odd; /* some value is NaN or infinite */
} extremes;

enum { LANES = 16 };

/* Least and most of `count` values at any address, LANES at a time so that the compiler makes vectors of it.
 */
#define DEFINE_EXTREMES(name, type)                                                                          \
	static extremes name(const char *at, size_t count)                                                   \
	{                                                                                                    \
		type least[LANES], most[LANES], value[LANES];                                                \
		int odd[LANES] = {0};                                                                        \
		for (int k = 0; k < LANES; k++)                                                              \
			memcpy(&least[k], at, sizeof *least), most[k] = least[k];                            \
		for (size_t i = 0; i < count; i += LANES) {                                                  \
			size_t here = count - i < LANES ? count - i : LANES;                                 \
			memcpy(value, at + i * sizeof *value, here * sizeof *value);                         \
			for (size_t k = here; k < LANES; k++)                                                \
				value[k] = value[0];                                                         \
			for (int k = 0; k < LANES; k++) {                                                    \
				least[k] = value[k] < least[k] ? value[k] : least[k];                        \
				most[k] = value[k] > most[k] ? value[k] : most[k];                           \
				odd[k] |= !(value[k] - value[k] == 0);                                       \
			}                                                                                    \
		}                                                                                            \
		extremes all = {(double)least[0], (double)most[0], odd[0]};                                  \
		for (int k = 1; k < LANES; k++) {                                                            \
			all.least = fmin(all.least, (double)least[k]);                                       \
			all.most = fmax(all.most, (double)most[k]);                                          \
			all.odd |= odd[k] != 0;                                                              \
		}                                                                                            \
		return all;                                                                                  \
	}

DEFINE_EXTREMES(extremes_u16, uint16_t)
DEFINE_EXTREMES(extremes_f32, float)
DEFINE_EXTREMES(extremes_f64, double)

static extremes extremes_of(otp_array_type type, const char *at, size_t count)
{
	switch (type) {
	case OTP_ARRAY_U16:
		return extremes_u16(at, count);
	case OTP_ARRAY_F32:
		return extremes_f32(at, count);
	case OTP_ARRAY_F64:
		return extremes_f64(at, count);
	case OTP_ARRAY_U8:
		break; /* a byte's range is its type's */
	}
	return (extremes){0, 255, false};
}

/* ---- a piece, shared out ----------------------------------------------------- */

/* Hashes of so many samples are held at a time, and taken by so many from the pool. */
enum { ROUND = 1 << 16, TAKEN = 64 };

typedef struct work {
	const otp_scan *scan;
	const char *samples;
	int64_t count;
	uint64_t *hashes; /* (count) */
	atomic_int_fast64_t next;
	extremes *found; /* of each worker */
	int64_t *odd;	 /* first odd sample of each worker, count where none */
} work;

static void scan_some(void *argument, int worker)
{
	work *w = argument;
	const otp_array_form *form = w->scan->form;
	size_t bytes = otp_array_sample_bytes(form);
	extremes *found = &w->found[worker];
	for (int64_t first; (first = atomic_fetch_add(&w->next, TAKEN)) < w->count;)
		for (int64_t i = first; i < w->count && i < first + TAKEN; i++) {
			const char *at = w->samples + (size_t)i * bytes;
			extremes e = extremes_of(form->type, at, form->values);
			w->hashes[i] = XXH3_64bits(at, bytes);
			if (e.odd && i < w->odd[worker])
				w->odd[worker] = i;
			found->least = e.odd ? found->least : fmin(found->least, e.least);
			found->most = e.odd ? found->most : fmax(found->most, e.most);
		}
}

void otp_scan_begin(otp_scan *scan, const otp_source *shape, const otp_array_form *form)
{
	int64_t head[5] = {shape->count, shape->h, shape->w, shape->c, form->type};
	*scan = (otp_scan){
	    .form = form, .least = INFINITY, .most = -INFINITY, .odd = -1, .hash = XXH3_createState()};
	OTP_ASSERT(scan->hash, "out of memory");
	XXH3_64bits_reset(scan->hash);
	XXH3_64bits_update(scan->hash, head, sizeof head);
}

static void scan_round(otp_scan *scan, work *w, otp_pool *pool)
{
	int workers = otp_pool_workers(pool);
	atomic_init(&w->next, 0);
	for (int i = 0; i < workers; i++) {
		w->found[i] = (extremes){INFINITY, -INFINITY, false};
		w->odd[i] = w->count;
	}
	otp_pool_run(pool, scan_some, w);
	int64_t odd = w->count;
	for (int i = 0; i < workers; i++) {
		scan->least = fmin(scan->least, w->found[i].least);
		scan->most = fmax(scan->most, w->found[i].most);
		odd = w->odd[i] < odd ? w->odd[i] : odd;
	}
	if (scan->odd < 0 && odd < w->count)
		scan->odd = scan->seen + odd;
	XXH3_64bits_update(scan->hash, w->hashes, (size_t)w->count * sizeof *w->hashes);
	scan->seen += w->count;
}

void otp_scan_add(otp_scan *scan, const void *samples, int64_t count, otp_pool *pool)
{
	int64_t most = count < ROUND ? count : ROUND;
	size_t workers = (size_t)otp_pool_workers(pool), bytes = otp_array_sample_bytes(scan->form);
	work w = {.scan = scan,
		  .hashes = otp_calloc((size_t)most, sizeof *w.hashes),
		  .found = otp_calloc(workers, sizeof *w.found),
		  .odd = otp_calloc(workers, sizeof *w.odd)};
	for (int64_t first = 0; first < count; first += w.count) {
		w.samples = (const char *)samples + (size_t)first * bytes;
		w.count = count - first < most ? count - first : most;
		scan_round(scan, &w, pool);
		otp_mapped_rest();
	}
	otp_free(w.hashes);
	otp_free(w.found);
	otp_free(w.odd);
}

/* ---- what values stand for ----------------------------------------------------- */

typedef struct interval {
	double low, high;
} interval;

/* Half an 8-bit step: what is cut off there cannot be seen. */
static bool holds(interval r, double least, double most)
{
	double slack = (r.high - r.low) / 510;
	return least >= r.low - slack && most <= r.high + slack;
}

/* The smallest range of 0..2^k - 1 that holds 16-bit numbers: what a camera of so many bits fills. */
static double bits_needed(double most)
{
	double high = 255;
	while (high < most)
		high = 2 * high + 1;
	return high;
}

static bool doubtful(const otp_spec *spec, otp_array_type type, double least, double most, otp_error *err)
{
	char *range = type == OTP_ARRAY_U16 ? otp_format("range=0..%g", bits_needed(most))
					    : otp_format("range=%.10g..%.10g", floor(least), ceil(most));
	char *line = otp_spec_with(spec, range);
	otp_fail(err, spec->place,
		 "holds image values from %.9g to %.9g, and it is not plain what black and white are "
		 "(expected %s); "
		 "say it with range=LOW..HIGH, as in '%s'",
		 least, most,
		 type == OTP_ARRAY_U16 ? "0..65535, more than half of it used" : "-1..1, 0..1 or 0..255",
		 line);
	otp_free(line);
	otp_free(range);
	return false;
}

bool otp_scan_range(const otp_spec *spec, otp_array_type type, double least, double most, otp_source *out,
		    otp_error *err)
{
	const interval unit = {0, 1}, both = {-1, 1}, byte = {0, 255}, deep = {0, 65535};
	interval chosen;
	bool bits = type == OTP_ARRAY_U16;
	if (spec->low < spec->high)
		chosen = (interval){spec->low, spec->high};
	else if (bits && most > deep.high / 2)
		chosen = deep;
	else if (!bits && holds(unit, least, most))
		chosen = unit;
	else if (!bits && holds(both, least, most) && least <= -0.5)
		chosen = both;
	else if (!bits && holds(byte, least, most) && most > byte.high / 2)
		chosen = byte;
	else
		return doubtful(spec, type, least, most, err);
	out->low = chosen.low;
	out->high = chosen.high;
	return true;
}

static bool check_values(const otp_scan *scan, const otp_spec *spec, otp_source *out, otp_error *err)
{
	if (scan->odd >= 0 && !(spec->odd_allowed && out->kind == OTP_DATA_VECTORS))
		return otp_fail(err, spec->place,
				"sample %lld holds values that are not finite (NaN or infinity)",
				(long long)scan->odd);
	if (fabs(scan->least) > (double)FLT_MAX || fabs(scan->most) > (double)FLT_MAX)
		return otp_fail(err, spec->place, "holds values beyond float32, %g to %g", scan->least,
				scan->most);
	out->least = scan->least;
	out->most = scan->most;
	return out->kind == OTP_DATA_VECTORS || !out->scaled ||
	       otp_scan_range(spec, scan->form->type, scan->least, scan->most, out, err);
}

bool otp_scan_end(otp_scan *scan, const otp_spec *spec, otp_source *out, otp_error *err)
{
	bool ok = out && check_values(scan, spec, out, err);
	if (ok)
		out->digest = XXH3_64bits_digest(scan->hash);
	XXH3_freeState(scan->hash);
	return ok;
}
