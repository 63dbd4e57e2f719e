#include "train/rehearse.h"
#include "core/words.h"
#include "train/forecast.h"
#include "train/game.h"
#include "train/monitor.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the data ---- */

static void describe_stored(const otp_dataset_info *info, char *text, size_t bytes)
{
	const otp_data_survey *v = &info->survey;
	if (info->kind == OTP_DATA_VECTORS || info->count == 0 || !v->h_max)
		snprintf(text, bytes, "%dx%dx%d", info->w, info->h, info->c);
	else if (v->h_min == v->h_max && v->w_min == v->w_max)
		snprintf(text, bytes, "%dx%d", v->w_max, v->h_max);
	else
		snprintf(text, bytes, "%dx%d to %dx%d", v->w_min, v->h_min, v->w_max, v->h_max);
}

/* "128x96 pictures, 40 grey and 2 of colour, each to 64x64x3". */
static void print_side(const char *name, const otp_dataset_info *info)
{
	const otp_data_survey *v = &info->survey;
	char count[OTP_COUNT_TEXT], stored[64];
	describe_stored(info, stored, sizeof stored);
	printf("%-11s %s, stored as %s", name, otp_session_count(info, count), stored);
	if (v->grey + v->colour)
		printf(" (%lld grey, %lld of colour)", (long long)v->grey, (long long)v->colour);
	if (v->alpha)
		printf("; %lld with an alpha channel, laid over white", (long long)v->alpha);
	if (v->deep)
		printf("; %lld of more than 8 bits, rounded to 8", (long long)v->deep);
	if (info->kind == OTP_DATA_IMAGES)
		printf("; trained as %dx%dx%d%s", info->w, info->h, info->c,
		       info->grey && v->colour ? ", made grey" : "");
	bool resized = v->h_max && (v->h_min != info->h || v->h_max != info->h || v->w_min != info->w ||
				    v->w_max != info->w);
	printf("%s\n", resized ? ", resized" : "");
	if (info->skipped)
		printf("            left out, since they cannot be read: %lld file%s\n",
		       (long long)info->skipped, otp_plural(info->skipped));
}

/* ---- the time ---- */

/* The first steps load code and fill caches; what is measured are whole cycles of R1's, for so long. */
enum { WARM_UP = 2, MOST_CYCLES = 50 };
static const double SECONDS = 2;

static bool run_steps(otp_game *g, int count, otp_error *err)
{
	for (int i = 0; i < count; i++)
		if (!otp_game_step(g, err))
			return false;
	otp_engine_wait(g->engine);
	return true;
}

static bool time_step(otp_game *g, const otp_config *c, double *seconds, int *steps, otp_error *err)
{
	int cycle = c->r1 > 0 ? c->r1_every : 1;
	*steps = 0;
	if (!run_steps(g, WARM_UP, err))
		return false;
	double start = otp_seconds();
	do {
		if (!run_steps(g, cycle, err))
			return false;
		*steps += cycle;
		*seconds = otp_seconds() - start;
	} while (*seconds < SECONDS && *steps < MOST_CYCLES * cycle);
	*seconds /= *steps;
	return true;
}

/* One measurement of the monitor, as after the first step, and samples as for a picture. */
static bool time_looks(const otp_session *s, otp_game *g, otp_forecast *f, otp_error *err)
{
	otp_sampler *sampler = otp_game_sampler(g, false);
	otp_monitor *monitor = otp_monitor_new(s, sampler, err);
	bool ok = monitor != NULL;
	if (ok) {
		otp_metrics row = otp_metrics_at(1);
		row.sigma = otp_settings_sigma(&s->config, 1);
		otp_monitor_look(monitor, &row); /* the first use of a program takes longer */
		double start = otp_seconds();
		otp_monitor_look(monitor, &row);
		f->measure = otp_seconds() - start;
		f->sample = otp_forecast_time_sample(s, sampler);
	}
	otp_monitor_free(monitor);
	otp_sampler_free(sampler);
	return ok;
}

static void print_time(const otp_session *s, const otp_forecast *f, int steps)
{
	char whole[OTP_DURATION_TEXT];
	double run = otp_forecast_run(f, s, 0), rest = run - otp_forecast_steps(f, &s->config, 0);
	printf("time        about %s for %d steps of %.3g s (%d measured); measuring and pictures are %.0f "
	       "%% of it. "
	       "Writing checkpoints is not counted\n",
	       otp_duration_text(run, whole), s->config.steps, f->step, steps, 100 * rest / run);
}

bool otp_rehearse(const otp_session *s, otp_runtime *runtime, otp_error *err)
{
	otp_game game;
	otp_forecast forecast = {0};
	int steps = 0;
	print_side("source", &s->source_info);
	print_side("target", &s->target_info);
	char *points = otp_points_text(&s->config, &s->points),
	     *sigma_end = otp_sigma_end_text(&s->config, &s->sigma_end);
	if (points)
		printf("points      %s\n", points);
	if (sigma_end)
		printf("annealing   %s\n", sigma_end);
	otp_free(points);
	otp_free(sigma_end);
	fflush(stdout);
	bool ok = otp_game_open(&game, s, runtime, err) && otp_game_start(&game, err) &&
		  time_step(&game, &s->config, &forecast.step, &steps, err) &&
		  time_looks(s, &game, &forecast, err);
	otp_game_close(&game);
	if (ok)
		print_time(s, &forecast, steps);
	return ok;
}
