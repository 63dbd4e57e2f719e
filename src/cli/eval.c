#include "cli/args.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/eval.h"
#include "cli/opened.h"
#include "cli/together.h"
#include "train/evaluate.h"
#include "train/summary.h"

#include <stdio.h>
#include <string.h>

typedef struct options {
	const char *source, *target, *truth, *device;
	int count, per_input, threads;
	uint64_t seed;
	bool json, features;
	bool trained_on; /* a set is what the model's training drew */
} options;

/* What the figures are of. */
static const char *data_of(const options *o)
{
	bool given = o->source && (o->target || o->truth);
	return given ? "given" : o->trained_on ? "trained-on" : o->source || o->target ? "given" : "held-out";
}

static void print(const options *o, const otp_figures *f)
{
	if (!o->json) {
		const char *data = data_of(o);
		printf("%-*s %s samples%s\n", OTP_FIGURE_LABEL, "measured on", data,
		       strcmp(data, "trained-on") == 0
			   ? ": none were withheld, expected --source and --target"
			   : "");
		otp_figures_print(f->each, f->count, "");
		return;
	}
	cJSON *object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "data", data_of(o));
	otp_json_add_figures(object, f->each, f->count);
	otp_json_print(object);
}

/* The set that was named, else what the model's own data hold out. */
static otp_dataset *open_data(otp_opened *m, options *o, const char *spec, otp_side side, otp_error *err)
{
	bool held_out = true;
	otp_dataset *d =
	    spec ? otp_opened_data(m, side, spec, err) : otp_opened_side(m, side, &held_out, err);
	o->trained_on = o->trained_on || !held_out;
	return d;
}

/* The law of the outputs, against the target's. */
static bool measure_law(otp_opened *m, options *o, const otp_dataset *source, const otp_evaluate_options *how,
			otp_figures *figures, otp_error *err)
{
	enum { DEFAULT_COUNT = 1000 };
	otp_evaluate_options counted = *how;
	counted.n = how->n ? how->n : DEFAULT_COUNT;
	otp_evaluation e;
	otp_dataset *target = open_data(m, o, o->target, OTP_TARGET, err);
	bool ok = otp_group_agree(how->group, target != NULL, err) &&
		  otp_evaluate(m->t.sampler, source, target, &counted, &e, err);
	if (ok) {
		otp_dataset_info x = otp_dataset_describe(source), y = otp_dataset_describe(target);
		otp_evaluate_say_count(&x, &y, counted.n);
		otp_evaluation_figures(&e, figures);
	}
	return ok;
}

/* Single outputs, against the exact images of their inputs. */
static bool measure_map(otp_opened *m, options *o, const otp_dataset *source, const otp_evaluate_options *how,
			otp_figures *figures, otp_error *err)
{
	otp_map_error e;
	otp_dataset *truth = otp_opened_data(m, OTP_TARGET, o->truth, err);
	bool ok = otp_group_agree(how->group, truth != NULL, err) &&
		  otp_evaluate_map(m->t.sampler, source, truth, how, &e, err);
	if (ok)
		otp_map_error_figures(&e, figures);
	return ok;
}

static bool measure(otp_opened *m, options *o, const otp_dataset *source, otp_error *err)
{
	otp_evaluate_options how = {.n = o->count,
				    .per_input = o->per_input,
				    .seed = o->seed,
				    .sigma = m->t.facts.sigma,
				    .group = m->runtime.group};
	otp_figure list[OTP_MAX_FIGURES];
	otp_figures figures = {.each = list};
	bool ok = true;
	if (o->target || !o->truth)
		ok = ok && measure_law(m, o, source, &how, &figures, err);
	if (o->truth)
		ok = ok && measure_map(m, o, source, &how, &figures, err);
	if (ok)
		print(o, &figures);
	return ok;
}

static int eval_in(otp_group *group, int argc, char **argv, otp_error *err)
{
	options o = {.per_input = 512, .seed = 1, .device = "auto"};
	const otp_arg args[] = {
	    {"source", OTP_ARG_TEXT, &o.source, 0, 0,
	     "inputs; default: those that the model's training held out (test set, withheld or fresh "
	     "samples)"},
	    {"target", OTP_ARG_TEXT, &o.target, 0, 0, "targets; default: likewise"},
	    {"truth", OTP_ARG_TEXT, &o.truth, 0, 0,
	     "exact images of the source's samples, in their order: prints errors against them"},
	    {"count", OTP_ARG_INT, &o.count, 1, 10000000,
	     "inputs measured; default: 1000, with --truth alone all"},
	    {"samples", OTP_ARG_INT, &o.per_input, 2, 1000000,
	     "samples of one input, for the hue's evenness"},
	    {"seed", OTP_ARG_SEED, &o.seed, 0, 0, "of the noise"},
	    {"device", OTP_ARG_TEXT, &o.device, 0, 0, "auto, cpu or cuda[:i]"},
	    {"threads", OTP_ARG_INT, &o.threads, 0, 1024, "CPU threads, 0: one a core"},
	    {"json", OTP_ARG_FLAG, &o.json, 0, 0, "one object instead of a table"},
	    {"features", OTP_ARG_FLAG, &o.features, 0, 0,
	     "Frechet distance and KID of two sets of features, (N, d) vectors, in place of a model"},
	};
	otp_command_line line = {
	    .args = args,
	    .arg_count = sizeof args / sizeof *args,
	    .usage = "otplan eval RUN_OR_MODEL [--source S] [--target T] [--truth FILE] [--json], or "
		     "--features A.npy B.npy [--json]",
	    .least_words = 1,
	    .most_words = 2};
	bool ok = otp_args_read(argc, argv, &line, err) &&
		  (line.word_count == (o.features ? 2 : 1) || otp_fail(err, "usage", "%s", line.usage));
	if (!otp_group_agree(group, ok, err))
		return err->exit_code;
	const char *const *words = line.words;
	if (o.features)
		return otp_group_leads(group) ? otp_eval_features(words, o.json, err) : 0;
	otp_opened m;
	otp_dataset *source = NULL;
	if (otp_opened_model(&m, group, words[0], o.device, "auto", o.threads, err))
		source = open_data(&m, &o, o.source, OTP_SOURCE, err);
	if (otp_together_opened(&m.t, source, source != NULL, argc, argv, group, err) && source)
		measure(&m, &o, source, err);
	return otp_opened_close(&m, err);
}

int otp_command_eval(int argc, char **argv, otp_error *err)
{
	return otp_together_command(eval_in, argc, argv, err);
}
