/* eval_features: two sets of features that another program made of pictures, and how far apart they are. */
#include "cli/eval.h"
#include "cli/json.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/words.h"
#include "data/dataset.h"
#include "ot/features.h"

#include <limits.h>
#include <stdio.h>

typedef struct features {
	float *rows;
	int n, d;
} features;

static bool read_rows(const otp_dataset *set, const otp_dataset_info *info, features *out, otp_error *err)
{
	size_t bytes = (size_t)info->count * (size_t)info->c * sizeof(float);
	if (!otp_memory_can_have(bytes) ||
	    !(out->rows = otp_try_calloc((size_t)info->count * (size_t)info->c, sizeof(float))))
		return otp_fail_memory(err, info->spec, bytes, "features", otp_memory_available());
	for (int i = 0; i < out->n; i++)
		if (!otp_dataset_get(set, (uint64_t)i, 0, out->rows + (size_t)i * (size_t)out->d, err))
			return false;
	return true;
}

static bool read_features(const char *spec, features *out, otp_error *err)
{
	const otp_preprocessing none = {0};
	otp_dataset *set = otp_dataset_open(spec, 1, err);
	if (!set)
		return false;
	otp_dataset_info info = otp_dataset_describe(set);
	*out = (features){.n = (int)info.count, .d = info.c};
	bool ok = info.kind == OTP_DATA_VECTORS ||
		  otp_fail(err, spec, "holds images, expected features, (N, d) vectors");
	ok = ok && ((info.count >= 2 && info.count < INT_MAX) ||
		    otp_fail(err, spec, "holds %lld vector%s, at least 2 are needed", (long long)info.count,
			     otp_plural(info.count)));
	ok = ok && otp_dataset_prepare(set, &none, info.c, 1, err) && read_rows(set, &info, out, err);
	otp_dataset_close(set);
	return ok;
}

static void print(const features *a, const features *b, bool json)
{
	otp_figure list[OTP_MAX_FIGURES];
	otp_figures f = {.each = list};
	otp_feature_distance distance = otp_feature_distances(a->rows, a->n, b->rows, b->n, a->d);
	otp_figures_add(&f, "frechet", distance.frechet, "");
	otp_figures_add(&f, "kid", distance.kid, "");
	if (distance.subsets > 1)
		otp_figures_add(&f, "kid_spread", distance.kid_spread, "");
	int fewer = a->n < b->n ? a->n : b->n;
	if (fewer <= a->d)
		otp_log("warning: %d features of %d values: their covariance is singular, and the Frechet "
			"distance too large",
			fewer, a->d);
	if (!json) {
		printf("%-*s %d and %d, of %d values\n", OTP_FIGURE_LABEL, "features", a->n, b->n, a->d);
		otp_figures_print(list, f.count, "");
		return;
	}
	cJSON *object = cJSON_CreateObject();
	cJSON_AddNumberToObject(object, "n", fewer);
	cJSON_AddNumberToObject(object, "dimension", a->d);
	otp_json_add_figures(object, list, f.count);
	otp_json_print(object);
}

int otp_eval_features(const char *const specs[2], bool json, otp_error *err)
{
	features a = {0}, b = {0};
	if (read_features(specs[0], &a, err) && read_features(specs[1], &b, err) &&
	    (a.d == b.d ||
	     otp_fail(err, specs[1], "has features of %d values, %s of %d", b.d, specs[0], a.d)))
		print(&a, &b, json);
	otp_free(a.rows);
	otp_free(b.rows);
	return err->exit_code;
}
