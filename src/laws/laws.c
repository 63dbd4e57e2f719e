/* laws: one draw function a law, one table of them; rotation and covariances
 * from the seed. Random numbers are Philox words of (seed and side, index), so
 * that a sample can be made again alone.
 */
#include "laws/laws.h"

#include "core/base.h"
#include "core/rng.h"
#include "laws/convex.h"
#include "core/permute.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One sample's randomness. */
typedef struct draw {
	const otp_law *law;
	otp_stream stream;
	otp_side side;
	uint64_t index;
} draw;

/* Whatever a law draws has a stream of its own: parameters, and the samples of each side. */
static otp_stream stream_of(uint64_t seed, uint32_t which, uint64_t index)
{
	uint64_t key = seed ^ (UINT64_C(0x9e3779b97f4a7c15) * (which + 1));
	return otp_stream_make(key, (uint32_t)index, (uint32_t)(index >> 32));
}

/* BASIS stands for three: the rotation and two covariances. SAMPLE for two a law: its sides. */
enum {
	STREAM_STRATA,
	STREAM_EIGENVALUES,
	STREAM_MEAN,
	STREAM_BASIS,
	STREAM_SAMPLE = STREAM_BASIS + 3,
	STREAM_CONVEX = STREAM_SAMPLE + 64,
	STREAM_CENTRES
};

static double uniform(const draw *s, uint32_t i)
{
	return otp_random_uniform(s->stream, OTP_PURPOSE_SYNTH, i);
}

/* Box-Muller; normals i = 2j and 2j + 1 share their two uniforms. */
static double normal_of(otp_stream stream, uint32_t i)
{
	double u = otp_random_uniform(stream, OTP_PURPOSE_SYNTH, i & ~1u);
	double v = otp_random_uniform(stream, OTP_PURPOSE_SYNTH, i | 1u);
	double radius = sqrt(-2 * log(u));
	return radius * (i & 1 ? sin(2 * OTP_PI * v) : cos(2 * OTP_PI * v));
}

static double normal(const draw *s, uint32_t i) { return normal_of(s->stream, i); }

/* Coordinate i, uniform in [0, 1]. Within each block of `strata` samples every
 * cell of width 1/strata is hit once, in an order of the coordinate's own (a
 * Latin hypercube): the law of one sample is unchanged, a batch is even. */
static otp_stream strata_of(const draw *s, uint32_t i)
{
	uint64_t key = s->law->seed + 1000003u * (2 * (uint64_t)i + (uint64_t)s->side);
	return stream_of(key, STREAM_STRATA, s->index / (uint64_t)s->law->params.strata);
}

static uint64_t cell(const draw *s, uint32_t i)
{
	uint64_t strata = (uint64_t)s->law->params.strata;
	return otp_permute(strata_of(s, i), s->index % strata, strata);
}

static double stratified(const draw *s, uint32_t i)
{
	double u = uniform(s, i);
	return s->law->params.strata <= 1 ? u : ((double)cell(s, i) + u) / s->law->params.strata;
}

/* Heads or tails, coordinate i. In a block it alternates along coordinate 0, from either start. */
static bool coin(const draw *s, uint32_t i)
{
	if (s->law->params.strata <= 1)
		return uniform(s, i) < 0.5;
	return (cell(s, 0) + otp_random_u32(strata_of(s, i), OTP_PURPOSE_SYNTH, 0)) % 2;
}

/* ---- the laws ---------------------------------------------------------------- */

static void gaussian_pair(const draw *s, double *out)
{
	int d = s->law->d;
	const double *root = s->law->root[s->side];
	for (int i = 0; i < d; i++)
		out[i] = s->side == OTP_TARGET ? s->law->mean[i] : 0;
	for (int j = 0; j < d; j++) {
		double xi = normal(s, (uint32_t)j);
		for (int i = 0; i < d; i++)
			out[i] += root[j * d + i] * xi;
	}
}

static void gaussian_standard(const draw *s, double *out)
{
	for (int i = 0; i < s->law->d; i++)
		out[i] = normal(s, (uint32_t)i);
}

static void perpendicular(const draw *s, double *out)
{
	int k = s->law->params.m;
	for (int i = 0; i < k; i++)
		out[(s->side == OTP_TARGET ? k : 0) + i] = 2 * stratified(s, (uint32_t)i) - 1;
}

static void one_to_many(const draw *s, double *out)
{
	int m = s->law->params.m;
	for (int i = 0; i < m; i++)
		out[i] = 2 * stratified(s, (uint32_t)i) - 1;
	if (s->side == OTP_TARGET)
		out[m] = coin(s, (uint32_t)m) ? -1 : 1;
}

static void parallel(const draw *s, double *out)
{
	out[0] = 2 * stratified(s, 0) - 1;
	out[1] = s->side == OTP_TARGET;
}

static void around(const draw *s, double x, double y, double *out)
{
	double noise = s->law->params.noise;
	out[0] = x + noise * normal(s, 4);
	out[1] = y + noise * normal(s, 5);
}

/* A mixture of three normal laws about random centres, and its image under the gradient of a random convex
 * function: a law of as many modes as that has pieces. */
static void convex(const draw *s, double *out)
{
	enum { CENTRES = 3 };
	const double apart = 1, spread = 0.45;
	int d = s->law->d;
	uint32_t centre = (uint32_t)(CENTRES * uniform(s, (uint32_t)d + 1));
	otp_stream at = stream_of(s->law->seed, STREAM_CENTRES, centre);
	for (int i = 0; i < d; i++)
		out[i] = apart * normal_of(at, (uint32_t)i) + spread * normal(s, (uint32_t)i);
	if (s->side == OTP_TARGET) {
		double *x = otp_calloc((size_t)d, sizeof *x);
		memcpy(x, out, (size_t)d * sizeof *x);
		otp_convex_map(s->law->convex, x, out);
		otp_free(x);
	}
}

static void eight_gaussians(const draw *s, double *out)
{
	double angle = floor(8 * uniform(s, 0)) * OTP_PI / 4;
	around(s, 2 * cos(angle), 2 * sin(angle), out);
}

/* Two half circles of radius 1 that reach into each other, centred as a whole. */
static void moons(const draw *s, double *out)
{
	double t = OTP_PI * uniform(s, 0);
	bool lower = uniform(s, 1) < 0.5;
	around(s, lower ? 0.5 - cos(t) : cos(t) - 0.5, lower ? 0.25 - sin(t) : sin(t) - 0.25, out);
}

/* One and a half turns outwards to radius 2, evenly along the curve's length (about). */
static void spiral(const draw *s, double *out)
{
	double t = 0.25 + 2.75 * sqrt(uniform(s, 0));
	around(s, t * 2 / 3 * cos(OTP_PI * t), t * 2 / 3 * sin(OTP_PI * t), out);
}

typedef struct otp_law_kind {
	const char *name;
	bool pair; /* NAME-source and NAME-target; else NAME alone */
	void (*sample)(const draw *s, double *out);
	int d; /* default dimension; 0: from m */
	bool any_d;
	double noise;
} law_kind;

static const law_kind kinds[] = {
    {"gaussian", true, gaussian_pair, 2, true, 0},
    {"gaussian", false, gaussian_standard, 2, true, 0},
    {"perpendicular", true, perpendicular, 0, false, 0},
    {"one-to-many", true, one_to_many, 0, true, 0},
    {"parallel", true, parallel, 2, false, 0},
    {"8gaussians", false, eight_gaussians, 2, false, 0.1},
    {"moons", false, moons, 2, false, 0.05},
    {"spiral", false, spiral, 2, false, 0.05},
    {"convex", true, convex, 2, true, 0}, /* new laws last: a row's number is in its samples' streams */
};

const char *otp_law_names(void)
{
	return "gaussian, gaussian-source, gaussian-target, perpendicular-source, perpendicular-target, "
	       "one-to-many-source, one-to-many-target, parallel-source, parallel-target, convex-source, "
	       "convex-target, 8gaussians, moons, spiral";
}

static const law_kind *find(const char *name, otp_side *side)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		size_t length = strlen(kinds[i].name);
		if (strncmp(name, kinds[i].name, length) != 0)
			continue;
		const char *rest = name + length;
		if (kinds[i].pair && (strcmp(rest, "-source") == 0 || strcmp(rest, "-target") == 0)) {
			*side = rest[1] == 's' ? OTP_SOURCE : OTP_TARGET;
			return &kinds[i];
		}
		if (!kinds[i].pair && *rest == 0) {
			*side = OTP_TARGET;
			return &kinds[i];
		}
	}
	return NULL;
}

bool otp_law_exists(const char *name)
{
	otp_side side;
	return find(name, &side) != NULL;
}

/* ---- matrices from the seed ----------------------------------------------------- */

static double dot(const double *a, const double *b, int d)
{
	double sum = 0;
	for (int i = 0; i < d; i++)
		sum += a[i] * b[i];
	return sum;
}

void otp_law_orthogonal(uint64_t seed, uint32_t which, int d, double *out)
{
	/* Gram-Schmidt on Gaussian rows, each row cleaned twice: once leaves an
	 * error of the size of the cancellation. */
	for (int i = 0; i < d; i++) {
		double *row = out + (size_t)i * (size_t)d;
		otp_stream stream = stream_of(seed, STREAM_BASIS + which, (uint64_t)i);
		for (int j = 0; j < d; j++)
			row[j] = normal_of(stream, (uint32_t)j);
		for (int pass = 0; pass < 2; pass++) {
			for (int k = 0; k < i; k++) {
				const double *other = out + (size_t)k * (size_t)d;
				double along = dot(row, other, d);
				for (int j = 0; j < d; j++)
					row[j] -= along * other[j];
			}
			double length = sqrt(dot(row, row, d));
			for (int j = 0; j < d; j++)
				row[j] /= length;
		}
	}
}

/* Eigenvalues log-uniform in [1, cond] with both ends taken, scaled to trace d,
 * along the rows of a random orthogonal matrix. */
static void make_covariance(otp_law *law, otp_side side)
{
	int d = law->d;
	size_t n = (size_t)d;
	double *basis = otp_calloc(n * n, sizeof *basis), *scale = otp_calloc(n, sizeof *scale), trace = 0;
	otp_law_orthogonal(law->seed, 1 + (uint32_t)side, d, basis);
	otp_stream stream = stream_of(law->seed, STREAM_EIGENVALUES, (uint64_t)side);
	for (int j = 0; j < d; j++) {
		double u = j == 0   ? 0
			   : j == 1 ? 1
				    : otp_random_uniform(stream, OTP_PURPOSE_SYNTH, (uint32_t)j);
		trace += scale[j] = exp(u * log(law->params.cond));
	}
	law->root[side] = otp_calloc(n * n, sizeof(double));
	law->covariance[side] = otp_calloc(n * n, sizeof(double));
	double *covariance = law->covariance[side];
	for (int j = 0; j < d; j++) {
		double *row = law->root[side] + j * d;
		for (int i = 0; i < d; i++)
			row[i] = basis[j * d + i] * sqrt(scale[j] * d / trace);
		for (int i = 0; i < d; i++)
			for (int k = 0; k < d; k++)
				covariance[i * d + k] += row[i] * row[k];
	}
	otp_free(basis);
	otp_free(scale);
}

static void make_gaussian(otp_law *law)
{
	make_covariance(law, OTP_SOURCE);
	make_covariance(law, OTP_TARGET);
	/* The target's mean: length 1 in a random direction. */
	law->mean = otp_calloc((size_t)law->d, sizeof *law->mean);
	otp_stream stream = stream_of(law->seed, STREAM_MEAN, 0);
	for (int i = 0; i < law->d; i++)
		law->mean[i] = normal_of(stream, (uint32_t)i);
	double length = sqrt(dot(law->mean, law->mean, law->d));
	for (int i = 0; i < law->d; i++)
		law->mean[i] /= length;
}

/* ---- life ------------------------------------------------------------------------- */

static bool settle_params(const law_kind *kind, otp_law_params *p, const char *name, otp_error *err)
{
	p->m = p->m ? p->m : 1;
	p->strata = p->strata ? p->strata : 1;
	p->cond = p->cond > 0 ? p->cond : 100;
	p->noise = p->noise >= 0 ? p->noise : kind->noise;
	int least = kind->sample == one_to_many ? p->m + 1 : kind->sample == perpendicular ? 2 * p->m : 1;
	int own = kind->d ? kind->d : least;
	if (p->m < 1 || p->m > 4096 || p->strata < 1 || p->cond < 1)
		return otp_fail(err, name,
				"m=%d, strata=%d, cond=%g: m and strata from 1, cond from 1 expected", p->m,
				p->strata, p->cond);
	if (!p->d)
		p->d = own;
	if (!kind->any_d && p->d != own)
		return otp_fail(err, name, "d=%d: this law has dimension %d", p->d, own);
	if (p->d < least || p->d > 4096)
		return otp_fail(err, name, "d=%d: a dimension from %d to 4096 expected", p->d, least);
	return true;
}

otp_law *otp_law_new(const char *name, otp_law_params params, uint64_t seed, otp_side *side, otp_error *err)
{
	otp_side which;
	const law_kind *kind = find(name, &which);
	if (!kind) {
		otp_fail(err, name, "no such law, expected one of %s", otp_law_names());
		return NULL;
	}
	if (!settle_params(kind, &params, name, err))
		return NULL;
	otp_law *law = otp_calloc(1, sizeof *law);
	*law = (otp_law){.kind = kind, .params = params, .seed = seed, .d = params.d};
	if (kind->sample == gaussian_pair)
		make_gaussian(law);
	if (kind->sample == convex)
		law->convex = otp_convex_new(law->d, stream_of(seed, STREAM_CONVEX, 0));
	if (kind->sample == one_to_many && law->d > params.m + 1) {
		law->rotation = otp_calloc((size_t)law->d * (size_t)law->d, sizeof(double));
		otp_law_orthogonal(seed, 0, law->d, law->rotation);
	}
	if (side)
		*side = which;
	return law;
}

void otp_law_free(otp_law *law)
{
	if (!law)
		return;
	otp_free(law->rotation);
	for (int side = 0; side < 2; side++) {
		otp_free(law->covariance[side]);
		otp_free(law->root[side]);
	}
	otp_free(law->mean);
	otp_convex_free(law->convex);
	otp_free(law);
}

void otp_law_sample(const otp_law *law, otp_side side, uint64_t index, float *out)
{
	enum { ON_STACK = 512 };
	double small[ON_STACK] = {0}, *plain = small;
	int d = law->d;
	if (d > ON_STACK)
		plain = otp_calloc((size_t)d, sizeof *plain);
	uint32_t which = STREAM_SAMPLE + 2 * (uint32_t)(law->kind - kinds) + (uint32_t)side;
	draw s = {law, stream_of(law->seed, which, index), side, index};
	law->kind->sample(&s, plain);
	/* Without its zeros a plain sample has m + 1 coordinates: the rotation's first columns suffice. */
	int used = law->rotation ? law->params.m + 1 : d;
	for (int i = 0; i < d; i++) {
		double value = plain[i];
		if (law->rotation) {
			value = 0;
			for (int j = 0; j < used; j++)
				value += law->rotation[(size_t)i * (size_t)d + (size_t)j] * plain[j];
		}
		out[i] = (float)value;
	}
	if (plain != small)
		otp_free(plain);
}
