/* verify: problems by name, their figures beside the truth. Options of train
 * may stand beside its own; they change the problems' settings. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "core/file.h"
#include "core/log.h"
#include "config/settings.h"
#include "verify/verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 128 };

typedef struct setting {
	char key[48], where[64];
	const char *value;
} setting;

typedef struct request {
	const otp_problem *problems[MAX_WORDS];
	setting settings[MAX_WORDS];
	int problem_count, setting_count, seeds;
	const char *out;
	bool json;
} request;

/* ---- the command line -------------------------------------------------------- */

static void print_help(void)
{
	puts("  --seeds N        as many runs, with seeds from --seed on; their mean and spread\n"
	     "  --json           one object a run instead of tables\n"
	     "  --out FOLDER     pictures of the learned plans\n"
	     "  The options of train may follow: --formulation, --seed, --steps, --device, --threads and "
	     "others.\n"
	     "  A missed bar is printed as MISSED and FAIL (JSON: \"pass\": false); the exit code is then "
	     "1.\n\n"
	     "problems (all, where none is named):");
	for (int i = 0; i < otp_problem_count; i++)
		printf("  %s\n", otp_problems[i].name);
}

static bool take_option(request *r, int argc, char **argv, int *i, otp_error *err)
{
	char key[48];
	const char *word = argv[*i] + 2, *equals = strchr(word, '=');
	snprintf(key, sizeof key, "%.*s", (int)(equals ? equals - word : (long)strlen(word)), word);
	if (strcmp(key, "json") == 0)
		return r->json = true;
	const char *value = equals ? equals + 1 : NULL;
	if (!value && otp_config_is_flag(key))
		value = *i + 1 < argc && (!strcmp(argv[*i + 1], "on") || !strcmp(argv[*i + 1], "off"))
			    ? argv[++*i]
			    : "on";
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	bool out = strcmp(key, "out") == 0, seeds = strcmp(key, "seeds") == 0;
	if (!value && (out || seeds || otp_config_knows(key)))
		return otp_fail(err, argv[*i], "needs a value");
	if (seeds)
		return otp_args_int(key, value, 1, 1000, &r->seeds, err);
	if (out) {
		r->out = value;
		return true;
	}
	if (r->setting_count == MAX_WORDS)
		return otp_fail(err, argv[*i], "is one option too many");
	setting *s = &r->settings[r->setting_count++];
	snprintf(s->key, sizeof s->key, "%s", key);
	s->value = value ? value : ""; /* unknown: setting it will say so */
	snprintf(s->where, sizeof s->where, "--%s", key);
	return true;
}

static bool parse(request *r, int argc, char **argv, otp_error *err)
{
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) == 0) {
			if (!take_option(r, argc, argv, &i, err))
				return false;
			continue;
		}
		if (r->problem_count == MAX_WORDS)
			return otp_fail(err, argv[i], "is one problem too many");
		if (!(r->problems[r->problem_count++] = otp_problem_find(argv[i], err)))
			return false;
	}
	for (int i = 0; r->problem_count == 0 && i < otp_problem_count; i++)
		r->problems[i] = &otp_problems[i];
	if (!r->problem_count)
		r->problem_count = otp_problem_count;
	return true;
}

static bool configure(const request *r, const otp_problem *p, otp_config *c, otp_error *err)
{
	if (!otp_problem_configure(p, c, err))
		return false;
	for (int i = 0; i < r->setting_count; i++)
		if (!otp_config_set(c, r->settings[i].key, r->settings[i].value, r->settings[i].where, err))
			return false;
	return true;
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
	printf("%s, %s, %s, %d steps, %.1f s\n", v->problem->name,
	       OTP_CHOICE_NAME(otp_formulation, v->config.formulation), runs, v->config.steps, v->seconds);
}

static void print_table(const otp_verification *v)
{
	char seed[48];
	snprintf(seed, sizeof seed, "seed %llu", (unsigned long long)v->config.seed);
	print_head(v, seed);
	for (int i = 0; i < v->count; i++) {
		const otp_figure *f = &v->figures[i];
		printf("  %-38s %10.4g   %-14s", f->name, f->value, f->truth);
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
		printf("  %-38s %10.4g   (%.2g)", runs[0].figures[i].name, mean, spread);
		print_bar(bar, mean);
		putchar('\n');
		pass = pass && (!bar || otp_bar_met(bar, mean));
	}
	printf("  %s\n\n", pass ? "pass" : "FAIL");
}

/* ---- running ------------------------------------------------------------------- */

/* *missed counts the runs that miss a bar. */
static bool verify_problem(const request *r, const otp_problem *p, int *missed, otp_error *err)
{
	otp_config c;
	otp_runtime runtime;
	if (!configure(r, p, &c, err) || !otp_session_open_runtime(&c, &runtime, err))
		return false;
	otp_verification *runs = otp_calloc((size_t)r->seeds, sizeof *runs);
	bool ok = true;
	for (int k = 0; ok && k < r->seeds; k++, c.seed++) {
		otp_log("verify: %s, seed %llu, %d steps", p->name, (unsigned long long)c.seed, c.steps);
		/* Pictures are of the first seed. */
		ok = otp_verify(p, &c, &runtime, k == 0 ? r->out : NULL, &runs[k], err);
		if (ok)
			(r->json ? print_json : print_table)(&runs[k]);
		*missed += ok && !runs[k].pass;
	}
	if (ok && r->seeds > 1 && !r->json)
		print_spread(runs, r->seeds);
	otp_free(runs);
	otp_runtime_close(&runtime);
	return ok;
}

int otp_command_verify(int argc, char **argv, otp_error *err)
{
	request r = {.seeds = 1};
	if (argc == 1 && strcmp(argv[0], "--help") == 0) {
		print_help();
		return OTP_EXIT_OK;
	}
	if (!parse(&r, argc, argv, err) || (r.out && !otp_file_make_folder(r.out, err)))
		return otp_exit_code(err);
	int missed = 0;
	for (int i = 0; i < r.problem_count; i++)
		if (!verify_problem(&r, r.problems[i], &missed, err))
			return otp_exit_code(err);
	if (missed)
		otp_log("verify: %d of %d runs missed a bar", missed, r.problem_count * r.seeds);
	return missed ? OTP_EXIT_FAILED : OTP_EXIT_OK;
}
