#include "pictures/resample.h"
#include "scalar.h"

#include <math.h>
#include <string.h>

/* One axis of the resampling: output i is the weighted sum of `taps` inputs from first[i]. */
typedef struct axis {
	int taps;
	int *first;
	float *weight; /* (count, taps) */
	int *fixed;    /* the same times 2^FIXED_BITS, as Pillow rounds it: bytes are summed by these */
} axis;

enum { FIXED_BITS = 22 };

/* ---- filters ------------------------------------------------------------------- */

/* Weights at a distance x from the centre, in pixels of the input; `unit` is a pixel of the coarser grid. */
static double triangle(double x, double unit) { return fmax(0, 1 - fabs(x) / unit); }

static double box(double x, double unit)
{
	double t = x * (1 / unit); /* a product, as Pillow has it: it decides who owns a border */
	return t > -0.5 && t <= 0.5;
}

/* Keys' cubic with a = -1/2. */
static double cubic(double x, double unit)
{
	double t = fabs(x) / unit;
	if (t >= 2)
		return 0;
	return t < 1 ? (1.5 * t - 2.5) * t * t + 1 : ((-0.5 * t + 2.5) * t - 4) * t + 2;
}

static double sinc(double t) { return t == 0 ? 1 : sin(OTP_PI * t) / (OTP_PI * t); }

static double lanczos(double x, double unit)
{
	double t = x / unit;
	return t >= -3 && t < 3 ? sinc(t) * sinc(t / 3) : 0;
}

static const struct filter {
	double (*weight)(double x, double unit);
	double reach; /* of the coarser grid's pixels */
	bool overshoots, overlaps;
} FILTERS[] = {
    [OTP_RESIZE_BILINEAR] = {triangle, 1, false, true},
    [OTP_RESIZE_AREA] = {box, 0.5, false, false},
    [OTP_RESIZE_BICUBIC] = {cubic, 2, true, true},
    [OTP_RESIZE_LANCZOS] = {lanczos, 3, true, true},
};

/* For the `count` outputs from `offset` of a length `to` axis. */
static axis axis_new(otp_resize filter, int from, double to, double offset, int count)
{
	const struct filter *f = &FILTERS[filter];
	double scale = (double)from / to, unit = fmax(scale, 1), reach = f->reach * unit;
	axis a = {.taps = (int)ceil(reach) * 2 + 1};
	if (a.taps > from)
		a.taps = from;
	a.first = otp_calloc((size_t)count, sizeof *a.first);
	a.weight = otp_calloc(otp_mul_size((size_t)count, (size_t)a.taps), sizeof *a.weight);
	a.fixed = otp_calloc(otp_mul_size((size_t)count, (size_t)a.taps), sizeof *a.fixed);
	double *exact = otp_calloc((size_t)a.taps, sizeof *exact);
	for (int i = 0; i < count; i++) {
		double centre = (i + offset + 0.5) * scale, sum = 0, whole = 0;
		int first = (int)floor(centre - reach);
		first = first < 0 ? 0 : first > from - a.taps ? from - a.taps : first;
		float *weight = a.weight + (size_t)i * (size_t)a.taps;
		a.first[i] = first;
		/* A pixel on the border of two areas belongs to one. */
		int from_area = (int)(centre - reach + 0.5), to_area = (int)(centre + reach + 0.5);
		for (int t = 0; t < a.taps; t++) {
			bool counts = f->overlaps || (first + t >= from_area && first + t < to_area);
			exact[t] = counts ? f->weight(first + t + 0.5 - centre, unit) : 0;
			whole += exact[t];
			sum += weight[t] = (float)exact[t];
		}
		for (int t = 0; t < a.taps; t++) {
			weight[t] = (float)(weight[t] / sum);
			a.fixed[(size_t)i * (size_t)a.taps + (size_t)t] =
			    (int)lround(exact[t] / whole * (1 << FIXED_BITS));
		}
	}
	otp_free(exact);
	return a;
}

static void axis_free(axis *a)
{
	otp_free(a->first);
	otp_free(a->weight);
	otp_free(a->fixed);
}

typedef struct resampler {
	const otp_image *in;
	int channels;
	bool alpha; /* colours are weighted by it, in bytes and whole numbers, as Pillow does */
	bool clips; /* what a filter carries beyond black or white is cut off */
	axis down, across;
	int columns;
	float *raw, *row;   /* one row of `in`, as stored and in `channels` */
	float *ring;	    /* (down.taps, columns, channels): the last rows, resampled across */
	uint8_t *bytes;	    /* with alpha: one row of `in`; */
	uint8_t *byte_ring; /* and what the ring is else */
	int next;	    /* the first row of `in` that is not in the ring yet */
} resampler;

/* Colours over black by their alpha, v alpha / 255 rounded, and back, rounded down. */
static void premultiply(const float *row, size_t values, size_t c, uint8_t *out)
{
	for (size_t i = 0; i < values; i += c) {
		unsigned alpha = out[i + c - 1] = otp_image_byte(row[i + c - 1]);
		for (size_t k = 0; k + 1 < c; k++) {
			unsigned v = otp_image_byte(row[i + k]) * alpha + 128;
			out[i + k] = (uint8_t)(((v >> 8) + v) >> 8);
		}
	}
}

static void unmultiply(const uint8_t *row, size_t values, size_t c, float *out)
{
	for (size_t i = 0; i < values; i += c) {
		int alpha = row[i + c - 1];
		out[i + c - 1] = otp_byte_value((uint8_t)alpha);
		for (size_t k = 0; k + 1 < c; k++) {
			int v = row[i + k];
			if (alpha && alpha < 255)
				v = v < alpha ? 255 * v / alpha : 255;
			out[i + k] = otp_byte_value((uint8_t)v);
		}
	}
}

/* The byte of a sum by fixed weights; halves go up. */
static uint8_t byte_of(int64_t sum)
{
	sum = (sum + (1 << (FIXED_BITS - 1))) / (1 << FIXED_BITS);
	return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void clip(float *row, size_t values)
{
	for (size_t i = 0; i < values; i++)
		row[i] = fminf(fmaxf(row[i], -1), 1);
}

/* Row y of `in` as floats in the channels that come out. */
static const float *row_of(resampler *r, int y)
{
	const otp_image *in = r->in;
	size_t c = (size_t)in->c, width = (size_t)in->w * c, start = (size_t)y * width;
	const float *raw = in->f32 ? in->f32 + start : r->raw;
	if (in->u8)
		otp_image_floats(in->u8 + start, width, r->raw);
	if (in->c == r->channels)
		return raw;
	for (size_t x = 0; x < (size_t)in->w; x++)
		otp_image_convert_pixel(raw + x * c, in->c, r->row + x * (size_t)r->channels, r->channels);
	return r->row;
}

static float *in_ring(const resampler *r, int y)
{
	return r->ring + (size_t)(y % r->down.taps) * (size_t)r->columns * (size_t)r->channels;
}

static uint8_t *in_byte_ring(const resampler *r, int y)
{
	return r->byte_ring + (size_t)(y % r->down.taps) * (size_t)r->columns * (size_t)r->channels;
}

static void resample_bytes_across(resampler *r, int y)
{
	size_t c = (size_t)r->channels, taps = (size_t)r->across.taps;
	uint8_t *to = in_byte_ring(r, y);
	premultiply(row_of(r, y), (size_t)r->in->w * c, c, r->bytes);
	for (size_t x = 0; x < (size_t)r->columns; x++)
		for (size_t k = 0; k < c; k++) {
			const uint8_t *from = r->bytes + (size_t)r->across.first[x] * c + k;
			int64_t sum = 0;
			for (size_t t = 0; t < taps; t++)
				sum += (int64_t)r->across.fixed[x * taps + t] * from[t * c];
			*to++ = byte_of(sum);
		}
}

static void resample_bytes_down(resampler *r, int y, float *out)
{
	size_t values = (size_t)r->columns * (size_t)r->channels, taps = (size_t)r->down.taps;
	for (size_t i = 0; i < values; i++) {
		int64_t sum = 0;
		for (size_t t = 0; t < taps; t++)
			sum += (int64_t)r->down.fixed[(size_t)y * taps + t] *
			       in_byte_ring(r, r->down.first[y] + (int)t)[i];
		r->bytes[i] = byte_of(sum);
	}
	unmultiply(r->bytes, values, (size_t)r->channels, out);
}

static void resample_across(resampler *r, int y)
{
	const float *row = row_of(r, y);
	size_t c = (size_t)r->channels;
	float *made = in_ring(r, y), *to = made;
	memset(to, 0, (size_t)r->columns * c * sizeof *to);
	for (int x = 0; x < r->columns; x++, to += c)
		for (int t = 0; t < r->across.taps; t++) {
			float weight = r->across.weight[(size_t)x * (size_t)r->across.taps + (size_t)t];
			const float *from = row + (size_t)(r->across.first[x] + t) * c;
			for (size_t k = 0; k < c; k++)
				to[k] += weight * from[k];
		}
	if (r->clips)
		clip(made, (size_t)r->columns * c);
}

/* Rows come in order, so that each row of `in` is resampled across once. */
static void resample_down(resampler *r, int y, float *out)
{
	size_t values = (size_t)r->columns * (size_t)r->channels;
	int first = r->down.first[y];
	for (r->next = r->next < first ? first : r->next; r->next < first + r->down.taps; r->next++)
		(r->alpha ? resample_bytes_across : resample_across)(r, r->next);
	if (r->alpha) {
		resample_bytes_down(r, y, out);
		return;
	}
	memset(out, 0, values * sizeof *out);
	for (int t = 0; t < r->down.taps; t++) {
		float weight = r->down.weight[(size_t)y * (size_t)r->down.taps + (size_t)t];
		const float *row = in_ring(r, first + t);
		for (size_t i = 0; i < values; i++)
			out[i] += weight * row[i];
	}
	if (r->clips)
		clip(out, values);
}

/* Writes one row that came out, as bytes or floats. */
static void put_row(const float *row, size_t values, size_t start, uint8_t *bytes, float *floats)
{
	if (floats)
		memcpy(floats + start, row, values * sizeof *row);
	for (size_t i = 0; bytes && i < values; i++)
		bytes[start + i] = otp_image_byte(row[i]);
}

static bool is_whole(const otp_image *in, const otp_frame *f)
{
	return in->h == f->rows && in->w == f->columns && f->h == in->h && f->w == in->w;
}

otp_image otp_image_resample(const otp_image *in, int channels, const otp_frame *f, bool bytes)
{
	bool whole = is_whole(in, f);
	resampler r = {.in = in, .channels = channels, .columns = f->columns};
	otp_image out = {.h = f->rows, .w = f->columns, .c = channels};
	size_t count = otp_image_values(&out), values = (size_t)f->columns * (size_t)channels;
	out.owned = otp_calloc(count, bytes ? 1 : sizeof(float));
	out.u8 = bytes ? out.owned : NULL;
	out.f32 = bytes ? NULL : out.owned;
	r.raw = otp_calloc((size_t)in->w * (size_t)in->c, sizeof *r.raw);
	r.row = otp_calloc((size_t)in->w * (size_t)channels, sizeof *r.row);
	float *result = otp_calloc(values, sizeof *result);
	if (!whole) {
		r.alpha = channels % 2 == 0;
		r.clips = FILTERS[f->filter].overshoots;
		r.down = axis_new(f->filter, in->h, f->h, f->top, f->rows);
		r.across = axis_new(f->filter, in->w, f->w, f->left, f->columns);
		size_t ring = otp_mul_size((size_t)r.down.taps, values),
		       row = (size_t)in->w * (size_t)channels;
		r.ring = r.alpha ? NULL : otp_calloc(ring, sizeof *r.ring);
		r.byte_ring = r.alpha ? otp_calloc(ring, 1) : NULL;
		r.bytes = r.alpha ? otp_calloc(row > values ? row : values, 1) : NULL;
	}
	for (int y = 0; y < f->rows; y++) {
		if (!whole)
			resample_down(&r, y, result);
		put_row(whole ? row_of(&r, y) : result, values, (size_t)y * values, bytes ? out.owned : NULL,
			bytes ? NULL : out.owned);
	}
	if (!whole) {
		axis_free(&r.down);
		axis_free(&r.across);
	}
	otp_free(r.ring);
	otp_free(r.byte_ring);
	otp_free(r.bytes);
	otp_free(r.raw);
	otp_free(r.row);
	otp_free(result);
	return out;
}

otp_image otp_image_resize(const otp_image *in, int channels, int h, int w, otp_resize filter, bool bytes)
{
	otp_frame all = {.h = h, .w = w, .rows = h, .columns = w, .filter = filter};
	return otp_image_resample(in, channels, &all, bytes);
}
