/* doctor_rules: which cases there are, from what count on they matter, and what is done about each. */
#include "cli/doctor.h"
#include "core/words.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TINY = 32,	    /* shorter side in pixels, where no size is said */
	FEW = 100,	    /* a network learns so few by heart */
	KID_LEAST = 1000,   /* clean-fid's and torch-fidelity's subsets */
	FID_LEAST = 2048,   /* features: below, their covariance is singular */
	SCALES_APART = 100, /* largest over smallest spread of columns */
};

static otp_case *add(otp_doctor *d, otp_gravity gravity, const char *key, int set, int64_t count)
{
	size_t n = (size_t)d->case_count, each = sizeof *d->cases;
	d->cases = otp_realloc(d->cases, n * each, (n + 1) * each);
	d->cases[n] = (otp_case){.gravity = gravity, .key = key, .count = count, .set = set, .with = -1};
	return &d->cases[d->case_count++];
}

static void say(otp_case *c, const char *done, const char *fmt, ...) OTP_PRINTF(3, 4);
static void say(otp_case *c, const char *done, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	c->found = otp_strdup(text);
	c->done = otp_strdup(done);
}

void otp_doctor_free_cases(otp_doctor *d)
{
	for (int i = 0; i < d->case_count; i++) {
		otp_free(d->cases[i].found);
		otp_free(d->cases[i].done);
	}
	otp_free(d->cases);
	d->cases = NULL;
	d->case_count = 0;
}

int otp_doctor_place(const otp_case *c) { return c->with >= 0 && c->with != c->set ? OTP_BETWEEN : c->set; }

const otp_examinee *otp_doctor_partner(const otp_doctor *d, const otp_case *c, int i, int64_t *sample)
{
	int64_t number = d->sets[c->set].pictures.prints[c->examples[i]].like;
	if (c->with < 0 || number < 0)
		return NULL;
	int s = 0;
	while (s < d->set_count && number >= d->sets[s].pictures.count)
		number -= d->sets[s++].pictures.count;
	*sample = number;
	return s < d->set_count ? &d->sets[s] : NULL;
}

/* ---- pictures ---------------------------------------------------------------------------- */

static int shorter(const otp_print *p) { return p->h < p->w ? p->h : p->w; }

static int by_int(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

otp_sides otp_doctor_sides(const otp_examinee *e)
{
	const otp_examined *x = &e->pictures;
	int *sides = otp_calloc((size_t)x->count, sizeof *sides);
	size_t n = 0;
	for (int64_t i = 0; i < x->count; i++)
		if (!(x->prints[i].flags & OTP_PRINT_BROKEN))
			sides[n++] = shorter(&x->prints[i]);
	qsort(sides, n, sizeof *sides, by_int);
	otp_sides found = n ? (otp_sides){sides[0], sides[n / 2], sides[n - 1]} : (otp_sides){0, 0, 0};
	otp_free(sides);
	return found;
}

otp_doctor_counts otp_doctor_count(const otp_examinee *e)
{
	otp_doctor_counts n = {0};
	for (int64_t i = 0; i < e->pictures.count; i++) {
		uint32_t flags = e->pictures.prints[i].flags;
		if (flags & OTP_PRINT_BROKEN)
			continue;
		n.grey += (flags & (OTP_PRINT_GREY | OTP_PRINT_COLOURLESS)) != 0;
		n.single += (flags & OTP_PRINT_GREY) != 0;
		n.alpha += (flags & OTP_PRINT_ALPHA) != 0;
		n.deep += (flags & OTP_PRINT_DEEP) != 0;
	}
	n.colour = e->pictures.readable - n.grey;
	return n;
}

/* What a picture is asked, and about what. */
typedef struct about {
	int number;
	otp_size size;
} about;
typedef bool question(const otp_print *p, about a);

static bool has_flag(const otp_print *p, about flags) { return (p->flags & (uint32_t)flags.number) != 0; }
static bool is_smaller(const otp_print *p, about a) { return p->h < a.size.h || p->w < a.size.w; }
/* Of which the middle, cut out in the size's aspect, keeps less than half. */
static bool is_long(const otp_print *p, about a)
{
	int64_t wide = (int64_t)p->w * a.size.h, high = (int64_t)p->h * a.size.w;
	return wide > 2 * high || high > 2 * wide;
}
/* Of which the middle keeps half or more, but not nearly all. */
static bool is_cut(const otp_print *p, about a)
{
	int64_t wide = (int64_t)p->w * a.size.h, high = (int64_t)p->h * a.size.w;
	int64_t less = wide < high ? wide : high, more = wide < high ? high : wide;
	return !is_long(p, a) && 100 * less < 98 * more;
}
static bool is_shared(const otp_print *p, about set) { return p->shared >> set.number & 1; }
static bool is_near_shared(const otp_print *p, about set)
{
	return p->near_shared >> set.number & ~p->shared >> set.number & 1;
}
static bool is_near_copy(const otp_print *p, about nothing)
{
	(void)nothing;
	return (p->flags & OTP_PRINT_NEAR_COPY) && !(p->flags & OTP_PRINT_COPY);
}

/* A case of the pictures of a set for which the answer is yes, with the first as examples. NULL: none is. */
static otp_case *ask_about(otp_doctor *d, int set, otp_gravity gravity, const char *key, question *is,
			   about a)
{
	const otp_examined *x = &d->sets[set].pictures;
	otp_case c = {.count = 0};
	for (int64_t i = 0; i < x->count; i++) {
		const otp_print *p = &x->prints[i];
		if (((p->flags & OTP_PRINT_BROKEN) && is != has_flag) || !is(p, a))
			continue;
		if (c.count++ < OTP_EXAMPLES)
			c.examples[c.example_count++] = i;
	}
	if (!c.count)
		return NULL;
	otp_case *made = add(d, gravity, key, set, c.count);
	memcpy(made->examples, c.examples, sizeof c.examples);
	made->example_count = c.example_count;
	return made;
}

static otp_case *ask(otp_doctor *d, int set, otp_gravity gravity, const char *key, question *is, int number)
{
	return ask_about(d, set, gravity, key, is, (about){.number = number});
}

/* As training prepares pictures where nothing else is said: they cover the size, and the middle is cut out.
 */
static void judge_size(otp_doctor *d, int set)
{
	const otp_examinee *e = &d->sets[set];
	otp_sides sides = otp_doctor_sides(e);
	int suggested = 8;
	bool said = d->image_size.h > 0;
	if (!e->info.one_size && !said) {
		while (2 * suggested <= sides.median && suggested < 256)
			suggested *= 2;
		say(add(d, OTP_GRAVITY_NOTE, "sizes", -1, e->usable),
		    "train brings them to one size, the preset's or --image-size: they are scaled by their "
		    "shorter side, and the centre is cut out",
		    "the pictures have several sizes; --image-size %d suits a median shorter side of %d",
		    suggested, sides.median);
	}
	char text[OTP_SIZE_TEXT];
	about size = {.size = said ? d->image_size : (otp_size){TINY, TINY}};
	otp_case *c = e->info.one_size && !said
			  ? NULL
			  : ask_about(d, set, OTP_GRAVITY_WARNING, "tiny", is_smaller, size);
	if (c)
		say(c, "scaled up, and so blurred beside larger ones",
		    "%lld picture%s smaller than %s pixels", (long long)c->count, otp_plural(c->count),
		    otp_size_text(size.size, text));
	c = ask_about(d, set, OTP_GRAVITY_WARNING, "aspect", is_long, size);
	if (c && size.size.h == size.size.w)
		say(c, "less than half is kept: the square at the centre",
		    "%lld picture%s more than twice as long as wide", (long long)c->count,
		    otp_plural(c->count));
	else if (c)
		say(c, "less than half is kept: what is cut out at the centre",
		    "%lld picture%s of quite another aspect than %s", (long long)c->count,
		    otp_plural(c->count), otp_size_text(size.size, text));
	c = said ? ask_about(d, set, OTP_GRAVITY_NOTE, "cut", is_cut, size) : NULL;
	if (c)
		say(c, "scaled to cover it, and the rest is cut off on both sides",
		    "%lld picture%s of another aspect than %s", (long long)c->count, otp_plural(c->count),
		    otp_size_text(size.size, text));
}

static void judge_kinds(otp_doctor *d, int set)
{
	const otp_examinee *e = &d->sets[set];
	otp_case *c = ask(d, set, OTP_GRAVITY_WARNING, "unreadable", has_flag, OTP_PRINT_BROKEN);
	int64_t others = e->info.skipped - (c ? c->count : 0);
	if (c)
		say(c, "left out", "%lld picture%s cannot be decoded", (long long)c->count,
		    otp_plural(c->count));
	if (others > 0)
		say(add(d, OTP_GRAVITY_WARNING, "skipped", -1, others), "left out",
		    "files that cannot be read as pictures: %lld; the first is %s", (long long)others,
		    otp_dataset_skipped(e->set, 0));
	if ((c = ask(d, set, OTP_GRAVITY_NOTE, "turned", has_flag, OTP_PRINT_TURNED)))
		say(c, "turned by the tag, as viewers do",
		    "%lld picture%s with an EXIF tag that asks for turning", (long long)c->count,
		    otp_plural(c->count));
	if ((c = ask(d, set, OTP_GRAVITY_NOTE, "alpha", has_flag, OTP_PRINT_ALPHA)))
		say(c, "laid over white in training; translate carries it over", "%lld picture%s with alpha",
		    (long long)c->count, otp_plural(c->count));
	if ((c = ask(d, set, OTP_GRAVITY_NOTE, "deep", has_flag, OTP_PRINT_DEEP)))
		say(c, "rounded to 8 bits", "%lld picture%s with more than 8 bits a channel",
		    (long long)c->count, otp_plural(c->count));
	if (e->pictures.channels == 3 &&
	    (c = ask(d, set, OTP_GRAVITY_NOTE, "grey", has_flag, OTP_PRINT_GREY | OTP_PRINT_COLOURLESS))) {
		if (c->count == e->usable)
			say(c, "--channels 1 would train faster and lose nothing",
			    "every picture is grey, though stored in colour");
		else
			say(c, "grey is repeated in three channels; --channels 1 makes all grey",
			    "%lld picture%s in grey among coloured ones", (long long)c->count,
			    otp_plural(c->count));
	}
	if ((c = ask(d, set, OTP_GRAVITY_WARNING, "flat", has_flag, OTP_PRINT_FLAT)))
		say(c, "kept in training", "%lld picture%s of hardly any contrast: empty, black or faded",
		    (long long)c->count, otp_plural(c->count));
}

static void judge_copies(otp_doctor *d, int set)
{
	otp_case *c = ask(d, set, OTP_GRAVITY_WARNING, "copies", has_flag, OTP_PRINT_COPY);
	if (c) {
		c->with = set;
		say(c, "kept in training: a picture that lies there twice counts twice",
		    "%lld picture%s equal to an earlier one, pixel by pixel", (long long)c->count,
		    otp_plural(c->count));
	}
	if ((c = ask(d, set, OTP_GRAVITY_NOTE, "near-copies", is_near_copy, 0))) {
		c->with = set;
		say(c, "kept in training: look whether that is meant",
		    "%lld picture%s much like an earlier one (scaled, compressed again, or of few lines)",
		    (long long)c->count, otp_plural(c->count));
	}
}

static void judge_pictures(otp_doctor *d, int set)
{
	judge_kinds(d, set);
	judge_size(d, set);
	judge_copies(d, set);
}

/* ---- how many ------------------------------------------------------------------------------ */

/* Samples that are equal to an earlier one. */
static int64_t count_copies(const otp_examinee *e)
{
	int64_t count = 0;
	if (e->info.kind == OTP_DATA_VECTORS)
		return e->columns.copies;
	for (int64_t i = 0; i < e->pictures.count; i++)
		count += (e->pictures.prints[i].flags & OTP_PRINT_COPY) != 0;
	return count;
}

static void judge_count(otp_doctor *d, int set)
{
	const otp_examinee *e = &d->sets[set];
	bool images = e->info.kind == OTP_DATA_IMAGES;
	long long n = (long long)e->usable;
	const char *what = images ? "picture" : "vector";
	if (n == 0)
		say(add(d, OTP_GRAVITY_WRONG, "none", -1, n), "there is nothing to train on",
		    "none can be read");
	else if (n == 1 && !e->test)
		say(add(d, OTP_GRAVITY_WRONG, "one", -1, n), "a law needs more than one sample",
		    "only one %s", what);
	else if (n - count_copies(e) == 1 && !e->test)
		say(add(d, OTP_GRAVITY_WRONG, "one", -1, n), "a law needs more than one sample",
		    "all %lld %ss are equal", n, what);
	else if (n < FEW && !e->test)
		say(add(d, OTP_GRAVITY_WARNING, "few", -1, n),
		    "a network learns so few by heart: get more, or stop early and look at held-out ones",
		    "only %lld %s%s, where about %d and more make a network learn what they have in common",
		    n, what, otp_plural(n), FEW);
	if (images && n > 1 && n < FID_LEAST)
		say(add(d, OTP_GRAVITY_NOTE, "fid", -1, n),
		    n < KID_LEAST ? "compare by otplan eval, whose distance has its floor beside it"
				  : "KID takes 1,000, otplan eval has a floor beside its distance",
		    "too few for FID, which needs %d on a side (its covariance is singular below)",
		    FID_LEAST);
}

/* ---- points -------------------------------------------------------------------------------- */

static void judge_columns(otp_doctor *d, int set)
{
	const otp_columns *x = &d->sets[set].columns;
	double least = INFINITY, most = 0, whole = 0;
	int64_t constant = 0, first = 0;
	for (int64_t k = 0; k < x->d; k++) {
		double spread = otp_column_spread(&x->columns[k]);
		whole += spread * spread;
		if (x->columns[k].least == x->columns[k].most) {
			first = constant++ ? first : k;
			continue;
		}
		least = fmin(least, spread);
		most = fmax(most, spread);
	}
	if (constant)
		say(add(d, OTP_GRAVITY_WARNING, "constant", -1, constant),
		    "a constant column carries nothing and costs parameters: leave it out",
		    "constant columns: %lld of %lld; the first is column %lld, at %.6g", (long long)constant,
		    (long long)x->d, (long long)first, x->columns[first].mean);
	if (most > SCALES_APART * least)
		say(add(d, OTP_GRAVITY_WARNING, "scales", -1, x->d),
		    "the cost |x - y|^2 sees the large ones alone: scale source and target alike, a column "
		    "at a time",
		    "spreads of columns run from %.3g to %.3g", least, most);
	double single = x->d ? sqrt(whole / (double)x->d) : 1;
	if (whole > 0 && (sqrt(whole) < 0.1 || single > 10))
		say(add(d, OTP_GRAVITY_WARNING, "scale", -1, x->d),
		    "--sigma-start and --tau suit a spread of about 1: scale source and target alike, or set "
		    "these",
		    "values spread by %.3g about their mean", sqrt(whole) < 0.1 ? sqrt(whole) : single);
}

static void judge_points(otp_doctor *d, int set)
{
	const otp_examinee *e = &d->sets[set];
	const otp_columns *x = &e->columns;
	if (x->odd)
		say(add(d, OTP_GRAVITY_WRONG, "not-finite", -1, x->odd),
		    "refused by train: take out what is not finite",
		    "vectors with NaN or infinity: %lld; the first is number %lld", (long long)x->odd,
		    (long long)x->first_odd);
	judge_columns(d, set);
	if (x->copies)
		say(add(d, OTP_GRAVITY_NOTE, "copies", -1, x->copies),
		    "kept in training: a vector that is there twice counts twice",
		    "vectors equal to an earlier one: %lld", (long long)x->copies);
	if (e->has_dimension && e->dimension.m < 0.7 * (double)x->d)
		say(add(d, OTP_GRAVITY_NOTE, "dimension", -1, e->dimension.points),
		    "no density: the best plan may be one to many, and --sigma-end auto follows it",
		    "they lie on a set of about %.1f dimensions (TwoNN, +- %.1f) in a space of %lld",
		    e->dimension.m, e->dimension.error, (long long)x->d);
}

/* ---- between sets ---------------------------------------------------------------------------- */

static void judge_shared(otp_doctor *d, int a, int b)
{
	bool held_out = d->sets[a].test != d->sets[b].test;
	const char *done = held_out ? "held-out figures flatter: take what is in both out of one of the two"
				    : "the best plan leaves what is in both where it is";
	otp_case *c = ask(d, b, OTP_GRAVITY_WARNING, "shared", is_shared, a);
	if (c) {
		c->with = a;
		say(c, done, "%lld picture%s of %s also in %s, pixel by pixel", (long long)c->count,
		    otp_plural(c->count), d->sets[b].name, d->sets[a].name);
	}
	if ((c = ask(d, b, OTP_GRAVITY_WARNING, "near-shared", is_near_shared, a))) {
		c->with = a;
		say(c, done, "%lld picture%s of %s much like one of %s", (long long)c->count,
		    otp_plural(c->count), d->sets[b].name, d->sets[a].name);
	}
}

static int64_t count_shared(const otp_doctor *d, int a, int b)
{
	const otp_examined *x = &d->sets[b].pictures;
	int64_t count = 0;
	for (int64_t i = 0; i < x->count; i++)
		count += is_shared(&x->prints[i], (about){.number = a});
	return count;
}

/* Every sample of both is in the other. */
static bool are_same(const otp_doctor *d, int a, int b)
{
	const otp_examinee *p = &d->sets[a], *q = &d->sets[b];
	if (p->info.kind == OTP_DATA_VECTORS)
		return otp_columns_shared(&p->columns, &q->columns) == q->columns.count &&
		       otp_columns_shared(&q->columns, &p->columns) == p->columns.count;
	return p->usable && count_shared(d, a, b) == q->usable && count_shared(d, b, a) == p->usable;
}

static void judge_pair(otp_doctor *d, int a, int b)
{
	const otp_examinee *p = &d->sets[a], *q = &d->sets[b];
	bool domains = p->test == q->test;
	if (p->info.kind != q->info.kind) {
		say(add(d, OTP_GRAVITY_WRONG, "kinds", -1, 0), "refused by train", "%s holds %s, %s %s",
		    p->name, p->info.kind == OTP_DATA_IMAGES ? "pictures" : "vectors", q->name,
		    q->info.kind == OTP_DATA_IMAGES ? "pictures" : "vectors");
		return;
	}
	bool vectors = p->info.kind == OTP_DATA_VECTORS;
	if (vectors && p->columns.d != q->columns.d) {
		say(add(d, OTP_GRAVITY_WRONG, "dimensions", -1, 0), "refused by train",
		    "%s has vectors of %lld values, %s of %lld", p->name, (long long)p->columns.d, q->name,
		    (long long)q->columns.d);
		return;
	}
	if (domains && are_same(d, a, b)) {
		say(add(d, OTP_GRAVITY_WRONG, "same", -1, q->usable), "the best plan moves nothing",
		    "%s and %s are the same set", p->name, q->name);
		return;
	}
	int64_t shared = vectors ? otp_columns_shared(&p->columns, &q->columns) : 0;
	if (shared)
		say(add(d, OTP_GRAVITY_WARNING, "shared", -1, shared),
		    domains ? "the best plan leaves what is in both where it is" : "held-out figures flatter",
		    "vectors in both %s and %s: %lld", q->name, p->name, (long long)shared);
	if (!vectors)
		judge_shared(d, a, b);
	if (!vectors && domains && !d->image_size.h && p->info.one_size && q->info.one_size &&
	    (p->info.h != q->info.h || p->info.w != q->info.w))
		say(add(d, OTP_GRAVITY_NOTE, "two-sizes", -1, 0),
		    "train brings both to one size, the preset's or --image-size",
		    "%s has pictures of %d x %d, %s of %d x %d (width x height)", p->name, p->info.w,
		    p->info.h, q->name, q->info.w, q->info.h);
}

void otp_doctor_judge(otp_doctor *d)
{
	for (int s = 0; s < d->set_count; s++) {
		int first = d->case_count;
		judge_count(d, s);
		if (d->sets[s].info.kind == OTP_DATA_IMAGES)
			judge_pictures(d, s);
		else
			judge_points(d, s);
		for (int i = first; i < d->case_count; i++)
			d->cases[i].set = s;
	}
	for (int a = 0; a < d->set_count; a++)
		for (int b = a + 1; b < d->set_count; b++)
			judge_pair(d, a, b);
}
