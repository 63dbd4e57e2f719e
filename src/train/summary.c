#include "train/summary.h"
#include "core/file.h"
#include "model/run.h"
#include "model/translator.h"
#include "report/html.h"
#include "report/plot.h"
#include "train/verdicts.h"

#include <stdio.h>
#include <string.h>

int otp_evaluation_figures(const otp_evaluation *e, otp_figure each[OTP_MAX_FIGURES])
{
	otp_figures f = {each, 0};
	char truth[48];
	const otp_colouring *c = &e->colouring;
	otp_figures_add(&f, "n", "inputs measured", (double)e->n, "");
	otp_figures_add(&f, "transport_cost", "transport cost E|x - T|^2", e->transport_cost, "");
	if (e->exact)
		otp_figures_add(&f, "optimal_cost", "... of the best plan of this sample", e->optimal_cost,
				"");
	snprintf(truth, sizeof truth, "floor %.3g", e->floor);
	otp_figures_add(&f, "target_distance",
			e->exact ? "target distance (exact W2^2)" : "target distance (sliced W2^2)",
			e->target_distance, truth);
	otp_figures_add(&f, "floor", "... between two target samples", e->floor, "");
	if (!e->exact) {
		snprintf(truth, sizeof truth, "floor %.3g", e->patch_floor);
		otp_figures_add(&f, "patch_distance", "patch distance (in the target's variance)",
				e->patch_distance, truth);
		otp_figures_add(&f, "patch_floor", "... between two target samples", e->patch_floor, "");
	}
	otp_figures_add(&f, "identity_distance", "distance to identity (rms)", e->identity_distance, "");
	otp_figures_add(&f, "diversity", "spread over noise (rms)", e->diversity, "");
	if (e->grey_source) {
		otp_figures_add(&f, "grey_rmse", "grey of output against input (rms)", e->grey_rmse, "");
		otp_figures_add(&f, "hue_resultant", "hue resultant, one image", c->hue_resultant,
				"0 is uniform");
	}
	if (e->isoluminant) {
		otp_figures_add(&f, "hue_agreement", "hue agreement with the closed form", c->hue_agreement,
				"1 is exact");
		otp_figures_add(&f, "chroma", "colour strength", c->chroma, "1 is exact");
		snprintf(truth, sizeof truth, "random pair %.3f", c->shape_random);
		otp_figures_add(&f, "shape_rmse", "shape error (rms)", c->shape_rmse, truth);
		otp_figures_add(&f, "shape_random", "... of a random pair", c->shape_random, "");
	}
	return f.count;
}

void otp_map_error_figures(const otp_map_error *e, otp_figures *f)
{
	if (f->count == 0) {
		otp_figures_add(f, "n", "inputs measured", (double)e->n, "");
		otp_figures_add(f, "transport_cost", "transport cost E|x - T|^2", e->transport_cost, "");
	}
	otp_figures_add(f, "l2_uvp", "L2-UVP, per cent", e->l2_uvp, "0 is exact");
	otp_figures_add(f, "cosine", "cosine of displacements", e->cosine, "1 is exact");
	otp_figures_add(f, "cost_error", "error of the transport cost", e->cost_error, "0 is exact");
}

/* ---- verdicts of the run ---- */

enum { MOST_FINDINGS = 20 }; /* of a run that has more, the first */

typedef struct findings {
	otp_report_finding each[MOST_FINDINGS];
	char when[MOST_FINDINGS][64], figures[MOST_FINDINGS][200], advice[MOST_FINDINGS][400], note[120];
	otp_report_findings report;
} findings;

/* Rows up to the one that raised it say why; the first later one without it, when it was over. */
static void add_finding(findings *f, const otp_config *c, otp_verdict v, const otp_metrics *rows,
			size_t raised, size_t count)
{
	int k = f->report.count;
	size_t over = raised + 1;
	if (k == MOST_FINDINGS)
		return;
	while (over < count && rows[over].verdicts >> v & 1)
		over++;
	if (over < count)
		snprintf(f->when[k], sizeof f->when[k], "steps %lld to %lld", (long long)rows[raised].step,
			 (long long)rows[over].step);
	else
		snprintf(f->when[k], sizeof f->when[k], "step %lld to the end", (long long)rows[raised].step);
	otp_verdict_figures(v, rows, raised + 1, f->figures[k], sizeof f->figures[k]);
	otp_verdict_advice(v, c, &rows[raised], f->advice[k], sizeof f->advice[k]);
	f->each[k] = (otp_report_finding){otp_verdict_name(v), f->when[k], f->figures[k], f->advice[k]};
	f->report.count++;
}

static void find(findings *f, const otp_config *c, bool held_out, const otp_metrics *all, size_t count)
{
	otp_metrics *rows = otp_calloc(count, sizeof *rows);
	size_t measured = 0;
	for (size_t i = 0; i < count; i++)
		if (all[i].measured_at == (double)all[i].step)
			rows[measured++] = all[i];
	f->report.each = f->each;
	for (size_t i = 0; i < measured; i++)
		for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++)
			if (rows[i].verdicts >> v & 1 && (i == 0 || !(rows[i - 1].verdicts >> v & 1)))
				add_finding(f, c, v, rows, i, measured);
	snprintf(f->note, sizeof f->note, "%s in %zu measurements on a batch of %s.",
		 f->report.count ? "Raised" : "None was raised", measured,
		 held_out ? "held-out samples" : "samples that were trained on");
	f->report.note = f->note;
	otp_free(rows);
}

static bool write_pages(const otp_session *s, const otp_figure *list, int count, otp_error *err)
{
	const char *run = s->config.out;
	char values[OTP_MAX_FIGURES][96];
	otp_report_row rows[OTP_MAX_FIGURES + 2];
	for (int i = 0; i < count; i++) {
		snprintf(values[i], sizeof values[i], "%.4g%s%s%s", list[i].value,
			 list[i].truth[0] ? " (" : "", list[i].truth, list[i].truth[0] ? ")" : "");
		rows[i] = (otp_report_row){list[i].name, values[i], OTP_MOOD_PLAIN};
	}
	char *sigma_end = otp_sigma_end_text(&s->config, &s->sigma_end), *held = otp_session_held_text(s);
	rows[count++] = (otp_report_row){otp_session_holds_out(s) ? "held-out samples" : "samples measured",
					 held, OTP_MOOD_PLAIN};
	if (sigma_end)
		rows[count++] = (otp_report_row){"--sigma-end auto", sigma_end, OTP_MOOD_PLAIN};
	char *settings = otp_config_text(&s->config, OTP_SCOPE_KEPT),
	     *path = otp_run_path(run, "metrics.jsonl");
	otp_metrics *metrics = NULL;
	size_t metric_count = 0;
	findings *found = otp_calloc(1, sizeof *found);
	bool ok = otp_metrics_read(path, &metrics, &metric_count, err);
	if (ok) {
		find(found, &s->config, otp_session_holds_out(s), metrics, metric_count);
		ok = otp_report_run(run, settings, rows, count, &found->report, err);
	}
	if (ok) {
		char *svg = otp_plot_training(metrics, metric_count),
		     *curves = otp_run_path(run, "curves.svg");
		ok = otp_file_write(curves, svg, strlen(svg), err);
		otp_free(svg);
		otp_free(curves);
	}
	otp_free(found);
	otp_free(metrics);
	otp_free(sigma_end);
	otp_free(held);
	otp_free(settings);
	otp_free(path);
	return ok;
}

/* A twentieth of the passes that training made: of each input about five samples are drawn, and a pass
 * without a backward one takes a third of the time. */
int otp_summary_inputs(const otp_config *c)
{
	const int64_t most = 512, least = 16;
	int64_t n = (int64_t)c->steps * c->batch * (c->k_transport + c->k_potential) / 20;
	return (int)(n > most ? most : n < least ? least : n);
}

int64_t otp_summary_count(const otp_session *s)
{
	otp_dataset_info source = otp_dataset_describe(otp_session_measured(s, OTP_SOURCE)),
			 target = otp_dataset_describe(otp_session_measured(s, OTP_TARGET));
	return otp_evaluate_count(&source, &target, otp_summary_inputs(&s->config));
}

bool otp_summary_write(const otp_session *s, otp_runtime *runtime, otp_error *err)
{
	const otp_config *c = &s->config;
	otp_translator t;
	if (!otp_translator_open(c->out, runtime, &t, err))
		return false;
	otp_evaluate_options options = {.n = otp_summary_inputs(c),
					.per_input = otp_summary_inputs(c),
					.seed = c->seed,
					.sigma = t.facts.sigma};
	otp_evaluation e;
	otp_figure list[OTP_MAX_FIGURES];
	bool ok = otp_evaluate(t.sampler, otp_session_measured(s, OTP_SOURCE),
			       otp_session_measured(s, OTP_TARGET), &options, &e, err);
	int count = ok ? otp_evaluation_figures(&e, list) : 0;
	otp_translator_close(&t);
	if (!ok || !write_pages(s, list, count, err))
		return false;

	printf("what was learned, on %s:\n",
	       otp_session_holds_out(s) ? "held-out samples" : "samples that were trained on");
	for (int i = 0; i < count; i++)
		printf("  %-36s %10.4g%s%s\n", list[i].name, list[i].value, list[i].truth[0] ? "   " : "",
		       list[i].truth);
	char *picture = otp_run_step_path(c->out, "samples", c->steps, "png");
	printf("picture  %s\nmodel    %s/model.h5\nreport   %s/report.html\n", picture, c->out, c->out);
	otp_free(picture);
	return true;
}
