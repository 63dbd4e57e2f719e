#include "model/pictures.h"
#include "core/memory.h"
#include "pictures/luminance.h"
#include "pictures/preprocessing.h"
#include "model/tiling.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

/* A picture at work, shared by its samples. */
typedef struct subject {
	int64_t index;
	int users;
	otp_image work; /* settled channels, working size */
	uint8_t *alpha; /* (h, w), NULL: none */
	uint8_t *grey;	/* (h, w): luminance that the result keeps; NULL: its own */
	int h, w;	/* its own size */
	otp_size inner; /* of the picture within the working one, around which there may be bars */
	uint64_t key;	/* of its noise: a digest of the working picture and the seed */
	otp_tiling down, across;
} subject;

/* One sample of it that is being made, from top to bottom. */
typedef struct canvas {
	subject *of;
	int k, strip;	   /* a strip is a row of tiles */
	int issued, added; /* tiles of the strip: handed to a round, and summed up */
	float *sum;	   /* (tile, working width, c): the strip, as far as it is known */
	uint8_t *bytes;	   /* (h, w, c) where the working size is its own; else */
	float *floats;	   /* (working h, working w, c) */
} canvas;

typedef struct tile_task {
	canvas *on;
	int column;
} tile_task;

typedef struct studio {
	otp_translator *t;
	const otp_pictures *job;
	int h, w, c;			   /* of the model, and so of a tile */
	int64_t step, count, next_picture; /* count and next_picture: of those that are asked for */
	int next_sample;
	subject *last; /* the subject of the next sample, where it is open */
	canvas **open; /* in the order of their samples */
	size_t open_count, open_room;
	int64_t finished;
	otp_sampler *tiles; /* takes its noise from us; NULL until a picture needs it */
	tile_task *round;   /* what is computed at once */
	float *y, *eps;
	float *part, *down, *across; /* a tile's settled pixels, and its windows */
} studio;

otp_fit otp_fit_of(const otp_translator *t)
{
	return t->preprocessing.size.h ? OTP_FIT_RESIZE : OTP_FIT_TILE;
}

/* ---- subjects ------------------------------------------------------------------ */

static void release(subject *s)
{
	if (!s || --s->users > 0)
		return;
	otp_image_free(&s->work);
	otp_free(s->alpha);
	otp_free(s->grey);
	otp_free(s);
}

/* What the picture is resized to, and the working picture, which is larger where training had bars. */
static otp_size find_working_size(const studio *u, otp_size picture, otp_size *inner)
{
	const otp_preprocessing *p = &u->t->preprocessing;
	otp_size tile = {u->h, u->w}, trained = p->size.h ? p->size : tile;
	if (u->job->fit == OTP_FIT_TILE) {
		bool covers = picture.h >= tile.h && picture.w >= tile.w;
		return *inner = covers ? picture : otp_size_covering(tile, picture);
	}
	if (p->aspect == OTP_ASPECT_STRETCH)
		return *inner = trained;
	if (p->aspect == OTP_ASPECT_CROP)
		return *inner = otp_size_covering(trained, picture);
	*inner = otp_size_within(trained, picture);
	return trained;
}

static uint8_t *alpha_of(const otp_image *in)
{
	size_t pixels = (size_t)in->h * (size_t)in->w, c = (size_t)in->c;
	uint8_t *alpha = otp_calloc(pixels, 1);
	for (size_t i = 0; i < pixels; i++)
		alpha[i] = in->u8 ? in->u8[i * c + c - 1] : otp_image_byte(in->f32[i * c + c - 1]);
	return alpha;
}

/* What a sample takes beside the picture's file: working pictures, a strip and the result. */
static bool can_work(const studio *u, const char *name, const subject *s, otp_size work, otp_error *err)
{
	const size_t small = (size_t)64 << 20;
	bool same = s->h == work.h && s->w == work.w;
	double pixels = (double)s->h * s->w, area = (double)work.h * work.w, c = u->c;
	double needed = area * c * (same ? 1 : 1 + sizeof(float)) +
			(double)u->h * work.w * c * sizeof(float) + 2 * pixels * (c + 1);
	if (needed <= small || (needed < 1e15 && otp_memory_can_have((size_t)needed)))
		return true;
	return otp_fail_memory(err, name, (size_t)fmin(needed, 1e15), "a picture at work",
			       otp_memory_available());
}

/* The stored picture becomes the working one; alpha is put by. */
static bool prepare(const studio *u, subject *s, otp_image *stored, otp_error *err)
{
	char name[512];
	const otp_dataset *d = u->job->set;
	int channels = otp_dataset_settled_channels(d);
	bool bytes = stored->u8 != NULL;
	s->inner = (otp_size){s->h = stored->h, s->w = stored->w};
	if (u->job->keep_luminance)
		s->grey = otp_luminance_of(stored);
	if (u->job->fit == OTP_FIT_CROP) {
		s->work = *stored;
		*stored = (otp_image){0};
		return true;
	}
	otp_size work = find_working_size(u, s->inner, &s->inner);
	if (!can_work(u, otp_dataset_name(d, (uint64_t)s->index, name, sizeof name), s, work, err))
		return false;
	if (stored->c % 2 == 0 && (channels == 1 || channels == 3))
		s->alpha = alpha_of(stored);
	if (stored->c == channels && stored->h == s->inner.h && stored->w == s->inner.w) {
		s->work = *stored;
		*stored = (otp_image){0};
	} else {
		s->work = otp_image_resize(stored, channels, s->inner.h, s->inner.w,
					   u->t->preprocessing.filter, bytes);
	}
	if (!otp_size_equal(work, s->inner))
		otp_image_pad(&s->work, work);
	if (bytes)
		otp_image_to_bytes(&s->work);
	return true;
}

/* Rows [y, y + h) and columns [x, x + w) of the working picture as the model takes them. `part` has room for
 * them. */
static void finish_part(const studio *u, const subject *s, int y, int x, int h, int w, float *part,
			float *out)
{
	size_t each = s->work.u8 ? 1 : sizeof(float), c = (size_t)s->work.c, row = (size_t)w * c * each;
	const char *from = s->work.u8 ? (const char *)s->work.u8 : (const char *)s->work.f32;
	otp_image cut = {.h = h, .w = w, .c = s->work.c};
	for (int i = 0; i < h; i++)
		memcpy((char *)part + (size_t)i * row,
		       from + ((size_t)(y + i) * (size_t)s->work.w + (size_t)x) * c * each, row);
	if (s->work.u8)
		cut.u8 = (const uint8_t *)part;
	else
		cut.f32 = part;
	otp_dataset_finish(u->job->set, (uint64_t)s->index, &cut, out);
}

/* As otp_translator_run's, which sees the picture as one block. */
static uint64_t key_of(const studio *u, const subject *s)
{
	size_t row = (size_t)s->work.w * (size_t)u->c;
	float *part = otp_calloc((size_t)s->work.w * (size_t)s->work.c, sizeof *part);
	float *values = otp_calloc(row, sizeof *values);
	XXH3_state_t *state = XXH3_createState();
	OTP_ASSERT(state, "no memory for a digest");
	XXH3_64bits_reset_withSeed(state, u->job->seed);
	for (int y = 0; y < s->work.h; y++) {
		finish_part(u, s, y, 0, 1, s->work.w, part, values);
		XXH3_64bits_update(state, values, row * sizeof *values);
	}
	uint64_t key = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	otp_free(values);
	otp_free(part);
	return key;
}

/* The pixels of the coarsest grid that the network, or the noise that it sees, is on. */
static int stride_of(const otp_arch *a)
{
	int stride = a->patch << (a->levels - 1);
	while (stride % (1 << a->noise_halvings))
		stride *= 2;
	return stride;
}

static subject *open_subject(const studio *u, int64_t index, otp_error *err)
{
	otp_image stored = {0};
	if (!otp_dataset_take(u->job->set, (uint64_t)index, &stored, err))
		return NULL;
	subject *s = otp_calloc(1, sizeof *s);
	s->index = index;
	s->users = 1;
	bool ok = prepare(u, s, &stored, err);
	otp_image_free(&stored);
	if (!ok) {
		release(s);
		return NULL;
	}
	s->down = otp_tiling_of(s->work.h, u->h, stride_of(&u->t->arch));
	s->across = otp_tiling_of(s->work.w, u->w, stride_of(&u->t->arch));
	s->key = key_of(u, s);
	return s;
}

/* ---- canvases ------------------------------------------------------------------ */

static bool is_one_tile(const subject *s) { return s->down.count == 1 && s->across.count == 1; }
static bool keeps_size(const subject *s) { return s->work.h == s->h && s->work.w == s->w; }

/* Takes over one use of the subject. */
static canvas *canvas_new(const studio *u, subject *s, int k)
{
	canvas *v = otp_calloc(1, sizeof *v);
	size_t row = (size_t)s->work.w * (size_t)u->c;
	v->of = s;
	v->k = k;
	v->sum = otp_calloc(otp_mul_size((size_t)u->h, row), sizeof *v->sum);
	if (keeps_size(s))
		v->bytes = otp_calloc(otp_mul_size((size_t)s->h, row), 1);
	else
		v->floats = otp_calloc(otp_mul_size((size_t)s->work.h, row), sizeof *v->floats);
	return v;
}

static void canvas_free(canvas *v)
{
	release(v->of);
	otp_free(v->sum);
	otp_free(v->bytes);
	otp_free(v->floats);
	otp_free(v);
}

static void add_tile(const studio *u, const tile_task *tile, const float *y)
{
	canvas *v = tile->on;
	const subject *s = v->of;
	size_t c = (size_t)u->c, left = (size_t)otp_tiling_start(&s->across, tile->column);
	otp_tiling_window(&s->down, v->strip, u->down);
	otp_tiling_window(&s->across, tile->column, u->across);
	for (size_t i = 0; i < (size_t)u->h; i++) {
		float *to = v->sum + (i * (size_t)s->work.w + left) * c;
		for (size_t x = 0; x < (size_t)u->w; x++)
			for (size_t k = 0; k < c; k++)
				*to++ += u->down[i] * u->across[x] * *y++;
	}
	v->added++;
}

/* Rows above the next strip's start will not change any more. */
static void finish_strip(const studio *u, canvas *v)
{
	const otp_tiling *down = &v->of->down;
	size_t row = (size_t)v->of->work.w * (size_t)u->c;
	int start = otp_tiling_start(down, v->strip);
	int end = v->strip + 1 < down->count ? otp_tiling_start(down, v->strip + 1) : down->length;
	size_t done = (size_t)(end - start) * row, all = (size_t)u->h * row, at = (size_t)start * row;
	for (size_t i = 0; v->bytes && i < done; i++)
		v->bytes[at + i] = otp_image_byte(v->sum[i]);
	if (v->floats)
		memcpy(v->floats + at, v->sum, done * sizeof *v->sum);
	memmove(v->sum, v->sum + done, (all - done) * sizeof *v->sum);
	memset(v->sum + (all - done), 0, done * sizeof *v->sum);
	v->issued = v->added = 0;
	v->strip++;
}

static otp_image with_alpha(const otp_image *in, const uint8_t *alpha)
{
	OTP_ASSERT(in->u8, "alpha beside floats");
	otp_image out = {.h = in->h, .w = in->w, .c = in->c + 1};
	size_t pixels = (size_t)in->h * (size_t)in->w, c = (size_t)in->c;
	uint8_t *to = otp_calloc(otp_image_values(&out), 1);
	for (size_t i = 0; i < pixels; i++) {
		memcpy(to + i * (c + 1), in->u8 + i * c, c);
		to[i * (c + 1) + c] = alpha[i];
	}
	out.u8 = out.owned = to;
	return out;
}

/* The picture without its bars, of its own size. The filter of training, but for one that enlarges in blocks.
 */
static otp_image resize_back(const studio *u, const subject *s, const otp_image *made)
{
	otp_size bars = {s->work.h - s->inner.h, s->work.w - s->inner.w};
	otp_resize filter = u->t->preprocessing.filter;
	bool blocks = filter == OTP_RESIZE_AREA && (s->h > s->inner.h || s->w > s->inner.w);
	filter = blocks ? OTP_RESIZE_BILINEAR : filter;
	if (!bars.h && !bars.w)
		return otp_image_resize(made, u->c, s->h, s->w, filter, true);
	otp_image inner = otp_image_cut(made, bars.h / 2, bars.w / 2, s->inner.h, s->inner.w);
	otp_image out = otp_image_resize(&inner, u->c, s->h, s->w, filter, true);
	otp_image_free(&inner);
	return out;
}

static bool put_result(studio *u, canvas *v, otp_error *err)
{
	subject *s = v->of;
	otp_image made = {.h = s->work.h, .w = s->work.w, .c = u->c, .u8 = v->bytes, .f32 = v->floats};
	if (v->floats)
		made = resize_back(u, s, &made);
	if (s->grey)
		otp_luminance_put(v->bytes ? v->bytes : made.owned, s->grey, (size_t)s->h * (size_t)s->w);
	if (s->alpha) {
		otp_image plain = made;
		made = with_alpha(&plain, s->alpha);
		otp_image_free(&plain);
	}
	/* Who writes a large picture may need the memory. */
	if (s->users == 1)
		otp_image_free(&s->work);
	bool ok = u->job->put(u->job->context, s->index, v->k, &made, err);
	otp_image_free(&made);
	u->finished++;
	return ok;
}

/* ---- rounds -------------------------------------------------------------------- */

static int tiles_left(const canvas *v) { return v->of->across.count - v->issued; }

static bool open_next(studio *u, otp_error *err)
{
	if (!u->last)
		u->last = open_subject(u, u->job->first + u->next_picture * u->step, err);
	if (!u->last)
		return false;
	if (u->open_count == u->open_room) {
		size_t room = u->open_room ? 2 * u->open_room : 64;
		u->open = otp_realloc(u->open, u->open_count * sizeof(canvas *), room * sizeof(canvas *));
		u->open_room = room;
	}
	u->last->users++;
	u->open[u->open_count++] = canvas_new(u, u->last, u->next_sample);
	if (++u->next_sample == u->job->samples) {
		release(u->last);
		u->last = NULL;
		u->next_sample = 0;
		u->next_picture++;
	}
	return true;
}

/* Opens samples until the next round is full. It computes tiles of the first sample's kind alone: a picture
 * of one tile goes through the sampler that draws its own noise. Few pictures of the other kind wait
 * meanwhile. */
static bool fill_up(studio *u, int64_t round, otp_error *err)
{
	int64_t kind[2] = {0, 0};
	for (size_t i = 0; i < u->open_count; i++)
		kind[is_one_tile(u->open[i]->of)] += tiles_left(u->open[i]);
	while (u->next_picture < u->count && kind[0] < round && kind[1] < round) {
		if (!open_next(u, err))
			return false;
		const canvas *v = u->open[u->open_count - 1];
		kind[is_one_tile(v->of)] += tiles_left(v);
	}
	return true;
}

static int64_t gather_tiles(studio *u, int64_t round)
{
	int64_t n = 0;
	OTP_ASSERT(u->open_count > 0, "a round of nothing");
	bool one = is_one_tile(u->open[0]->of);
	for (size_t i = 0; i < u->open_count && n < round; i++) {
		canvas *v = u->open[i];
		while (is_one_tile(v->of) == one && n < round && tiles_left(v) > 0)
			u->round[n++] = (tile_task){v, v->issued++};
	}
	return n;
}

/* The noise of a tile: that of its pixels in the working picture. */
static void draw_noise(const studio *u, const tile_task *tile, otp_stream stream, float *eps)
{
	const subject *s = tile->on->of;
	size_t row = (size_t)u->w * (size_t)u->c;
	int top = otp_tiling_start(&s->down, tile->on->strip),
	    left = otp_tiling_start(&s->across, tile->column);
	for (int i = 0; i < u->h; i++) {
		int64_t first = ((int64_t)(top + i) * s->work.w + left) * u->c;
		otp_smoothing_noise(stream, (uint32_t)first, row, eps + (size_t)i * row);
	}
}

static bool compute(studio *u, int64_t n, otp_error *err)
{
	otp_translator *t = u->t;
	size_t floats = (size_t)t->sample_floats;
	bool one = is_one_tile(u->round[0].on->of);
	if (!one && !u->tiles)
		u->tiles = otp_sampler_new(t->runtime, &t->arch, t->params, t->weights, 0, t->facts.smoothing,
					   true, err);
	if (!one && !u->tiles)
		return false;
	for (int64_t i = 0; i < n; i++) {
		const tile_task *tile = &u->round[i];
		const subject *s = tile->on->of;
		finish_part(u, s, otp_tiling_start(&s->down, tile->on->strip),
			    otp_tiling_start(&s->across, tile->column), u->h, u->w, u->part,
			    t->inputs + (size_t)i * floats);
		t->streams[i] = otp_stream_make(s->key, (uint32_t)tile->on->k, 0);
		if (!one)
			draw_noise(u, tile, t->streams[i], u->eps + (size_t)i * floats);
	}
	otp_sampler_run(one ? t->sampler : u->tiles, t->inputs, t->streams, n, t->facts.sigma, u->y,
			one ? NULL : u->eps);
	for (int64_t i = 0; i < n; i++)
		add_tile(u, &u->round[i], u->y + (size_t)i * floats);
	return true;
}

/* Strips that are whole, and samples whose last one is. */
static bool finish_round(studio *u, otp_error *err)
{
	bool ok = true;
	size_t kept = 0;
	for (size_t i = 0; i < u->open_count; i++) {
		canvas *v = u->open[i];
		if (v->added == v->of->across.count)
			finish_strip(u, v);
		if (v->strip < v->of->down.count) {
			u->open[kept++] = v;
			continue;
		}
		ok = ok && put_result(u, v, err);
		canvas_free(v);
	}
	u->open_count = kept;
	return ok;
}

static double done(const studio *u)
{
	double samples = (double)u->finished;
	for (size_t i = 0; i < u->open_count; i++)
		samples += (double)u->open[i]->strip / u->open[i]->of->down.count;
	return u->count ? samples / ((double)u->count * u->job->samples) : 1;
}

static void studio_close(studio *u)
{
	for (size_t i = 0; i < u->open_count; i++)
		canvas_free(u->open[i]);
	release(u->last);
	otp_free(u->open);
	otp_sampler_free(u->tiles);
	otp_free(u->round);
	otp_free(u->y);
	otp_free(u->eps);
	otp_free(u->part);
	otp_free(u->down);
	otp_free(u->across);
}

bool otp_pictures_translate(otp_translator *t, const otp_pictures *p, otp_error *err)
{
	size_t round = (size_t)otp_sampler_round(t->sampler), floats = (size_t)t->sample_floats;
	studio u = {.t = t, .job = p, .h = t->arch.h, .w = t->arch.w, .c = t->arch.c};
	u.step = p->step ? p->step : 1;
	int64_t beyond = otp_dataset_describe(p->set).count - p->first;
	u.count = beyond > 0 ? (beyond - 1) / u.step + 1 : 0;
	u.round = otp_calloc(round, sizeof *u.round);
	u.y = otp_calloc(otp_mul_size(round, floats), sizeof *u.y);
	u.eps = otp_calloc(otp_mul_size(round, floats), sizeof *u.eps);
	u.part = otp_calloc((size_t)u.h * (size_t)u.w * 4, sizeof *u.part);
	u.down = otp_calloc((size_t)u.h, sizeof *u.down);
	u.across = otp_calloc((size_t)u.w, sizeof *u.across);
	bool ok = p->go_on(p->context, 0, err);
	while (ok && (u.finished < u.count * p->samples)) {
		ok = fill_up(&u, (int64_t)round, err) && compute(&u, gather_tiles(&u, (int64_t)round), err) &&
		     finish_round(&u, err) && p->go_on(p->context, done(&u), err);
	}
	studio_close(&u);
	return ok;
}
