/* replay: training steps on weights and batches that another program brings,
 * so that scripts can compare ours with it, or one device with another.
 *
 *   replay FOLDER STEPS [options of train]
 *   replay settings [options of train]      prints "key = value" of all, auto settled
 *
 * FOLDER holds float32 files without a header: x and y (whole batches), transport
 * and potential (parameters one after the other, in the order of transport.names
 * and potential.names: lines "name n h w c"). Smoothing stays at --sigma-start,
 * rates at --lr_g and --lr_d, R1 at --r1; draws are numbered from 0.
 *
 *   STEPS 0   one transport step, one potential step, one with R1, on the first
 *             batch and draw, all from those weights. Writes made (T(x', z)) and
 *             transport_grads, potential_grads, potential_r1_grads, in the
 *             order of the names, and prints the reports, a line each.
 *   STEPS n   n times a potential step with R1 and a transport step; prints both
 *             reports of each outer step in one line.
 */
#include "cli/options.h"
#include "config/rules.h"
#include "config/settings.h"
#include "core/file.h"
#include "train/game.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const NETWORK_NAMES[OTP_NETWORKS] = {"transport", "potential"};

typedef struct replay {
	const char *folder;
	otp_config config;
	otp_runtime place;
	otp_arch arch;
	otp_engine *engine;
	otp_update update;
	float *x, *y;
	int64_t x_batches, y_batches, batch_floats;
	int *order[OTP_NETWORKS]; /* the folder's k-th parameter is our order[k]-th */
} replay;

/* ---- files ---- */

static bool read_file(const replay *r, const char *name, void **data, size_t *bytes, otp_error *err)
{
	char *path = otp_format("%s/%s", r->folder, name);
	*data = otp_file_read(path, bytes, err);
	otp_free(path);
	return *data != NULL;
}

static bool write_floats(const replay *r, const char *name, const float *values, int64_t count,
			 otp_error *err)
{
	char *path = otp_format("%s/%s", r->folder, name);
	bool ok = otp_file_write(path, values, (size_t)count * sizeof *values, err);
	otp_free(path);
	return ok;
}

static bool read_batches(const replay *r, const char *name, float **values, int64_t *batches, otp_error *err)
{
	size_t bytes, each = (size_t)r->batch_floats * sizeof **values;
	if (!read_file(r, name, (void **)values, &bytes, err))
		return false;
	*batches = (int64_t)(bytes / each);
	if (*batches == 0 || bytes % each)
		return otp_fail(err, name, "%zu bytes, expected a multiple of a batch's %zu", bytes, each);
	return true;
}

/* ---- parameters: the folder's order and ours ---- */

static int find_param(const otp_params *p, const char *name, otp_shape shape)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0 && otp_shape_equal(p->info[k].shape, shape))
			return k;
	return -1;
}

static bool read_order(replay *r, otp_network n, otp_error *err)
{
	const otp_params *p = otp_engine_params(r->engine, n);
	char *file = otp_format("%s.names", NETWORK_NAMES[n]), name[96];
	void *text = NULL;
	size_t bytes;
	int length, count = 0;
	bool ok = read_file(r, file, &text, &bytes, err);
	otp_shape s;
	r->order[n] = otp_calloc((size_t)p->count, sizeof *r->order[n]);
	for (const char *line = text;
	     ok && sscanf(line, "%95s %d %d %d %d\n%n", name, &s.n, &s.h, &s.w, &s.c, &length) == 5;
	     line += length) {
		int found = find_param(p, name, s);
		ok = (found >= 0 && count < p->count) ||
		     otp_fail(err, file, "%s %dx%dx%dx%d is no parameter of ours", name, s.n, s.h, s.w, s.c);
		if (ok)
			r->order[n][count++] = found;
	}
	if (ok && count != p->count)
		ok = otp_fail(err, file, "%d parameters, expected %d", count, p->count);
	otp_free(text);
	otp_free(file);
	return ok;
}

/* The parameters side by side, `flat`, into a row of ours or (out) back. */
static void move_row(const replay *r, otp_network n, float *flat, float *row, bool out)
{
	const otp_params *p = otp_engine_params(r->engine, n);
	for (int k = 0; k < p->count; k++) {
		const otp_param_info *info = &p->info[r->order[n][k]];
		size_t bytes = (size_t)otp_shape_count(info->shape) * sizeof *row;
		memcpy(out ? flat : row + info->offset, out ? row + info->offset : flat, bytes);
		flat += otp_shape_count(info->shape);
	}
}

static bool load_params(replay *r, otp_network n, otp_error *err)
{
	const otp_params *p = otp_engine_params(r->engine, n);
	void *flat;
	size_t bytes;
	if (!read_order(r, n, err) || !read_file(r, NETWORK_NAMES[n], &flat, &bytes, err))
		return false;
	bool ok =
	    bytes == (size_t)p->trainable * sizeof(float) ||
	    otp_fail(err, NETWORK_NAMES[n], "%zu bytes, expected %" PRId64 " float32", bytes, p->trainable);
	if (ok) {
		float *state = otp_calloc((size_t)(p->elements * otp_engine_rows(n)), sizeof *state);
		move_row(r, n, flat, state + OTP_ROW_PARAM * p->elements, false);
		if (otp_engine_rows(n) > OTP_ROW_EMA)
			move_row(r, n, flat, state + OTP_ROW_EMA * p->elements, false);
		otp_engine_write(r->engine, n, state);
		otp_free(state);
	}
	otp_free(flat);
	return ok;
}

static bool write_grads(const replay *r, otp_network n, const char *name, otp_error *err)
{
	const otp_params *p = otp_engine_params(r->engine, n);
	float *row = otp_calloc((size_t)p->elements, sizeof *row);
	float *flat = otp_calloc((size_t)p->trainable, sizeof *flat);
	otp_engine_read_grads(r->engine, n, row);
	move_row(r, n, flat, row, true);
	bool ok = write_floats(r, name, flat, p->trainable, err);
	otp_free(row);
	otp_free(flat);
	return ok;
}

/* ---- steps ---- */

static otp_batch batch_of(const replay *r, const float *values, int64_t batches)
{
	return (otp_batch){.values = values + r->update.draw % batches * r->batch_floats};
}

/* The report of the step just issued, behind what the line holds. */
static void print_report(replay *r, otp_step_kind kind)
{
	otp_losses losses = otp_engine_losses(r->engine);
	for (int k = 0; k < OTP_REPORT_COUNT; k++)
		printf(" %.9g", losses.sum[kind][k]);
	otp_engine_set_losses(r->engine, NULL);
}

static void run_transport(replay *r, uint32_t draw, double rate)
{
	r->update.draw = draw;
	r->update.rate = rate;
	otp_engine_transport_step(r->engine, batch_of(r, r->x, r->x_batches), &r->update);
	print_report(r, OTP_STEP_TRANSPORT);
}

static void run_potential(replay *r, uint32_t draw, double rate, double r1)
{
	r->update.draw = draw;
	r->update.rate = rate;
	r->update.r1 = r1;
	otp_engine_potential_step(r->engine, batch_of(r, r->x, r->x_batches), batch_of(r, r->y, r->y_batches),
				  &r->update);
	print_report(r, r1 > 0 ? OTP_STEP_POTENTIAL_R1 : OTP_STEP_POTENTIAL);
}

static bool write_made(replay *r, otp_error *err)
{
	int batch = r->config.batch;
	otp_params *p = otp_engine_params(r->engine, OTP_TRANSPORT);
	otp_sampler *s = otp_sampler_new(&r->place, &r->arch, p, otp_engine_state(r->engine, OTP_TRANSPORT),
					 OTP_ROW_EMA * p->elements, r->config.smoothing, false, err);
	if (!s)
		return false;
	otp_stream *streams = otp_calloc((size_t)batch, sizeof *streams);
	float *made = otp_calloc((size_t)r->batch_floats, sizeof *made);
	for (int i = 0; i < batch; i++)
		streams[i] = otp_stream_make(r->update.seed, (uint32_t)i, 0);
	otp_sampler_run(s, r->x, streams, batch, r->update.sigma, made, NULL);
	bool ok = write_floats(r, "made", made, r->batch_floats, err);
	otp_sampler_free(s);
	otp_free(streams);
	otp_free(made);
	return ok;
}

/* At rate 0 nothing moves but moments, which no gradient sees. */
static bool write_gradients(replay *r, otp_error *err)
{
	r->update.count = 1;
	printf("transport");
	run_transport(r, 0, 0);
	if (!write_grads(r, OTP_TRANSPORT, "transport_grads", err))
		return false;
	printf("\npotential");
	run_potential(r, 0, 0, 0);
	if (!write_grads(r, OTP_POTENTIAL, "potential_grads", err))
		return false;
	printf("\npotential_r1");
	run_potential(r, 0, 0, r->config.r1);
	puts("");
	return write_grads(r, OTP_POTENTIAL, "potential_r1_grads", err) && write_made(r, err);
}

static void run_steps(replay *r, int steps)
{
	for (int k = 0; k < steps; k++) {
		r->update.count = k + 1;
		printf("%d", k + 1);
		run_potential(r, (uint32_t)(2 * k), r->config.lr_d, r->config.r1);
		run_transport(r, (uint32_t)(2 * k + 1), r->config.lr_g);
		puts("");
	}
}

/* ---- opening ---- */

/* Networks and all that is left open, for samples of the preset's size without data. */
static bool settle(replay *r, otp_error *err)
{
	otp_config *c = &r->config;
	bool vectors = strcmp(c->preset, "vector") == 0;
	if (!c->image_size.h)
		c->image_size = vectors ? (otp_size){1, 1} : (otp_size){32, 32};
	if (!c->channels)
		c->channels = vectors ? 2 : 3;
	otp_settings_settle(c);
	return otp_settings_arch(c, vectors, c->image_size.h, c->image_size.w, c->channels, &r->arch, err) &&
	       otp_rules_settle(c, vectors, otp_arch_values(&r->arch), err);
}

static bool print_settings(replay *r, otp_error *err)
{
	if (!settle(r, err))
		return false;
	char *text = otp_config_text(&r->config, OTP_SCOPE_RUN | OTP_SCOPE_MACHINE);
	fputs(text, stdout);
	otp_free(text);
	return true;
}

static bool open_engine(replay *r, otp_error *err)
{
	otp_config *c = &r->config;
	if (!settle(r, err) || !otp_session_open_runtime(c, r->arch.vectors, NULL, &r->place, err))
		return false;
	otp_engine_settings settings = {.objective = otp_settings_objective(c, &r->arch),
					.batch = c->batch,
					.parts = otp_settings_parts(c, otp_pool_workers(r->place.pool)),
					.r1_used = true,
					.plain_used = true,
					.beta1 = c->beta1,
					.beta2 = c->beta2};
	r->engine = otp_engine_new(&r->place, &settings);
	r->batch_floats = (int64_t)c->batch * otp_arch_values(&r->arch);
	r->update = (otp_update){.seed = c->seed, .sigma = c->sigma_start, .ema = 0.99};
	r->update.keep = otp_smoothing_keep(c->smoothing, c->sigma_start);
	return true;
}

static bool run(replay *r, int steps, otp_error *err)
{
	if (!open_engine(r, err) || !read_batches(r, "x", &r->x, &r->x_batches, err) ||
	    !read_batches(r, "y", &r->y, &r->y_batches, err) || !load_params(r, OTP_TRANSPORT, err) ||
	    !load_params(r, OTP_POTENTIAL, err))
		return false;
	if (!steps)
		return write_gradients(r, err);
	run_steps(r, steps);
	return true;
}

static void close_all(replay *r)
{
	otp_engine_free(r->engine);
	otp_runtime_close(&r->place);
	otp_free(r->x);
	otp_free(r->y);
	otp_free(r->order[0]);
	otp_free(r->order[1]);
}

int main(int argc, char **argv)
{
	otp_error err = {0};
	replay r = {0};
	bool settings = argc > 1 && strcmp(argv[1], "settings") == 0;
	int words = settings ? 2 : 3;
	if (argc < words) {
		fputs("replay: expected FOLDER STEPS, or settings, and options of train\n", stderr);
		return OTP_EXIT_USAGE;
	}
	r.folder = argv[1];
	if (otp_options_parse(argc - words, argv + words, NULL, 0, "replay IN OUT [options]", &r.config,
			      &err) &&
	    otp_config_check(&r.config, &err)) {
		if (settings)
			print_settings(&r, &err);
		else
			run(&r, atoi(argv[2]), &err);
	}
	close_all(&r);
	if (err.exit_code)
		fprintf(stderr, "replay: %s\n", err.text);
	return err.exit_code;
}
