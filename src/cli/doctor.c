/* doctor: reads one or two sets whole, or a root of both domains with their held-out halves, and says what is
 * in them, what is wrong with them, and what will be done about it.
 */
#include "cli/doctor.h"
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "data/outputs.h"
#include "data/root.h"

#include <cjson/cJSON.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const GRAVITIES[] = {"note", "warning", "wrong"};

/* ---- reading --------------------------------------------------------------------------------- */

/* TwoNN over an even sample, as the choice of --sigma-end takes it. */
static bool estimate_dimension(otp_examinee *e, otp_error *err)
{
	const otp_columns *x = &e->columns;
	int n = otp_dimension_sample(x->count, x->d);
	float *points = otp_calloc(otp_mul_size((size_t)n, (size_t)x->d), sizeof *points);
	bool ok = true;
	for (int64_t i = 0; ok && i < n; i++)
		ok = otp_dataset_get(e->set, (uint64_t)(i * x->count / n), 0, points + i * x->d, err);
	e->has_dimension = ok && otp_dimension_estimate(points, n, x->d, &e->dimension);
	otp_free(points);
	return ok;
}

static bool read_vectors(otp_examinee *e, otp_pool *pool, otp_error *err)
{
	const otp_preprocessing none = {0};
	otp_dataset_allow_odd(e->set);
	if (!otp_dataset_prepare(e->set, &none, 0, otp_pool_workers(pool), err) ||
	    !otp_columns_measure(e->set, pool, &e->columns, err))
		return false;
	e->usable = e->columns.count;
	return e->columns.odd || estimate_dimension(e, err);
}

static bool read_pictures(otp_examinee *e, otp_size size, otp_pool *pool, otp_error *err)
{
	otp_preprocessing how = {.size = size};
	if (!otp_dataset_prepare_own(e->set, &how, 0, otp_pool_workers(pool), err) ||
	    !otp_examine(e->set, pool, &e->pictures, err))
		return false;
	e->usable = e->pictures.readable;
	return true;
}

/* No output lies inside a set that is read. */
static bool lies_outside(const char *page, const otp_dataset *set, otp_error *err)
{
	char *copy = otp_strdup(page);
	bool ok = otp_outputs_outside(dirname(copy), set, "--out", err);
	otp_free(copy);
	return ok;
}

static bool read_set(otp_examinee *e, otp_size size, const char *page, otp_pool *pool, otp_error *err)
{
	e->set = otp_dataset_open(e->spec, 1, err);
	if (!e->set || (page && !lies_outside(page, e->set, err)))
		return false;
	e->info = otp_dataset_describe(e->set);
	if (e->info.count == 0)
		return otp_fail(err, e->spec, "is generated without end, expected ?limit=N with it");
	otp_dataset_stream(e->set);
	if (e->info.kind == OTP_DATA_VECTORS ? !read_vectors(e, pool, err)
					     : !read_pictures(e, size, pool, err))
		return false;
	if (!otp_dataset_digest(e->set, otp_pool_workers(pool), err))
		return false;
	e->info = otp_dataset_describe(e->set);
	return true;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_pictures(const otp_examinee *e)
{
	const otp_examined *x = &e->pictures;
	const otp_data_survey *s = &e->info.survey;
	otp_sides sides = otp_doctor_sides(e);
	otp_doctor_counts n = otp_doctor_count(e);
	if (e->info.one_size)
		printf("  size        %d x %d (width x height)\n", e->info.w, e->info.h);
	else
		printf("  size        widths %d to %d, heights %d to %d; shorter side %d to %d, median %d\n",
		       s->w_min, s->w_max, s->h_min, s->h_max, sides.least, sides.most, sides.median);
	printf("  colours     %lld in grey (%lld stored in one channel), %lld in colour; %lld with alpha, "
	       "%lld of "
	       "more than 8 bits\n",
	       (long long)n.grey, (long long)n.single, (long long)n.colour, (long long)n.alpha,
	       (long long)n.deep);
	for (int k = 0; k < x->channels && x->readable; k++)
		printf("  %-10s  values %d to %d, mean %.1f, spread %.1f (of 255)\n",
		       x->channels == 1 ? "grey"
		       : k == 0		? "red"
		       : k == 1		? "green"
					: "blue",
		       x->least[k], x->most[k], x->mean[k], x->spread[k]);
}

static void print_vectors(const otp_examinee *e)
{
	enum { SHOWN = 16 };
	const otp_columns *x = &e->columns;
	for (int64_t k = 0; k < x->d && k < SHOWN; k++)
		printf("  column %-4lld values %.6g to %.6g, mean %.4g, spread %.4g\n", (long long)k,
		       x->columns[k].least, x->columns[k].most, x->columns[k].mean,
		       otp_column_spread(&x->columns[k]));
	if (x->d > SHOWN)
		printf("  ... and %lld more column%s (--json has them all)\n", (long long)(x->d - SHOWN),
		       otp_plural(x->d - SHOWN));
	if (e->has_dimension)
		printf("  dimension   %.1f of %lld (TwoNN, from %d vectors)\n", e->dimension.m,
		       (long long)x->d, e->dimension.points);
}

static void print_case(const otp_doctor *d, const otp_case *c)
{
	static const char *const marks[] = {"-", "!", "WRONG:"};
	char buffer[2][4096];
	printf("  %s %s: %s\n", marks[c->gravity], c->found, c->done);
	if (!c->example_count)
		return;
	const otp_examinee *e = &d->sets[c->set];
	for (int i = 0; i < c->example_count && i < 3; i++) {
		int64_t sample = 0;
		const otp_examinee *other = otp_doctor_partner(d, c, i, &sample);
		bool elsewhere = other && other != e;
		printf("      %s%s%s%s%s\n",
		       otp_dataset_name(e->set, (uint64_t)c->examples[i], buffer[0], sizeof buffer[0]),
		       other ? " = " : "", elsewhere ? other->name : "", elsewhere ? ": " : "",
		       other ? otp_dataset_name(other->set, (uint64_t)sample, buffer[1], sizeof buffer[1])
			     : "");
	}
	if (c->count > 3)
		printf("      ... and %lld more\n", (long long)c->count - 3);
}

static void print_text(const otp_doctor *d)
{
	for (int s = 0; s < d->set_count; s++) {
		const otp_examinee *e = &d->sets[s];
		bool images = e->info.kind == OTP_DATA_IMAGES;
		if (images)
			printf("%s: %lld picture%s that can be used\n", e->name, (long long)e->usable,
			       otp_plural(e->usable));
		else
			printf("%s: %lld vector%s of %d value%s\n", e->name, (long long)e->usable,
			       otp_plural(e->usable), e->info.c, otp_plural(e->info.c));
		printf("  format      %s%s%s\n", e->info.format, e->info.stored ? ", " : "",
		       e->info.stored ? e->info.stored : "");
		(images ? print_pictures : print_vectors)(e);
		for (int i = 0; i < d->case_count; i++)
			if (otp_doctor_place(&d->cases[i]) == s)
				print_case(d, &d->cases[i]);
	}
	for (int i = 0, told = 0; i < d->case_count; i++)
		if (otp_doctor_place(&d->cases[i]) == OTP_BETWEEN) {
			if (!told++)
				puts("between them:");
			print_case(d, &d->cases[i]);
		}
	if (d->case_count == 0)
		puts("nothing is wrong");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static cJSON *json_of_case(const otp_doctor *d, const otp_case *c)
{
	char buffer[4096];
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "key", c->key);
	cJSON_AddStringToObject(o, "gravity", GRAVITIES[c->gravity]);
	cJSON_AddNumberToObject(o, "count", (double)c->count);
	cJSON_AddStringToObject(o, "found", c->found);
	cJSON_AddStringToObject(o, "done", c->done);
	cJSON *examples = c->example_count ? cJSON_AddArrayToObject(o, "examples") : NULL;
	cJSON *like = c->with >= 0 ? cJSON_AddArrayToObject(o, "like") : NULL;
	for (int i = 0; i < c->example_count; i++) {
		int64_t sample = 0;
		const otp_examinee *other = otp_doctor_partner(d, c, i, &sample);
		cJSON_AddItemToArray(examples, cJSON_CreateString(otp_dataset_name(d->sets[c->set].set,
										   (uint64_t)c->examples[i],
										   buffer, sizeof buffer)));
		if (!like)
			continue;
		cJSON *one = cJSON_CreateObject();
		if (other) {
			cJSON_AddStringToObject(one, "set", other->name);
			cJSON_AddStringToObject(
			    one, "name",
			    otp_dataset_name(other->set, (uint64_t)sample, buffer, sizeof buffer));
		}
		cJSON_AddItemToArray(like, one);
	}
	return o;
}

static void add_list(cJSON *o, const char *key, const double *values, int count)
{
	cJSON_AddItemToObject(o, key, cJSON_CreateDoubleArray(values, count));
}

static void add_pictures(cJSON *o, const otp_examinee *e)
{
	const otp_examined *x = &e->pictures;
	const otp_data_survey *s = &e->info.survey;
	otp_sides sides = otp_doctor_sides(e);
	otp_doctor_counts n = otp_doctor_count(e);
	const struct {
		const char *key;
		double value;
	} figures[] = {
	    {"width_min", s->w_min},	       {"width_max", s->w_max},	      {"height_min", s->h_min},
	    {"height_max", s->h_max},	       {"side_median", sides.median}, {"grey", (double)n.grey},
	    {"one_channel", (double)n.single}, {"colour", (double)n.colour},  {"alpha", (double)n.alpha},
	    {"deep", (double)n.deep},
	};
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
		cJSON_AddNumberToObject(o, figures[i].key, figures[i].value);
	cJSON_AddItemToObject(o, "least", cJSON_CreateIntArray(x->least, x->channels));
	cJSON_AddItemToObject(o, "most", cJSON_CreateIntArray(x->most, x->channels));
	add_list(o, "mean", x->mean, x->channels);
	add_list(o, "spread", x->spread, x->channels);
}

static void add_vectors(cJSON *o, const otp_examinee *e)
{
	const otp_columns *x = &e->columns;
	double *values = otp_calloc((size_t)x->d, sizeof *values);
	cJSON_AddNumberToObject(o, "dimension", (double)x->d);
	cJSON_AddNumberToObject(o, "not_finite", (double)x->odd);
	cJSON_AddNumberToObject(o, "copies", (double)x->copies);
	if (e->has_dimension)
		cJSON_AddNumberToObject(o, "intrinsic_dimension", e->dimension.m);
	for (int64_t k = 0; k < x->d; k++)
		values[k] = x->columns[k].mean;
	add_list(o, "mean", values, (int)x->d);
	for (int64_t k = 0; k < x->d; k++)
		values[k] = otp_column_spread(&x->columns[k]);
	add_list(o, "spread", values, (int)x->d);
	otp_free(values);
}

/* A line for each set with its cases, and one for what is between them, where there are several. */
static void print_json(const otp_doctor *d)
{
	for (int s = 0; s <= d->set_count; s++) {
		bool between = s == d->set_count;
		if (between && d->set_count == 1)
			break;
		cJSON *o = cJSON_CreateObject();
		if (between) {
			cJSON_AddStringToObject(o, "set", "between");
		} else {
			const otp_examinee *e = &d->sets[s];
			char digest[24];
			snprintf(digest, sizeof digest, "%016llx", (unsigned long long)e->info.digest);
			cJSON_AddStringToObject(o, "set", e->name);
			cJSON_AddStringToObject(o, "kind",
						e->info.kind == OTP_DATA_IMAGES ? "pictures" : "vectors");
			cJSON_AddStringToObject(o, "format", e->info.format);
			cJSON_AddNumberToObject(o, "count", (double)e->usable);
			cJSON_AddNumberToObject(o, "left_out", (double)e->info.skipped);
			cJSON_AddStringToObject(o, "digest", digest);
			(e->info.kind == OTP_DATA_IMAGES ? add_pictures : add_vectors)(o, e);
		}
		cJSON *cases = cJSON_AddArrayToObject(o, "cases");
		for (int i = 0; i < d->case_count; i++)
			if (otp_doctor_place(&d->cases[i]) == (between ? OTP_BETWEEN : s))
				cJSON_AddItemToArray(cases, json_of_case(d, &d->cases[i]));
		otp_json_print(o);
	}
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Where the one word is a root of both domains: its halves. */
static bool take_root(otp_doctor *d, const char *place, otp_root *root, otp_error *err)
{
	if (!otp_root_find(place, root, err))
		return false;
	for (int i = 0; i < OTP_DOCTOR_SETS; i++) {
		const char *spec = i < 2 ? root->train[i] : root->test[i - 2];
		if (spec)
			d->sets[d->set_count++] = (otp_examinee){.spec = spec, .name = spec, .test = i >= 2};
	}
	return true;
}

/* A folder of two sides that are not named as a root's: it is read as one set, as train would read it. */
static void hint_at_sides(const char *place)
{
	char *sides[2];
	if (otp_root_is(place) || !otp_root_guess(place, sides))
		return;
	otp_log(
	    "%s is taken as one set, with all its folders; if two of them are the two sides: otplan doctor "
	    "%s %s",
	    place, sides[0], sides[1]);
	otp_free(sides[0]);
	otp_free(sides[1]);
}

/* Before anything is read: a page takes the place of no file but a page. */
static bool check_page(const char *path, otp_error *err)
{
	const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
	if (!dot || (strcasecmp(dot, ".html") != 0 && strcasecmp(dot, ".htm") != 0))
		return otp_fail(err, "--out", "%s does not end in .html, which a page is", path);
	char *folder = slash ? otp_format("%.*s", (int)(slash - path + 1), path) : otp_strdup(".");
	bool ok = otp_file_is_folder(folder) || otp_fail(err, "--out", "%s: no such folder", folder);
	otp_free(folder);
	FILE *f = ok ? fopen(path, "rb") : NULL;
	if (!f)
		return ok;
	char head[512];
	head[fread(head, 1, sizeof head - 1, f)] = 0;
	fclose(f);
	return strstr(head, OTP_DOCTOR_TITLE) ||
	       otp_fail(err, "--out", "%s is there already and no page of doctor's; choose another name",
			path);
}

static void fail_wrong(const otp_doctor *d, otp_error *err)
{
	for (int i = 0; i < d->case_count; i++)
		if (d->cases[i].gravity == OTP_GRAVITY_WRONG)
			otp_fail(err, d->cases[i].set < 0 ? "doctor" : d->sets[d->cases[i].set].name,
				 "%s: %s", d->cases[i].found, d->cases[i].done);
}

static void examine(otp_doctor *d, int threads, bool json, const char *page, otp_error *err)
{
	otp_pool *pool = otp_pool_new(threads ? threads : otp_cores());
	otp_examined *pictures[OTP_DOCTOR_SETS];
	bool ok = otp_pool_start(pool) ||
		  otp_fail_machine(err, "--threads", "%d threads cannot be started", otp_pool_workers(pool));
	for (int s = 0; ok && s < d->set_count; s++) {
		ok = read_set(&d->sets[s], d->image_size, page, pool, err);
		pictures[s] = &d->sets[s].pictures;
	}
	if (ok) {
		otp_examine_compare(pictures, d->set_count);
		otp_doctor_judge(d);
		(json ? print_json : print_text)(d);
		if (!page || otp_doctor_write_page(d, page, err))
			fail_wrong(d, err);
	}
	otp_doctor_free_cases(d);
	for (int s = 0; s < d->set_count; s++) {
		otp_examined_free(&d->sets[s].pictures);
		otp_columns_free(&d->sets[s].columns);
		otp_dataset_close(d->sets[s].set);
	}
	otp_pool_free(pool);
}

int otp_command_doctor(int argc, char **argv, otp_error *err)
{
	otp_doctor d = {.set_count = 0};
	const char *page = NULL;
	bool json = false;
	int threads = 0;
	const otp_arg args[] = {
	    {"image-size", OTP_ARG_SIZE, &d.image_size, 0, 4096,
	     "judge pictures for training at this size, N or WIDTHxHEIGHT"},
	    {"threads", OTP_ARG_INT, &threads, 0, 1024, "CPU threads, 0: one a core"},
	    {"json", OTP_ARG_FLAG, &json, 0, 0, "one object a set, and one for what is between them"},
	    {"out", OTP_ARG_TEXT, &page, 0, 0, "also write this page, with small pictures of each case"},
	};
	otp_command_line line = {
	    .args = args,
	    .arg_count = sizeof args / sizeof *args,
	    .usage = "otplan doctor INPUT [INPUT2] [--image-size SIZE] [--json] [--out PAGE.html]",
	    .least_words = 1,
	    .most_words = 2};
	otp_root root = {0};
	if (!otp_args_read(argc, argv, &line, err) || (page && !check_page(page, err)))
		return err->exit_code;
	if (line.word_count == 1)
		hint_at_sides(line.words[0]);
	if (line.word_count == 1 && otp_root_is(line.words[0])) {
		if (!take_root(&d, line.words[0], &root, err))
			return err->exit_code;
	} else {
		for (int i = 0; i < line.word_count; i++) {
			d.sets[i] = (otp_examinee){.spec = line.words[i], .name = line.words[i]};
			if (otp_root_is(line.words[i]))
				otp_log(
				    "%s holds two sides in folders of their own, and both are taken as one "
				    "set here; `otplan doctor` of it alone tells them apart",
				    line.words[i]);
		}
		d.set_count = line.word_count;
	}
	examine(&d, threads, json, page, err);
	otp_root_free(&root);
	return err->exit_code;
}
