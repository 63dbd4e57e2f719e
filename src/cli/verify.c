/* verify: problems by name, their figures beside the truth. Options of train
 * may stand beside its own; they change the problems' settings. */
#include "verify/verify.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/options.h"
#include "config/settings.h"
#include "core/log.h"
#include "core/words.h"
#include "data/outputs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct request {
	const otp_problem *problems[OTP_MAX_WORDS];
	int problem_count, seeds;
	otp_settings_said said; /* on top of each problem's own */
	const char *out;
	bool json, overwrite;
	otp_outputs *outputs;	  /* NULL: no pictures */
	int first[OTP_MAX_WORDS]; /* of the outputs, those of each problem */
} request;

/* ---- the command line -------------------------------------------------------- */

static void print_problems(void)
{
	puts(
	    "\nA missed bar is printed as MISSED and FAIL (JSON: \"pass\": false); the exit code is then 1.\n"
	    "\nproblems (all, where none is named):");
	for (int i = 0; i < otp_problem_count; i++)
		printf("  %s\n", otp_problems[i].name);
}

static bool find_problems(request *r, const otp_command_line *line, otp_error *err)
{
	for (int i = 0; i < line->word_count; i++)
		if (!(r->problems[i] = otp_problem_find(line->words[i], err)))
			return false;
	for (int i = 0; line->word_count == 0 && i < otp_problem_count; i++)
		r->problems[i] = &otp_problems[i];
	r->problem_count = line->word_count ? line->word_count : otp_problem_count;
	return true;
}

/* False with err set, or because only help was asked for. */
static bool parse(request *r, int argc, char **argv, otp_error *err)
{
	const otp_arg args[] = {
	    {"seeds", OTP_ARG_INT, &r->seeds, 1, 1000,
	     "number of runs, with seeds from --seed on; prints mean and spread"},
	    {"json", OTP_ARG_FLAG, &r->json, 0, 0, "one object a run instead of tables"},
	    {"out", OTP_ARG_TEXT, &r->out, 0, 0, "folder for pictures of the learned plans"},
	    {"overwrite", OTP_ARG_FLAG, &r->overwrite, 0, 0,
	     "replace pictures that are there, also such as otplan did not make"},
	};
	otp_command_line line = {
	    .args = args,
	    .arg_count = sizeof args / sizeof *args,
	    .usage = "otplan verify [PROBLEM ...] [--seeds N] [--json] [--out FOLDER] [options]",
	    .most_words = OTP_MAX_WORDS,
	    .settings = &r->said};
	if (!otp_args_read(argc, argv, &line, err)) {
		if (!err->exit_code)
			print_problems();
		return false;
	}
	return find_problems(r, &line, err);
}

static bool configure(const request *r, const otp_problem *p, otp_config *c, otp_error *err)
{
	return otp_problem_configure(p, c, err) && otp_options_apply(&r->said, c, err);
}

/* ---- results ------------------------------------------------------------------- */

static void print_json(const otp_verification *v)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "problem", v->problem->name);
	cJSON_AddNumberToObject(o, "dimension", v->problem->d);
	cJSON_AddStringToObject(o, "formulation", OTP_CHOICE_NAME(otp_formulation, v->config.formulation));
	cJSON_AddNumberToObject(o, "seed", (double)v->config.seed);
	cJSON_AddNumberToObject(o, "steps", v->config.steps);
	cJSON_AddNumberToObject(o, "sigma_end", otp_settings_sigma(&v->config, v->config.steps));
	cJSON_AddNumberToObject(o, "seconds", v->seconds);
	otp_json_add_figures(o, v->figures, v->count);
	cJSON_AddStringToObject(o, "target_error_by",
				otp_problem_sliced(v->problem) ? "sliced" : "assignment");
	cJSON_AddBoolToObject(o, "pass", v->pass);
	otp_json_print(o);
}

static void print_bar(const otp_bar *bar, double value)
{
	if (!bar)
		return;
	const char *verdict = otp_bar_met(bar, value) ? "ok" : "MISSED";
	if (bar->least > 0)
		printf("   %s, %g to %g wanted", verdict, bar->least, bar->most);
	else
		printf("   %s, at most %g wanted", verdict, bar->most);
}

static void print_head(const otp_verification *v, const char *runs)
{
	printf("%s, %s, %s, %d step%s, %.1f s\n", v->problem->name,
	       OTP_CHOICE_NAME(otp_formulation, v->config.formulation), runs, v->config.steps,
	       otp_plural(v->config.steps), v->seconds);
}

static void print_table(const otp_verification *v)
{
	char seed[48];
	snprintf(seed, sizeof seed, "seed %llu", (unsigned long long)v->config.seed);
	print_head(v, seed);
	for (int i = 0; i < v->count; i++) {
		const otp_figure *f = &v->figures[i];
		char *label = otp_figure_label(f);
		printf("  %-*s %10.4g   %-14s", OTP_FIGURE_LABEL, label, f->value, f->truth);
		otp_free(label);
		print_bar(otp_problem_bar(v->problem, f->key), f->value);
		putchar('\n');
	}
	printf("  %s\n\n", v->pass ? "pass" : "FAIL");
	fflush(stdout);
}

/* Mean and standard deviation over runs of one problem. */
static void print_spread(const otp_verification *runs, int count)
{
	char seeds[48];
	bool pass = true;
	snprintf(seeds, sizeof seeds, "mean of %d seeds (standard deviation)", count);
	print_head(&runs[0], seeds);
	for (int i = 0; i < runs[0].count; i++) {
		double sum = 0, squares = 0;
		for (int k = 0; k < count; k++) {
			sum += runs[k].figures[i].value;
			squares += runs[k].figures[i].value * runs[k].figures[i].value;
		}
		double mean = sum / count, spread = sqrt(fmax(0, squares / count - mean * mean));
		const otp_bar *bar = otp_problem_bar(runs[0].problem, runs[0].figures[i].key);
		char *label = otp_figure_label(&runs[0].figures[i]);
		printf("  %-*s %10.4g   (%.2g)", OTP_FIGURE_LABEL, label, mean, spread);
		otp_free(label);
		print_bar(bar, mean);
		putchar('\n');
		pass = pass && (!bar || otp_bar_met(bar, mean));
	}
	printf("  %s\n\n", pass ? "pass" : "FAIL");
}

/* ---- pictures ------------------------------------------------------------------ */

/* A problem that is named twice draws the same pictures again. */
static int named_before(const request *r, int i)
{
	for (int j = 0; j < i; j++)
		if (r->problems[j] == r->problems[i])
			return j;
	return i;
}

/* All are planned and checked before the first problem is trained on. */
static bool plan_pictures(request *r, otp_error *err)
{
	int planned = 0;
	bool ok = true;
	r->outputs = r->out ? otp_outputs_new(r->out, r->overwrite) : NULL;
	for (int i = 0; ok && r->out && i < r->problem_count; i++) {
		char *names[OTP_VERIFY_MOST_PICTURES];
		otp_config c;
		int same = named_before(r, i);
		r->first[i] = same < i ? r->first[same] : planned;
		if (!(ok = configure(r, r->problems[i], &c, err)) || same < i)
			continue;
		int count = otp_verify_pictures(r->problems[i], &c, names);
		for (int k = 0; k < count; k++) {
			otp_outputs_plan(r->outputs, names[k], names[k]);
			otp_free(names[k]);
		}
		planned += count;
	}
	return ok && (!r->out || otp_outputs_check(r->outputs, err));
}

/* Of problem i: their paths, in a folder that is there. *count: how many. */
static bool begin_pictures(const request *r, int i, const otp_config *c,
			   char *paths[OTP_VERIFY_MOST_PICTURES], int *count, otp_error *err)
{
	bool ok = true;
	*count = r->outputs ? otp_verify_pictures(r->problems[i], c, paths) : 0;
	for (int k = 0; k < *count; k++) {
		otp_free(paths[k]);
		paths[k] = otp_outputs_begin(r->outputs, (size_t)(r->first[i] + k), err);
		ok = ok && paths[k];
	}
	return ok;
}

static bool end_pictures(const request *r, int i, bool ok, char *paths[OTP_VERIFY_MOST_PICTURES], int count,
			 otp_error *err)
{
	for (int k = 0; k < count; k++) {
		ok = ok && otp_outputs_end(r->outputs, (size_t)(r->first[i] + k), err);
		otp_free(paths[k]);
	}
	return ok;
}

/* ---- running ------------------------------------------------------------------- */

/* *missed counts the runs that miss a bar. */
static bool verify_problem(const request *r, int i, int *missed, otp_error *err)
{
	const otp_problem *p = r->problems[i];
	char *pictures[OTP_VERIFY_MOST_PICTURES];
	int drawn = 0;
	otp_config c;
	otp_runtime runtime;
	otp_session seen;
	if (!configure(r, p, &c, err) || !otp_session_plan(&c, &seen, err))
		return false;
	c = seen.config; /* with what the data decide: steps and precision too */
	bool vectors = seen.arch.vectors;
	otp_session_close(&seen);
	if (!otp_session_open_runtime(&c, vectors, NULL, &runtime, err))
		return false;
	otp_verification *runs = otp_calloc((size_t)r->seeds, sizeof *runs);
	bool ok = begin_pictures(r, i, &c, pictures, &drawn, err);
	for (int k = 0; ok && k < r->seeds; k++, c.seed++) {
		otp_log("verify: %s, seed %llu, %d step%s", p->name, (unsigned long long)c.seed, c.steps,
			otp_plural(c.steps));
		/* Pictures are of the first seed. */
		ok = otp_verify(p, &c, &runtime, k == 0 && drawn ? pictures : NULL, &runs[k], err);
		if (ok)
			(r->json ? print_json : print_table)(&runs[k]);
		*missed += ok && !runs[k].pass;
	}
	ok = end_pictures(r, i, ok, pictures, drawn, err);
	if (ok && r->seeds > 1 && !r->json)
		print_spread(runs, r->seeds);
	otp_free(runs);
	otp_runtime_close(&runtime);
	return ok;
}

int otp_command_verify(int argc, char **argv, otp_error *err)
{
	request r = {.seeds = 1};
	if (!parse(&r, argc, argv, err))
		return err->exit_code;
	int missed = 0;
	bool ok = plan_pictures(&r, err);
	for (int i = 0; ok && i < r.problem_count; i++)
		ok = verify_problem(&r, i, &missed, err);
	if (r.outputs)
		ok = otp_outputs_finish(r.outputs, ok, err);
	otp_outputs_free(r.outputs);
	if (!ok)
		return otp_exit_code(err);
	if (missed)
		otp_log("verify: %d of %d run%s missed a bar", missed, r.problem_count * r.seeds,
			otp_plural(r.problem_count * (int64_t)r.seeds));
	return missed ? OTP_EXIT_FAILED : OTP_EXIT_OK;
}
