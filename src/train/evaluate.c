#include "train/evaluate.h"
#include "core/log.h"
#include "core/words.h"
#include "ot/assignment.h"
#include "ot/distance.h"
#include "ot/patches.h"

#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIRECTIONS = 128, ASSIGNED = 1024, DIVERSE_INPUTS = 16, RESULTANT_INPUTS = 4 };

uint64_t otp_evaluate_index(const otp_dataset *d, otp_side side, int64_t i)
{
	otp_dataset_info info = otp_dataset_describe(d);
	if (info.fresh)
		return ((uint64_t)(1 + side) << 40) + (uint64_t)i;
	return (uint64_t)(info.withheld ? info.count + i % info.withheld : i % info.count);
}

int64_t otp_evaluate_room(const otp_dataset_info *info)
{
	return info->fresh ? 0 : info->withheld ? info->withheld : info->count;
}

typedef struct evaluator {
	otp_sampler *sampler;
	const otp_dataset *source, *target;
	otp_evaluate_options options;
	size_t n, d, pixels, channels;
	float *x, *y, *eps, *targets; /* n samples each; targets: 2 n */
} evaluator;

static bool read_samples(const otp_dataset *set, otp_side side, size_t n, size_t d, float *out,
			 otp_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (!otp_dataset_get(set, otp_evaluate_index(set, side, (int64_t)i), 0, out + i * d, err))
			return false;
	return true;
}

/* The first of `count` samples that a process draws; of process `size`, the end. */
static size_t first_of(const evaluator *e, size_t count, int rank)
{
	return count * (size_t)rank / (size_t)otp_group_size(e->options.group);
}

/* Every process's share of `count` samples to all. */
static void gather(const evaluator *e, float *samples, size_t count)
{
	const otp_group *g = e->options.group;
	size_t at[otp_group_size(g) + 1];
	for (int r = 0; r <= otp_group_size(g); r++)
		at[r] = first_of(e, count, r) * e->d * sizeof *samples;
	otp_group_all_gather(g, samples, at);
}

/* A sample is a function of its input and stream alone: who draws it changes no bit. input: 0 where each has
 * its own, else the number, from 1, of the one that all are of. */
static void sample(evaluator *e, const float *x, size_t count, uint32_t input, float *y, float *eps)
{
	int rank = otp_group_rank(e->options.group);
	size_t first = first_of(e, count, rank), own = first_of(e, count, rank + 1) - first;
	otp_stream *streams = otp_calloc(count, sizeof *streams);
	for (size_t i = 0; i < count; i++)
		streams[i] = otp_stream_make(e->options.seed ^ 0x6576616c75617465u, (uint32_t)i, input);
	if (own)
		otp_sampler_run(e->sampler, x + first * e->d, streams + first, (int64_t)own, e->options.sigma,
				y + first * e->d, eps ? eps + first * e->d : NULL);
	gather(e, y, count);
	if (eps)
		gather(e, eps, count);
	otp_free(streams);
}

static double grey_rmse(const evaluator *e)
{
	double sum = 0;
	for (size_t p = 0; p < e->n * e->pixels; p++) {
		const float *x = e->x + 3 * p, *y = e->y + 3 * p;
		double d = (double)(y[0] + y[1] + y[2] - x[0] - x[1] - x[2]) / 6;
		sum += d * d;
	}
	return sqrt(sum / (double)(e->n * e->pixels));
}

static bool is_grey(const evaluator *e)
{
	for (size_t p = 0; p < e->n * e->pixels; p++) {
		const float *x = e->x + 3 * p;
		if (fabsf(x[0] - x[1]) > 1e-3f || fabsf(x[1] - x[2]) > 1e-3f)
			return false;
	}
	return true;
}

/* A resultant takes more samples than a spread does. */
static size_t samples_of_input(size_t i, size_t most)
{
	const size_t spread = 32;
	return i < RESULTANT_INPUTS || most < spread ? most : spread;
}

/* Many samples of single inputs: their spread, and how even their hues are. */
static void measure_inputs(evaluator *e, otp_evaluation *out)
{
	size_t k = (size_t)e->options.per_input, inputs = e->n < DIVERSE_INPUTS ? e->n : DIVERSE_INPUTS;
	float *x = otp_calloc(k * e->d, sizeof *x), *y = otp_calloc(k * e->d, sizeof *y);
	size_t hued = inputs < RESULTANT_INPUTS ? inputs : RESULTANT_INPUTS;
	double variance = 0, resultant = 0;
	for (size_t i = 0; i < inputs; i++) {
		size_t count = samples_of_input(i, k);
		for (size_t j = 0; j < count; j++)
			memcpy(x + j * e->d, e->x + i * e->d, e->d * sizeof *x);
		sample(e, x, count, (uint32_t)i + 1, y, NULL);
		variance += otp_variance(y, count, e->d) / (double)(e->d * inputs);
		if (i < hued && e->channels == 3)
			resultant += otp_hue_resultant(y, count, e->pixels) / (double)hued;
	}
	out->diversity = sqrt(variance);
	out->colouring.hue_resultant = resultant;
	otp_free(x);
	otp_free(y);
}

static double distance(const evaluator *e, const float *a, const float *b)
{
	size_t n = e->n < ASSIGNED ? e->n : ASSIGNED;
	return e->pixels == 1 ? otp_assignment_w2(a, b, (int)n, (int)e->d, NULL)
			      : otp_sliced_w2(a, b, e->n, e->d, DIRECTIONS, e->options.seed);
}

/* Images: patches of the outputs and of other targets, against the targets'. */
static void measure_patches(const evaluator *e, otp_evaluation *out)
{
	otp_dataset_info info = otp_dataset_describe(e->target);
	otp_patches *p = otp_patches_new(e->targets, e->n, info.h, info.w, info.c, e->options.seed);
	out->patch_distance = otp_patches_distance(p, e->y);
	out->patch_floor = otp_patches_distance(p, e->targets + e->n * e->d);
	out->source_patch_distance = otp_patches_distance(p, e->x);
	otp_patches_free(p);
}

/* What outputs are beside inputs and targets. */
static void measure_outputs(evaluator *e, otp_evaluation *out)
{
	double square = otp_squared_distance(e->x, e->y, e->n * e->d) / (double)(e->n * e->d);
	out->n = (int64_t)e->n;
	out->transport_cost = square * (double)e->d;
	out->identity_distance = sqrt(square);
	const float *second = e->targets + e->n * e->d;
	out->exact = e->pixels == 1;
	out->target_distance = distance(e, e->y, e->targets);
	out->floor = distance(e, second, e->targets);
	if (!out->exact)
		measure_patches(e, out);
	out->source_distance = distance(e, e->x, e->targets);
	out->grey_source = e->channels == 3 && is_grey(e);
	if (out->grey_source)
		out->grey_rmse = grey_rmse(e);
	out->isoluminant =
	    out->grey_source && otp_dataset_describe(e->target).colour == OTP_COLOUR_ISOLUMINANT;
	if (out->isoluminant) {
		double brightness = otp_colouring_brightness(e->x, e->n, e->targets, 2 * e->n, e->pixels);
		otp_colouring_measure(e->x, e->eps, e->y, e->n, e->pixels, brightness, &out->colouring);
	}
}

/* Whether all processes have read what they measure, and as much of it. */
static bool has_read(const evaluator *e, bool read, otp_error *err)
{
	char text[24];
	snprintf(text, sizeof text, "%zu", e->n);
	return otp_group_agree(e->options.group, read, err) &&
	       otp_group_same(e->options.group, "the number of samples measured", text, err);
}

static bool measure(evaluator *e, otp_evaluation *out, otp_error *err)
{
	bool read = read_samples(e->source, OTP_SOURCE, e->n, e->d, e->x, err) &&
		    read_samples(e->target, OTP_TARGET, 2 * e->n, e->d, e->targets, err);
	if (!has_read(e, read, err))
		return false;
	sample(e, e->x, e->n, 0, e->y, e->eps);
	measure_inputs(e, out);
	if (otp_group_leads(e->options.group))
		measure_outputs(e, out);
	return true;
}

int64_t otp_evaluate_count(const otp_dataset_info *source, const otp_dataset_info *target, int64_t most)
{
	int64_t sources = otp_evaluate_room(source), targets = otp_evaluate_room(target);
	int64_t n = sources && sources < most ? sources : most;
	return targets && targets / 2 < n ? targets / 2 : n;
}

void otp_evaluate_say_count(const otp_dataset_info *source, const otp_dataset_info *target, int64_t asked)
{
	int64_t sources = otp_evaluate_room(source), inputs = sources && sources < asked ? sources : asked;
	int64_t measured = otp_evaluate_count(source, target, asked);
	if (measured < inputs)
		otp_log("%lld of %lld inputs are measured: the %lld targets are halved, and their halves "
			"compared for the floor",
			(long long)measured, (long long)inputs, (long long)otp_evaluate_room(target));
}

int64_t otp_evaluate_draws(int64_t n, int per_input)
{
	int64_t draws = n;
	for (size_t i = 0; i < DIVERSE_INPUTS && (int64_t)i < n; i++)
		draws += (int64_t)samples_of_input(i, (size_t)per_input);
	return draws;
}

size_t otp_evaluate_bytes(int64_t n, int per_input, const otp_arch *arch)
{
	size_t each = (size_t)arch->h * (size_t)arch->w * (size_t)arch->c * sizeof(float);
	size_t patches = arch->vectors ? 0 : otp_patches_bytes((size_t)n, arch->h, arch->w);
	/* x, y, eps, 2 targets; x, y of one input */
	return (5 * (size_t)n + 2 * (size_t)per_input) * each + patches;
}

bool otp_evaluate(otp_sampler *s, const otp_dataset *source, const otp_dataset *target,
		  const otp_evaluate_options *o, otp_evaluation *out, otp_error *err)
{
	memset(out, 0, sizeof *out);
	otp_dataset_info a = otp_dataset_describe(source), b = otp_dataset_describe(target);
	int64_t n = otp_evaluate_count(&a, &b, o->n);
	if (n < 1)
		return otp_fail(err, b.spec, "has %lld sample%s, at least 2 are needed", (long long)b.count,
				otp_plural(b.count));
	evaluator e = {.sampler = s, .source = source, .target = target, .options = *o, .n = (size_t)n};
	e.pixels = (size_t)a.h * (size_t)a.w;
	e.channels = (size_t)a.c;
	e.d = e.pixels * e.channels;
	e.x = otp_calloc(e.n * e.d, sizeof *e.x);
	e.y = otp_calloc(e.n * e.d, sizeof *e.y);
	e.eps = otp_calloc(e.n * e.d, sizeof *e.eps);
	e.targets = otp_calloc(2 * e.n * e.d, sizeof *e.targets);
	bool ok = measure(&e, out, err);
	otp_free(e.x);
	otp_free(e.y);
	otp_free(e.eps);
	otp_free(e.targets);
	return ok;
}

/* ---- against known images ---- */

/* <b - a, c - a> over n values. */
static double inner_product(const float *a, const float *b, const float *c, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += ((double)b[i] - (double)a[i]) * ((double)c[i] - (double)a[i]);
	return sum;
}

/* Which sample of the truth is the image of which of the source. */
typedef struct pairing {
	size_t n;
	uint64_t *source, *truth; /* (n) */
} pairing;

typedef struct named {
	char *name;
	uint64_t index;
} named;

static int by_name(const void *a, const void *b)
{
	return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

/* All names of a set, sorted. */
static named *sorted_names(const otp_dataset *d, size_t count)
{
	named *list = otp_calloc(count, sizeof *list);
	char buffer[4096];
	for (size_t i = 0; i < count; i++)
		list[i] = (named){otp_strdup(otp_dataset_name(d, i, buffer, sizeof buffer)), i};
	qsort(list, count, sizeof *list, by_name);
	return list;
}

static void free_names(named *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		otp_free(list[i].name);
	otp_free(list);
}

/* Where pictures were left out, rows say no longer what belongs together; names do. */
static void pair_by_name(const otp_dataset *source, size_t a, const otp_dataset *truth, size_t b, pairing *p)
{
	named *x = sorted_names(source, a), *y = sorted_names(truth, b);
	for (size_t i = 0, j = 0; i < a && j < b;) {
		int order = strcmp(x[i].name, y[j].name);
		if (order == 0) {
			p->source[p->n] = x[i].index;
			p->truth[p->n++] = y[j].index;
		}
		i += order <= 0;
		j += order >= 0;
	}
	free_names(x, a);
	free_names(y, b);
}

static bool pair(const otp_dataset *source, const otp_dataset *truth, pairing *p, otp_error *err)
{
	otp_dataset_info a = otp_dataset_describe(source), b = otp_dataset_describe(truth);
	*p = (pairing){0};
	if (!a.count || (!a.skipped && !b.skipped && a.count != b.count))
		return otp_fail(err, b.spec, "has %lld samples, the source %lld: expected the image of each",
				(long long)b.count, (long long)a.count);
	p->source = otp_calloc((size_t)a.count, sizeof *p->source);
	p->truth = otp_calloc((size_t)a.count, sizeof *p->truth);
	if (!a.skipped && !b.skipped) {
		p->n = (size_t)a.count;
		for (size_t i = 0; i < p->n; i++)
			p->source[i] = p->truth[i] = i;
		return true;
	}
	if (b.count && otp_dataset_file(source, 0) && otp_dataset_file(truth, 0))
		pair_by_name(source, (size_t)a.count, truth, (size_t)b.count, p);
	return p->n || otp_fail(err, b.spec,
				"%lld pictures cannot be decoded, and names do not say which of the others "
				"belong together",
				(long long)(a.skipped + b.skipped));
}

static void free_pairing(pairing *p)
{
	otp_free(p->source);
	otp_free(p->truth);
}

static bool read_picked(const otp_dataset *set, const uint64_t *picks, size_t n, size_t d, float *out,
			otp_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (!otp_dataset_get(set, picks[i], 0, out + i * d, err))
			return false;
	return true;
}

static bool measure_map(evaluator *e, const otp_dataset *truth, const pairing *p, otp_map_error *out,
			otp_error *err)
{
	size_t values = e->n * e->d;
	double n = (double)e->n;
	bool read = read_picked(e->source, p->source, e->n, e->d, e->x, err) &&
		    read_picked(truth, p->truth, e->n, e->d, e->targets, err);
	if (!has_read(e, read, err))
		return false;
	sample(e, e->x, e->n, 0, e->y, NULL);
	double moved = otp_squared_distance(e->x, e->y, values),
	       should = otp_squared_distance(e->x, e->targets, values),
	       wrong = otp_squared_distance(e->y, e->targets, values);
	*out = (otp_map_error){
	    .n = (int64_t)e->n,
	    .transport_cost = moved / n,
	    .cost_error = fabs(moved - should) / n,
	    .l2_uvp = 100 * wrong / n / otp_variance(e->targets, e->n, e->d),
	    .cosine = inner_product(e->x, e->y, e->targets, values) / sqrt(moved * should),
	};
	return true;
}

bool otp_evaluate_map(otp_sampler *s, const otp_dataset *source, const otp_dataset *truth,
		      const otp_evaluate_options *o, otp_map_error *out, otp_error *err)
{
	otp_dataset_info a = otp_dataset_describe(source);
	pairing p;
	if (!pair(source, truth, &p, err)) {
		free_pairing(&p);
		return false;
	}
	size_t n = o->n > 0 && (size_t)o->n < p.n ? (size_t)o->n : p.n;
	evaluator e = {.sampler = s, .source = source, .options = *o, .n = n};
	e.d = (size_t)a.h * (size_t)a.w * (size_t)a.c;
	e.x = otp_calloc(n * e.d, sizeof *e.x);
	e.y = otp_calloc(n * e.d, sizeof *e.y);
	e.targets = otp_calloc(n * e.d, sizeof *e.targets);
	bool ok = measure_map(&e, truth, &p, out, err);
	free_pairing(&p);
	otp_free(e.x);
	otp_free(e.y);
	otp_free(e.targets);
	return ok;
}
