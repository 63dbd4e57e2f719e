#include "train/summary.h"
#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "model/run.h"
#include "model/translator.h"
#include "report/html.h"
#include "report/plot.h"
#include "train/forecast.h"
#include "train/verdicts.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- figures of an evaluation -------------------------------------------------- */

static void add_beside_floor(otp_figures *f, const char *key, double value, double floor)
{
	char truth[48];
	snprintf(truth, sizeof truth, "floor %.3g", floor);
	otp_figures_add(f, key, value, truth);
}

static void add_colouring(otp_figures *f, const otp_evaluation *e)
{
	const otp_colouring *c = &e->colouring;
	char truth[48];
	otp_figures_add(f, "grey_rmse", e->grey_rmse, "");
	otp_figures_add(f, "hue_resultant", c->hue_resultant, "0 is uniform");
	if (!e->isoluminant)
		return;
	otp_figures_add(f, "hue_agreement", c->hue_agreement, "1 is exact");
	otp_figures_add(f, "chroma", c->chroma, "1 is exact");
	snprintf(truth, sizeof truth, "random pair %.3f", c->shape_random);
	otp_figures_add(f, "shape_rmse", c->shape_rmse, truth);
	otp_figures_add(f, "shape_random", c->shape_random, "");
}

void otp_evaluation_figures(const otp_evaluation *e, otp_figures *f)
{
	f->sliced = !e->exact;
	otp_figures_add(f, "n", (double)e->n, "");
	if (!e->exact) {
		add_beside_floor(f, "patch_distance", e->patch_distance, e->patch_floor);
		otp_figures_add(f, "patch_floor", e->patch_floor, "");
		otp_figures_add(f, "source_patch_distance", e->source_patch_distance, "");
	}
	add_beside_floor(f, "target_distance", e->target_distance, e->floor);
	otp_figures_add(f, "target_floor", e->floor, "");
	otp_figures_add_as(f, "floor", "target_floor", e->floor, ""); /* its first name in JSON */
	otp_figures_add(f, "source_distance", e->source_distance, "");
	otp_figures_add(f, "transport_cost", e->transport_cost, "");
	if (e->exact)
		otp_figures_add(f, "optimal_cost", e->source_distance, "");
	otp_figures_add(f, "identity_distance", e->identity_distance, "");
	otp_figures_add(f, "diversity", e->diversity, "");
	if (e->grey_source)
		add_colouring(f, e);
}

void otp_map_error_figures(const otp_map_error *e, otp_figures *f)
{
	if (f->count == 0) {
		otp_figures_add(f, "n", (double)e->n, "");
		otp_figures_add(f, "transport_cost", e->transport_cost, "");
	}
	otp_figures_add(f, "l2_uvp", e->l2_uvp, "0 is exact");
	otp_figures_add(f, "cosine", e->cosine, "1 is exact");
	otp_figures_add(f, "cost_error", e->cost_error, "0 is exact");
}

/* ---- summary.json -------------------------------------------------------------- */

static void add_text(cJSON *o, const char *key, const char *text)
{
	char *mended = text && text[0] ? otp_utf8(text) : NULL; /* it may name files */
	if (mended)
		cJSON_AddStringToObject(o, key, mended);
	otp_free(mended);
}

/* *o is NULL where there is none: runs of earlier versions have none. False where the system refuses to read
 * it, which may pass. */
static bool read_summary(const char *run, cJSON **o, otp_error *err)
{
	char *path = otp_run_path(run, "summary.json");
	size_t bytes = 0;
	char *text = otp_file_exists(path) ? otp_file_read(path, &bytes, err) : NULL;
	*o = text ? cJSON_ParseWithLength(text, bytes) : NULL;
	otp_free(text);
	otp_free(path);
	return err->exit_code == 0;
}

static bool write_summary(const char *run, const cJSON *o, otp_error *err)
{
	char *path = otp_run_path(run, "summary.json"), *text = cJSON_Print(o);
	OTP_ASSERT(text, "no memory for a summary");
	char *ended = otp_format("%s\n", text);
	bool ok = otp_file_write(path, ended, strlen(ended), err);
	cJSON_free(text);
	otp_free(ended);
	otp_free(path);
	return ok;
}

static void add_side(cJSON *o, const char *key, const otp_dataset_info *info)
{
	char count[OTP_COUNT_TEXT];
	char *text = otp_format("%s (%s)", info->spec, otp_session_count(info, count));
	add_text(o, key, text);
	otp_free(text);
}

static void add_sample(cJSON *o, const otp_arch *a)
{
	char *text = a->vectors ? otp_format("vectors of %d value%s", a->c, otp_plural(a->c))
				: otp_format("pictures of %d x %d pixels, %s", a->w, a->h,
					     a->c == 1 ? "grey" : "colour");
	add_text(o, "sample", text);
	otp_free(text);
}

/* "cpu" becomes a person's word, as far as the settings know it. */
static char *device_text(const otp_config *c)
{
	const char *device = OTP_CHOICE_NAME(otp_where, c->device);
	return c->device == OTP_WHERE_CPU ? otp_format("CPU, %d thread%s", c->threads, otp_plural(c->threads))
					  : otp_format("GPU (%s)", device);
}

bool otp_summary_begin(const otp_session *s, const otp_runtime *runtime,
		       const int64_t parameters[OTP_NETWORKS], otp_error *err)
{
	const otp_config *c = &s->config;
	cJSON *o = cJSON_CreateObject(), *about = cJSON_AddObjectToObject(o, "about");
	char *held = otp_session_held_text(s), *points = otp_points_text(c, &s->points),
	     *sigma_end = otp_sigma_end_text(c, &s->sigma_end), *device = device_text(c),
	     *networks =
		 otp_format("generator of %lld weights, potential of %lld",
			    (long long)parameters[OTP_TRANSPORT], (long long)parameters[OTP_POTENTIAL]);
	add_side(about, "source", &s->source_info);
	add_side(about, "target", &s->target_info);
	add_sample(about, &s->arch);
	add_text(about, "preset", c->preset);
	add_text(about, "from", c->from);
	add_text(about, "precision", OTP_CHOICE_NAME(otp_precision, runtime->precision));
	add_text(about, "device", device);
	add_text(about, "networks", networks);
	add_text(about, otp_session_holds_out(s) ? "held_out" : "measured", held);
	add_text(about, "points", points);
	add_text(about, "sigma_end", sigma_end);
	add_text(about, "program", "otplan " OTPLAN_VERSION);
	bool ok = write_summary(c->out, o, err);
	cJSON_Delete(o);
	otp_free(held);
	otp_free(points);
	otp_free(sigma_end);
	otp_free(device);
	otp_free(networks);
	return ok;
}

static bool keep_figures(const char *run, const otp_figures *f, otp_error *err)
{
	cJSON *o;
	if (!read_summary(run, &o, err))
		return false;
	if (!cJSON_IsObject(o)) {
		cJSON_Delete(o);
		o = cJSON_CreateObject();
	}
	cJSON_DeleteItemFromObject(o, "figures");
	cJSON *figures = cJSON_AddObjectToObject(o, "figures");
	for (int i = 0; i < f->count; i++) {
		cJSON *each = cJSON_AddObjectToObject(figures, f->each[i].key);
		cJSON_AddNumberToObject(each, "value", f->each[i].value);
		add_text(each, "name", f->each[i].kind->name);
		add_text(each, "unit", f->each[i].unit);
		add_text(each, "beside", f->each[i].truth);
	}
	bool ok = write_summary(run, o, err);
	cJSON_Delete(o);
	return ok;
}

/* ---- a page of the folder ------------------------------------------------------ */

enum { MOST_FINDINGS = 20, MOST_ROWS = 32 }; /* of a run that has more, the first */

typedef struct page {
	otp_config config;
	bool vectors, live, finished;
	cJSON *summary;		 /* NULL: none */
	otp_metrics *all, *rows; /* rows: those that were measured */
	size_t count, measured;
	char *held[4 * MOST_ROWS]; /* texts that the report points to */
	int held_count;
	otp_report report;
	otp_report_row facts[MOST_ROWS], figures[MOST_ROWS];
	otp_report_finding findings[MOST_FINDINGS];
	char verdict[320];
} page;

/* Kept until the page is written. */
static const char *hold(page *p, char *text)
{
	OTP_ASSERT(p->held_count < 4 * MOST_ROWS, "%d texts", p->held_count);
	return p->held[p->held_count++] = text;
}

static void add_fact(page *p, const char *name, const char *value)
{
	if (value && value[0] && p->report.fact_count < MOST_ROWS)
		p->facts[p->report.fact_count++] = (otp_report_row){name, value, ""};
}

static void add_figure(page *p, const char *name, const char *unit, double value, const char *beside)
{
	otp_report_row *last = p->report.figure_count ? &p->figures[p->report.figure_count - 1] : NULL;
	if (p->report.figure_count == MOST_ROWS || (last && strcmp(last->name, name) == 0))
		return;
	const char *note = hold(p, otp_format("%s%s%s", unit, unit[0] && beside[0] ? "; " : "", beside));
	p->figures[p->report.figure_count++] =
	    (otp_report_row){name, hold(p, otp_format("%.4g", value)), note};
}

static const char *text_of(const cJSON *o, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
	return cJSON_IsString(item) ? item->valuestring : "";
}

/* What the run said of itself; of one from before summary.json, what its settings say. */
static void add_facts(page *p)
{
	static const char *const FACTS[][2] = {{"source", "Source"},
					       {"target", "Target"},
					       {"sample", "Trained as"},
					       {"preset", "Preset"},
					       {"from", "Started from"},
					       {"precision", "Precision"},
					       {"device", "Device"},
					       {"held_out", "held-out samples"},
					       {"measured", "samples measured"},
					       {"networks", "Networks"},
					       {"points", "Points"},
					       {"sigma_end", "Sigma"},
					       {"program", "Trained by"}};
	const otp_config *c = &p->config;
	const cJSON *about = cJSON_GetObjectItemCaseSensitive(p->summary, "about");
	char duration[OTP_DURATION_TEXT];
	for (size_t i = 0; about && i < sizeof FACTS / sizeof *FACTS; i++)
		add_fact(p, FACTS[i][1], text_of(about, FACTS[i][0]));
	if (!about) {
		add_fact(p, "Source", c->source);
		add_fact(p, "Target", c->target);
		add_fact(p, "Preset", c->preset);
		add_fact(p, "Precision", OTP_CHOICE_NAME(otp_precision, c->precision));
		add_fact(p, "Device", hold(p, device_text(c)));
	}
	if (p->count && isfinite(p->all[p->count - 1].time_s))
		add_fact(p, "Duration",
			 hold(p, otp_strdup(otp_duration_text(p->all[p->count - 1].time_s, duration))));
}

int64_t otp_summary_step(const char *run, const otp_metrics *rows, size_t count)
{
	int64_t *saved, step = count ? rows[count - 1].step : 0;
	otp_error ignored = {0}; /* what is said of a run may be less than whole */
	int checkpoints = otp_run_checkpoints(run, &saved, &ignored);
	if (checkpoints > 0 && saved[checkpoints - 1] > step)
		step = saved[checkpoints - 1];
	otp_free(saved);
	return step;
}

static void say_state(page *p, const char *run)
{
	int64_t step = otp_summary_step(run, p->all, p->count);
	int steps = p->config.steps;
	if (p->finished)
		p->report.state = hold(p, otp_format("Finished: %d step%s.", steps, otp_plural(steps)));
	else
		p->report.state = hold(
		    p,
		    otp_format(
			"Step %lld of %d (%.0f %%). %s", (long long)step, steps,
			floor(100.0 * (double)step / steps),
			p->live ? "In training: otplan report makes this page again."
				: "Not finished: otplan train --resume goes on from the last checkpoint."));
}

/* ---- its figures ---- */

static void add_kept_figures(page *p, const cJSON *figures)
{
	const cJSON *each, *value;
	cJSON_ArrayForEach(each, figures)
	{
		value = cJSON_GetObjectItemCaseSensitive(each, "value");
		if (cJSON_IsNumber(value))
			add_figure(p, text_of(each, "name"), text_of(each, "unit"), value->valuedouble,
				   text_of(each, "beside"));
	}
	p->report.figures_of = "What was learned";
}

/* While it is not finished: the last measurement. */
static void add_measured_figures(page *p)
{
	static const struct {
		const char *key;
		size_t at;
	} SHOWN[] = {
#define SHOW(name) {#name, offsetof(otp_metrics, name)},
	    SHOW(patch_distance) SHOW(patch_floor) SHOW(source_patch_distance) SHOW(target_distance)
		SHOW(target_floor) SHOW(source_distance) SHOW(transport_cost) SHOW(identity_distance)
		    SHOW(to_identity) SHOW(output_spread) SHOW(noise_spread) SHOW(noise_needed)
			SHOW(diversity)
#undef SHOW
	};
	if (p->measured == 0)
		return;
	const otp_metrics *last = &p->rows[p->measured - 1];
	for (size_t i = 0; i < sizeof SHOWN / sizeof *SHOWN; i++) {
		double value = *(const double *)((const char *)last + SHOWN[i].at);
		const otp_figure_kind *kind = otp_figure_find(SHOWN[i].key);
		if (isfinite(value))
			add_figure(p, kind->name, otp_figure_unit(kind, !p->vectors), value, "");
	}
	p->report.figures_of =
	    hold(p, otp_format("Measured at step %lld, on a fixed batch", (long long)last->step));
}

/* ---- its verdicts ---- */

/* Rows up to the one that raised it say why; the first later one without it, when it was over. */
static void add_finding(page *p, otp_verdict v, size_t raised)
{
	char figures[200], advice[400];
	size_t over = raised + 1;
	if (p->report.finding_count == MOST_FINDINGS)
		return;
	while (over < p->measured && p->rows[over].verdicts >> v & 1)
		over++;
	long long from = p->rows[raised].step;
	char *when = over < p->measured
			 ? otp_format("steps %lld to %lld", from, (long long)p->rows[over].step)
			 : otp_format(p->finished ? "step %lld to the end" : "from step %lld on", from);
	otp_verdict_figures(v, p->rows, raised + 1, figures, sizeof figures);
	otp_verdict_advice(v, &p->config, &p->rows[raised], advice, sizeof advice);
	p->findings[p->report.finding_count++] = (otp_report_finding){
	    otp_verdict_name(v), hold(p, when), hold(p, otp_strdup(figures)), hold(p, otp_strdup(advice))};
}

static void judge(page *p)
{
	for (size_t i = 0; i < p->measured; i++)
		for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++)
			if (p->rows[i].verdicts >> v & 1 && (i == 0 || !(p->rows[i - 1].verdicts >> v & 1)))
				add_finding(p, v, i);
	bool good =
	    otp_verdicts_say(&p->config, p->vectors, p->rows, p->measured, p->verdict, sizeof p->verdict);
	p->report.mood = good						    ? OTP_MOOD_GOOD
			 : p->measured && p->rows[p->measured - 1].verdicts ? OTP_MOOD_BAD
									    : OTP_MOOD_PLAIN;
	p->verdict[0] =
	    (char)(p->verdict[0] >= 'a' && p->verdict[0] <= 'z' ? p->verdict[0] - 'a' + 'A' : p->verdict[0]);
	p->report.verdict = p->verdict;
}

/* ---- all of it ---- */

static bool read_run(page *p, const char *run, otp_error *err)
{
	char *config = otp_run_path(run, "config.ini"), *history = otp_run_path(run, "metrics.jsonl");
	otp_error ignored = {0};
	otp_config_defaults(&p->config);
	bool ok = otp_run_exists(run) ||
		  otp_fail(err, run, "holds no run: expected a folder that `otplan train --out` made");
	ok = ok && otp_config_read(&p->config, config, err) &&
	     (!otp_file_exists(history) || otp_metrics_read(history, &p->all, &p->count, err));
	otp_free(config);
	otp_free(history);
	if (!ok)
		return false;
	p->rows = otp_calloc(p->count, sizeof *p->rows);
	for (size_t i = 0; i < p->count; i++)
		if (p->all[i].measured_at == (double)p->all[i].step)
			p->rows[p->measured++] = p->all[i];
	const otp_preset *preset = otp_preset_find(p->config.preset, &ignored);
	p->vectors = p->measured ? !isfinite(p->rows[0].patch_floor) && isfinite(p->rows[0].noise_needed)
				 : preset && preset->vectors;
	return read_summary(run, &p->summary, err);
}

static bool write_curves(const page *p, const char *run, otp_error *err)
{
	char *svg = otp_plot_training(p->all, p->count, OTP_PLOT_SHEET),
	     *path = otp_run_path(run, "curves.svg");
	bool ok = otp_file_write(path, svg, strlen(svg), err);
	otp_free(svg);
	otp_free(path);
	return ok;
}

static bool write_pages(page *p, const char *run, otp_error *err)
{
	const cJSON *figures = cJSON_GetObjectItemCaseSensitive(p->summary, "figures");
	p->finished = figures && p->count && p->all[p->count - 1].step == p->config.steps;
	say_state(p, run);
	add_facts(p);
	judge(p);
	if (p->finished)
		add_kept_figures(p, figures);
	else
		add_measured_figures(p);
	p->report.facts = p->facts;
	p->report.figures = p->figures;
	p->report.findings = p->findings;
	p->report.pictures_note =
	    p->vectors
		? "Lines join sources to their samples. Points and noise are the same at every step."
		: "Each row is a source, then samples of what the plan makes of it. Inputs and noise are "
		  "the same at every step.";
	char *settings = otp_config_text(&p->config, OTP_SCOPE_KEPT);
	p->report.settings = settings;
	bool ok = otp_report_write(run, &p->report, err) && write_curves(p, run, err);
	otp_free(settings);
	return ok;
}

bool otp_summary_pages(const char *run, bool live, otp_error *err)
{
	page *p = otp_calloc(1, sizeof *p);
	p->live = live;
	bool ok = read_run(p, run, err) && write_pages(p, run, err);
	for (int i = 0; i < p->held_count; i++)
		otp_free(p->held[i]);
	cJSON_Delete(p->summary);
	otp_free(p->all);
	otp_free(p->rows);
	otp_free(p);
	return ok;
}

/* ---- the end of a training ----------------------------------------------------- */

void otp_summary_point(const char *run) { printf("report   %s/report.html\n", run); }

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

/* Of a run's folder or a model's file. */
static bool evaluate(const otp_session *s, otp_runtime *runtime, const char *path, otp_evaluation *e,
		     otp_error *err)
{
	otp_translator t;
	if (!otp_translator_open(path, runtime, &t, err))
		return false;
	int inputs = otp_summary_inputs(&s->config);
	otp_evaluate_options options = {
	    .n = inputs, .per_input = inputs, .seed = s->config.seed, .sigma = t.facts.sigma};
	bool ok = otp_evaluate(t.sampler, otp_session_measured(s, OTP_SOURCE),
			       otp_session_measured(s, OTP_TARGET), &options, e, err);
	otp_translator_close(&t);
	return ok;
}

static void say_count(const otp_session *s)
{
	otp_dataset_info x = otp_dataset_describe(otp_session_measured(s, OTP_SOURCE)),
			 y = otp_dataset_describe(otp_session_measured(s, OTP_TARGET));
	otp_evaluate_say_count(&x, &y, otp_summary_inputs(&s->config));
}

static double distance_of(const otp_evaluation *e)
{
	return e->exact ? e->target_distance : e->patch_distance; /* exact: of vectors */
}

/* The model of an earlier step that was nearer to the targets than the last, by the monitor's small batch:
 * whether it is, the samples say that the last was measured with. */
static void print_best(const otp_session *s, otp_runtime *runtime, const page *p, const otp_evaluation *last)
{
	size_t best = otp_metrics_best(p->rows, p->measured);
	char *path = otp_run_path(s->config.out, "model-best.h5");
	otp_evaluation e;
	otp_error ignored = {0};
	if (best + 1 < p->measured && otp_file_exists(path) && evaluate(s, runtime, path, &e, &ignored)) {
		double its = distance_of(&e), end = distance_of(last);
		printf("best     %s: step %lld, at distance %.4g on these samples, the end at %.4g%s\n", path,
		       (long long)p->rows[best].step, its, end,
		       its < end ? "" : ": it was nearer on the monitor's few samples alone");
	}
	otp_free(path);
}

/* The verdict of a run that lies on disk, and its best model. last: what was learned, NULL where that is not
 * measured. */
static void print_verdict(const otp_session *s, otp_runtime *runtime, const otp_evaluation *last)
{
	page *p = otp_calloc(1, sizeof *p);
	otp_error ignored = {0};
	char text[320];
	if (read_run(p, s->config.out, &ignored)) {
		otp_verdicts_say(&p->config, p->vectors, p->rows, p->measured, text, sizeof text);
		printf("verdict  %s\n", text);
		if (last)
			print_best(s, runtime, p, last);
	}
	cJSON_Delete(p->summary);
	otp_free(p->all);
	otp_free(p->rows);
	otp_free(p);
}

bool otp_summary_write(const otp_session *s, otp_runtime *runtime, otp_error *err)
{
	const otp_config *c = &s->config;
	otp_figure list[OTP_MAX_FIGURES];
	otp_figures f = {.each = list};
	otp_evaluation e;
	bool measurable = otp_summary_count(s) > 0; /* a training needs one sample, a distance two */
	if (measurable && !evaluate(s, runtime, c->out, &e, err)) {
		otp_error second = {0}; /* what is there is shown nevertheless */
		otp_summary_pages(c->out, false, &second);
		return false;
	}
	if (measurable) {
		say_count(s);
		otp_evaluation_figures(&e, &f);
	}
	if ((measurable && !keep_figures(c->out, &f, err)) || !otp_summary_pages(c->out, false, err))
		return false;
	if (measurable) {
		printf("what was learned, on %s:\n", otp_session_measured_on(s));
		otp_figures_print(list, f.count, "  ");
	} else {
		otp_log("what was learned is not measured: the target has one sample, and that takes two");
	}
	print_verdict(s, runtime, measurable ? &e : NULL);
	char *picture = otp_run_step_path(c->out, "samples", c->steps, "png");
	printf("picture  %s\nmodel    %s/model.h5\n", picture, c->out);
	otp_summary_point(c->out);
	otp_free(picture);
	return true;
}
