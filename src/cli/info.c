/* info: what lies on disk, by its kind: a run, a model, a checkpoint, a data set. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "config/settings.h"
#include "core/file.h"
#include "data/dataset.h"
#include "model/fields.h"
#include "model/run.h"
#include "model/schema.h"
#include "model/store.h"
#include "report/figures.h"
#include "report/metrics.h"
#include "train/forecast.h"
#include "train/summary.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void add_text(cJSON *o, const char *key, const char *value) { cJSON_AddStringToObject(o, key, value); }
static void add(cJSON *o, const char *key, double value) { cJSON_AddNumberToObject(o, key, value); }

static void add_digest(cJSON *o, const char *key, uint64_t digest)
{
	char text[24];
	snprintf(text, sizeof text, "%016llx", (unsigned long long)digest);
	add_text(o, key, text);
}

static void add_facts(cJSON *o, const otp_stored *s)
{
	const otp_arch *a = &s->arch;
	add(o, "version", s->version);
	add(o, "step", (double)s->step);
	add_text(o, "samples", a->vectors ? "vectors" : "images");
	add(o, "height", a->h);
	add(o, "width", a->w);
	add(o, "channels", a->c);
	add_digest(o, "source_digest", s->source.digest);
	add_digest(o, "target_digest", s->target.digest);
}

static void add_list(cJSON *o, const char *key, const int *values, int count)
{
	cJSON *list = cJSON_AddArrayToObject(o, key);
	for (int i = 0; i < count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(values[i]));
}

/* Every field by which the file describes itself, under its name in the file. */
static void add_fields(cJSON *o, const otp_stored *s)
{
	otp_fact fact;
	cJSON *fields = cJSON_AddObjectToObject(o, "fields");
	for (int i = 0; otp_schema_fact(s, i, &fact); i++) {
		if (!fact.name)
			continue;
		if (fact.kind == OTP_FACT_NUMBER)
			add(fields, fact.name, fact.number);
		else if (fact.kind == OTP_FACT_LIST)
			add_list(fields, fact.name, fact.list, fact.count);
		else if (fact.kind == OTP_FACT_DIGEST)
			add_digest(fields, fact.name, fact.bits);
		else
			add_text(fields, fact.name, fact.text);
	}
}

/* Every digest; where one fails, that is a result, and the command failed. A file that does not describe what
 * it should is bad input. */
static bool is_whole(const char *path, otp_stored_kind kind, otp_error *err)
{
	otp_error why = {0};
	if (kind == OTP_STORED_MODEL ? otp_model_check(path, NULL, &why) : otp_checkpoint_check(path, &why))
		return true;
	if (why.damaged)
		why.exit_code = OTP_EXIT_FAILED;
	if (!err->exit_code)
		*err = why;
	return false;
}

static bool describe_checkpoint(const char *path, cJSON *o, otp_error *err)
{
	otp_stored s;
	if (!is_whole(path, OTP_STORED_CHECKPOINT, err) || !otp_checkpoint_read(path, &s, err))
		return false;
	add_text(o, "kind", "checkpoint");
	add_facts(o, &s);
	add(o, "time_s", s.time_s);
	add_fields(o, &s);
	add_text(o, "settings", s.settings);
	otp_stored_free(&s);
	return true;
}

/* Layers with shapes: rebuilt from the architecture, as translation does it. */
static void add_layers(cJSON *o, const otp_stored *s)
{
	otp_params *params = otp_sample_params(&s->arch);
	cJSON *layers = cJSON_AddArrayToObject(o, "layers");
	for (int k = 0; k < params->count; k++) {
		const otp_param_info *i = &params->info[k];
		char line[160];
		snprintf(line, sizeof line, "%-32s %dx%dx%dx%d", i->name, i->shape.n, i->shape.h, i->shape.w,
			 i->shape.c);
		cJSON_AddItemToArray(layers, cJSON_CreateString(line));
	}
	otp_params_free(params);
}

static bool describe_model(const char *path, cJSON *o, otp_error *err)
{
	otp_stored s;
	if (!is_whole(path, OTP_STORED_MODEL, err) || !otp_model_read(path, &s, err))
		return false;
	add_text(o, "kind", "model");
	add_facts(o, &s);
	add(o, "sigma", s.sigma);
	add(o, "parameters", (double)s.parameters);
	add_fields(o, &s);
	add_layers(o, &s);
	add_text(o, "settings", s.settings);
	otp_stored_free(&s);
	return true;
}

/* The last record's figures; what was not measured (null in JSON) is left out. Figures whose names go on from
 * another's ("... ") follow it. */
static void add_last(cJSON *o, const otp_metrics *m)
{
	const struct {
		const char *key;
		double value;
	} figures[] = {
	    {"time_s", m->time_s},
	    {"cost", m->cost},
	    {"images_per_s", m->images_per_s},
	    {"measured_at", m->measured_at},
	    {"transport_cost", m->transport_cost},
	    {"identity_distance", m->identity_distance},
	    {"target_distance", m->target_distance},
	    {"target_floor", m->target_floor},
	    {"source_distance", m->source_distance},
	    {"patch_distance", m->patch_distance},
	    {"patch_floor", m->patch_floor},
	    {"source_patch_distance", m->source_patch_distance},
	    {"to_identity", m->to_identity},
	    {"output_spread", m->output_spread},
	    {"noise_spread", m->noise_spread},
	    {"noise_needed", m->noise_needed},
	    {"diversity", m->diversity},
	};
	char verdicts[128];
	add(o, "logged_step", (double)m->step);
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
		if (isfinite(figures[i].value))
			add(o, figures[i].key, figures[i].value);
	otp_verdicts_text(m->verdicts, verdicts, sizeof verdicts);
	add_text(o, "verdicts", verdicts);
}

/* Who chose sigma_end, where the run's model says. */
static void add_sigma_by(cJSON *o, const char *run)
{
	static const char *const NAMES[] = OTP_CHOICE_NAMES(otp_sigma_by);
	char *path = otp_run_path(run, "model.h5");
	otp_error ignored = {0};
	otp_stored s;
	if (otp_file_exists(path) && otp_model_read(path, &s, &ignored)) {
		if (s.sigma_by != OTP_SIGMA_BY_UNKNOWN)
			add_text(o, "sigma_end_by", NAMES[s.sigma_by]);
		otp_stored_free(&s);
	}
	otp_free(path);
}

/* Names the files of a run whose digests are not right; the first of them is the error. */
static void add_damaged(cJSON *o, const char *run, const int64_t *steps, int count, otp_error *err)
{
	char names[512] = "none";
	for (int i = -2; i < count; i++) {
		char *path = i >= 0 ? otp_run_step_path(run, "checkpoints", steps[i], "h5")
				    : otp_run_path(run, i == -2 ? "model.h5" : "model-best.h5");
		if (otp_file_exists(path) &&
		    !is_whole(path, i >= 0 ? OTP_STORED_CHECKPOINT : OTP_STORED_MODEL, err)) {
			size_t used = strcmp(names, "none") == 0 ? 0 : strlen(names);
			snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
				 path + strlen(run) + 1);
		}
		otp_free(path);
	}
	add_text(o, "damaged", names);
}

static bool describe_run(const char *path, cJSON *o, otp_error *err)
{
	otp_config c;
	otp_config_defaults(&c);
	char *config = otp_run_path(path, "config.ini"), *history = otp_run_path(path, "metrics.jsonl");
	int64_t *steps;
	otp_metrics *rows = NULL;
	size_t count = 0;
	bool ok = otp_config_read(&c, config, err);
	if (ok) {
		int checkpoints = otp_run_checkpoints(path, &steps, err);
		ok = checkpoints >= 0;
		add_text(o, "kind", "run");
		add_text(o, "source", c.source);
		add_text(o, "target", c.target);
		add_text(o, "preset", c.preset);
		add(o, "steps", c.steps);
		add(o, "sigma_end", otp_settings_sigma(&c, c.steps));
		add_sigma_by(o, path);
		add(o, "checkpoints", checkpoints);
		if (checkpoints > 0)
			add(o, "last_checkpoint", (double)steps[checkpoints - 1]);
		ok = ok && (!otp_file_exists(history) || otp_metrics_read(history, &rows, &count, err));
		add(o, "last_step", (double)otp_summary_step(path, rows, count));
		if (count)
			add_last(o, &rows[count - 1]);
		if (ok)
			add_damaged(o, path, steps, checkpoints, err);
		otp_free(steps);
		otp_free(rows);
	}
	otp_free(config);
	otp_free(history);
	return ok;
}

/* What `otplan pack` wrote beside the rows; nothing where another program made the set. */
static bool add_provenance(cJSON *o, const otp_dataset *d, const char *set, otp_error *err)
{
	enum { MOST_TEXT = 1 << 16 };
	static const char *const TEXTS[] = {"program", "input",	 "input_digest", "input_digest_kind",
					    "resize",  "filter", "aspect"},
				 *const NUMBERS[] = {"listed", "left_out", "seed"};
	char *place = otp_dataset_place(d), name[256];
	set += strspn(set, "/");
	otp_error odd = {0};
	otp_hdf5_start();
	otp_fields f = {.file = otp_hdf5_open_file(place), .path = place, .err = &odd};
	cJSON *packed = NULL;
	snprintf(name, sizeof name, "%s/program", set);
	if (f.file >= 0 && otp_fields_has(&f, name))
		packed = cJSON_AddObjectToObject(o, "packed");
	for (size_t i = 0; packed && i < sizeof TEXTS / sizeof *TEXTS; i++) {
		snprintf(name, sizeof name, "%s/%s", set, TEXTS[i]);
		char *text = otp_fields_has(&f, name) ? otp_fields_text(&f, name, MOST_TEXT) : NULL;
		if (text)
			add_text(packed, TEXTS[i], text);
		otp_free(text);
	}
	for (size_t i = 0; packed && i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
		int64_t number = 0;
		snprintf(name, sizeof name, "%s/%s", set, NUMBERS[i]);
		if (otp_fields_has(&f, name) && otp_fields_integer(&f, name, INT64_MIN, INT64_MAX, &number))
			add(packed, NUMBERS[i], (double)number);
	}
	if (f.file >= 0)
		H5Fclose(f.file);
	otp_free(place);
	if (odd.exit_code == OTP_EXIT_FAILED)
		*err = odd;
	return !err->exit_code;
}

static bool describe_data(const char *spec, cJSON *o, otp_error *err)
{
	int threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
	otp_dataset *d = otp_dataset_open(spec, 1, err);
	if (!d || !otp_dataset_digest(d, threads, err)) {
		otp_dataset_close(d);
		return false;
	}
	otp_dataset_info i = otp_dataset_describe(d);
	add_text(o, "kind", "data set");
	add_text(o, "format", i.format);
	add_text(o, "samples", i.kind == OTP_DATA_IMAGES ? "images" : "vectors");
	add(o, "count", (double)i.count);
	if (i.one_size) {
		add(o, "height", i.h);
		add(o, "width", i.w);
	}
	add(o, "channels", i.c);
	add(o, "skipped", (double)i.skipped);
	if (i.stored)
		add_text(o, "stored", i.stored);
	if (i.set)
		add_text(o, "set", i.set);
	if (i.beside)
		add_text(o, "beside", i.beside);
	if (i.low < i.high) {
		add(o, "black", i.low);
		add(o, "white", i.high);
		add(o, "least", i.least);
		add(o, "most", i.most);
	}
	add_digest(o, "digest", i.digest);
	add_text(o, "digest_kind", i.digest_kind);
	bool ok = strcmp(i.format, "HDF5") != 0 || !i.set || add_provenance(o, d, i.set, err);
	otp_dataset_close(d);
	return ok;
}

static bool describe(const char *path, cJSON *o, otp_error *err)
{
	otp_stored_kind kind;
	otp_error stranger = {0};
	bool file = otp_file_exists(path) && !otp_file_is_folder(path);
	if (otp_file_is_folder(path) && otp_run_exists(path))
		return describe_run(path, o, err);
	if (file && otp_stored_identify(path, &kind, &stranger))
		return (kind == OTP_STORED_MODEL ? describe_model : describe_checkpoint)(path, o, err);
	if (stranger.exit_code == OTP_EXIT_FAILED) { /* it could not be read, so it may be ours */
		*err = stranger;
		return false;
	}
	return describe_data(path, o, err);
}

/* ---- as text ------------------------------------------------------------------- */

/* What a key is called, where that is not the key itself or a figure's name. */
static const char *words_of(const char *key)
{
	static const char *const WORDS[][2] = {
	    {"version", "format version"},
	    {"samples", "samples are"},
	    {"source_digest", "digest of the source"},
	    {"target_digest", "digest of the target"},
	    {"time_s", "trained for"},
	    {"fields", "what the file says of itself"},
	    {"sigma_end", "sigma at the end"},
	    {"sigma_end_by", "... chosen by"},
	    {"steps", "steps that were asked for"},
	    {"last_checkpoint", "... the newest, of step"},
	    {"last_step", "last step that was trained"},
	    {"logged_step", "last step that was logged"},
	    {"measured_at", "measured at step"},
	    {"damaged", "damaged files"},
	    {"skipped", "left out, unreadable"},
	    {"stored", "stored as"},
	    {"least", "least value"},
	    {"most", "largest value"},
	    {"digest_kind", "... by the rule"},
	    {"packed", "packed"},
	    {"input_digest", "digest of the input"},
	    {"input_digest_kind", "... by the rule"},
	    {"listed", "listed (rows and left out)"},
	    {"left_out", "... left out, unreadable"},
	};
	for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
		if (strcmp(WORDS[i][0], key) == 0)
			return WORDS[i][1];
	return key;
}

/* Name and, of a figure, unit. otp_free it. */
static char *label_of(const cJSON *item, bool sliced)
{
	const otp_figure_kind *kind = cJSON_IsNumber(item) ? otp_figure_find(item->string) : NULL;
	if (!kind)
		return otp_strdup(words_of(item->string));
	const otp_figure figure = {.kind = kind, .unit = otp_figure_unit(kind, sliced)};
	return otp_figure_label(&figure);
}

static bool is_plain(const cJSON *item)
{
	return cJSON_IsNumber(item) || (cJSON_IsString(item) && strcmp(item->string, "settings") != 0);
}

static int longest_label(const cJSON *object, bool sliced)
{
	const cJSON *item;
	int longest = 0;
	cJSON_ArrayForEach(item, object)
	{
		char *label = label_of(item, sliced);
		int length = (int)strlen(label);
		longest = is_plain(item) && length > longest ? length : longest;
		otp_free(label);
	}
	return longest;
}

static void print_plain(const cJSON *item, const char *indent, int width, bool sliced)
{
	char *label = label_of(item, sliced);
	printf("%s%-*s  ", indent, width, label);
	otp_free(label);
	char duration[OTP_DURATION_TEXT];
	if (cJSON_IsString(item))
		puts(item->valuestring);
	else if (strcmp(item->string, "time_s") == 0)
		puts(otp_duration_text(item->valuedouble, duration));
	else if (cJSON_IsNumber(item))
		printf(otp_figure_find(item->string) ? "%.4g\n" : "%.10g\n", item->valuedouble);
}

/* The fields of a file keep the names that they have in it. */
static void print_fields(const cJSON *fields)
{
	const cJSON *each;
	cJSON_ArrayForEach(each, fields)
	{
		char *text = cJSON_IsString(each) ? NULL : cJSON_PrintUnformatted(each);
		printf("  %-26s %s\n", each->string, text ? text : each->valuestring);
		cJSON_free(text);
	}
}

static void print_text(const cJSON *object)
{
	bool sliced = cJSON_GetObjectItem(object, "patch_floor") != NULL;
	int width = longest_label(object, sliced);
	const cJSON *item, *each;
	cJSON_ArrayForEach(item, object)
	{
		if (is_plain(item)) {
			print_plain(item, "", width, sliced);
		} else if (strcmp(item->string, "settings") == 0) {
			printf("\n%s", item->valuestring);
		} else {
			printf("%s:\n", words_of(item->string));
			if (strcmp(item->string, "fields") == 0)
				print_fields(item);
			else if (cJSON_IsObject(item))
				cJSON_ArrayForEach(each, item)
				    print_plain(each, "  ", longest_label(item, false), false);
			else
				cJSON_ArrayForEach(each, item) printf("  %s\n", each->valuestring);
		}
	}
}

int otp_command_info(int argc, char **argv, otp_error *err)
{
	bool json = false;
	const otp_arg args[] = {{"json", OTP_ARG_FLAG, &json, 0, 0, "one object instead of a table"}};
	const char *words[1];
	if (!otp_args_parse(argc, argv, args, 1, words, 1, "otplan info FILE_OR_RUN [--json]", err))
		return err->exit_code;
	cJSON *object = cJSON_CreateObject();
	if (!describe(words[0], object, err)) {
		cJSON_Delete(object);
	} else if (json) {
		otp_json_print(object);
	} else {
		print_text(object);
		cJSON_Delete(object);
	}
	return err->exit_code;
}
