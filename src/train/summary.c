#include "train/summary.h"
#include "core/file.h"
#include "report/html.h"
#include "report/plot.h"
#include "train/run.h"
#include "train/translator.h"

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

static bool write_pages(const otp_session *s, const otp_figure *list, int count, otp_error *err)
{
	const char *run = s->config.out;
	char values[OTP_MAX_FIGURES][96];
	otp_report_row rows[OTP_MAX_FIGURES];
	for (int i = 0; i < count; i++) {
		snprintf(values[i], sizeof values[i], "%.4g%s%s%s", list[i].value,
			 list[i].truth[0] ? " (" : "", list[i].truth, list[i].truth[0] ? ")" : "");
		rows[i] = (otp_report_row){list[i].name, values[i], OTP_MOOD_PLAIN};
	}
	char *settings = otp_config_text(&s->config), *path = otp_run_path(run, "metrics.jsonl");
	otp_metrics *metrics = NULL;
	size_t metric_count = 0;
	bool ok = otp_report_run(run, settings, rows, count, err) &&
		  otp_metrics_read(path, &metrics, &metric_count, err);
	if (ok) {
		char *svg = otp_plot_training(metrics, metric_count),
		     *curves = otp_run_path(run, "curves.svg");
		ok = otp_file_write(curves, svg, strlen(svg), err);
		otp_free(svg);
		otp_free(curves);
	}
	otp_free(metrics);
	otp_free(settings);
	otp_free(path);
	return ok;
}

bool otp_summary_print(const otp_session *s, otp_place_of_work *place, otp_error *err)
{
	const otp_config *c = &s->config;
	otp_translator t;
	if (!otp_translator_open(c->out, place, &t, err))
		return false;
	otp_evaluate_options options = {.n = 512, .per_input = 512, .seed = c->seed, .sigma = t.facts.sigma};
	otp_evaluation e;
	otp_figure list[OTP_MAX_FIGURES];
	bool ok = otp_evaluate(t.sampler, s->source, s->target, &options, &e, err);
	int count = ok ? otp_evaluation_figures(&e, list) : 0;
	otp_translator_close(&t);
	if (!ok || !write_pages(s, list, count, err))
		return false;

	puts("what was learned:");
	for (int i = 0; i < count; i++)
		printf("  %-36s %10.4g%s%s\n", list[i].name, list[i].value, list[i].truth[0] ? "   " : "",
		       list[i].truth);
	char *picture = otp_run_step_path(c->out, "samples", c->steps, "png");
	printf("picture  %s\nmodel    %s/model.h5\nreport   %s/report.html\n", picture, c->out, c->out);
	otp_free(picture);
	return true;
}
