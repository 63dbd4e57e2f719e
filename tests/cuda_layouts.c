/* layouts: one step of a training over 2 to 4 processes, each with a fake device, beside the same step of one
 * process that has as many parts. What differs is the order in which gradients of the parts are added; how
 * far that may take gradients, moments and weights is derived here, and asserted.
 *
 * Of more steps than one nothing is derived: the next gradient is of other weights, and how it follows them
 * is the networks'.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEAST = 2, MOST = 4, BATCH = 12, CHANNELS = 2, ROOM = 1 << 16, ROWS = 4, ALONE = MOST };
static const double U = (double)FLT_EPSILON / 2, RATE = 1e-3, BETA1 = 0.5, BETA2 = 0.9, EPS = 1e-8;

/* What all processes of the test write; row ALONE is the single process's. */
static struct results {
	int64_t elements[OTP_NETWORKS];
	float grads[MOST + 1][OTP_NETWORKS][ROOM];
	float before[OTP_NETWORKS][ROOM]; /* weights */
	float together[OTP_NETWORKS][ROWS * ROOM], alone[OTP_NETWORKS][ROWS * ROOM];
} * results;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "cuda_layouts: %s\n", what);
	_exit(1);
}

/* ---- one process ---- */

static otp_engine *open_engine(otp_runtime *runtime, int parts)
{
	const otp_arch points = {.vectors = true,
				 .h = 1,
				 .w = 1,
				 .c = CHANNELS,
				 .condition_noise = true,
				 .residual = true,
				 .width = 60,
				 .blocks = 1,
				 .sharpness = 1,
				 .potential_width = 64,
				 .potential_blocks = 1,
				 .potential_sharpness = 1};
	otp_engine_settings settings = {
	    .objective = {.arch = points, .tau = 0.1, .noise_pairs = true, .g = OTP_G_SOFTPLUS},
	    .batch = BATCH,
	    .parts = parts,
	    .r1_used = true,
	    .beta1 = BETA1,
	    .beta2 = BETA2};
	return otp_engine_new(runtime, &settings);
}

static void fill(float *values, int first, int count, uint32_t side)
{
	for (int i = 0; i < count * CHANNELS; i++)
		values[i] = otp_unit_float(otp_random_u32(otp_stream_make(5, side, 0), OTP_PURPOSE_SYNTH,
							  (uint32_t)(first * CHANNELS + i)));
}

/* One update of each network, from its first weights. */
static void step_both(otp_engine *e, otp_group *g, float (*grads)[ROOM], float (*states)[ROWS * ROOM])
{
	int first, count;
	float x[BATCH * CHANNELS], y[BATCH * CHANNELS];
	otp_update u = {
	    .seed = 9, .draw = 1, .keep = 0.9, .sigma = 0.5, .rate = RATE, .count = 1, .ema = 0.9, .r1 = 0.3};
	otp_engine_slice(e, &first, &count);
	fill(x, first, count, 0);
	fill(y, first, count, 1);
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		int64_t elements = otp_engine_params(e, n)->elements;
		must(elements <= ROOM, "no room");
		results->elements[n] = elements;
		otp_engine_init(e, 1);
		if (!g)
			otp_engine_read(e, n, states[n]);
		if (!g)
			memcpy(results->before[n], states[n], (size_t)elements * sizeof(float));
		if (n == OTP_TRANSPORT)
			otp_engine_transport_step(e, (otp_batch){.values = x}, &u);
		else
			otp_engine_potential_step(e, (otp_batch){.values = x}, (otp_batch){.values = y}, &u);
		otp_engine_read_grads(e, n, grads[n]);
		otp_engine_collect(e, n, otp_group_leads(g) ? states[n] : NULL);
		otp_engine_losses(e);
		must(!otp_engine_refusal(e), "the step was refused");
	}
}

static void be_process(int rank, int size)
{
	otp_error err = {0};
	otp_group *group = NULL;
	otp_runtime runtime;
	if (rank != ALONE) {
		char number[16];
		snprintf(number, sizeof number, "%d", rank);
		setenv("RANK", number, 1);
		setenv("LOCAL_RANK", number, 1);
		must(otp_group_join_gpus(&group, true, 60, &err), err.text);
	}
	must(otp_runtime_open("cuda", 0, "f32", 1, &runtime, &err), err.text);
	runtime.group = group;
	must(otp_runtime_connect(&runtime, 60, &err), err.text);
	otp_engine *e = open_engine(&runtime, size);
	step_both(e, group, results->grads[rank], group ? results->together : results->alone);
	otp_engine_free(e);
	otp_runtime_close(&runtime);
	otp_group_leave(group, &err);
	exit(0);
}

static void run_processes(int size)
{
	char text[16];
	snprintf(text, sizeof text, "%d", size);
	setenv("WORLD_SIZE", text, 1);
	snprintf(text, sizeof text, "%d", 20000 + (getpid() * MOST + size) % 20000);
	setenv("MASTER_PORT", text, 1);
	setenv("MASTER_ADDR", "127.0.0.1", 1);
	fflush(NULL);
	for (int i = 0; i <= size; i++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child)
			continue;
		alarm(80);
		be_process(i < size ? i : ALONE, size);
	}
	for (int i = 0; i <= size; i++) {
		int status;
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

/* ---- how far apart the two may be ---- */

static int owner_of(int64_t column, int64_t columns, int size)
{
	int owner = size - 1;
	while (owner > 0 && column < (int64_t)otp_process_block(columns, owner, size) * OTP_NORM_COLUMNS)
		owner--;
	return owner;
}

/* Two orders of n - 1 additions in float32 differ by at most 2 gamma S, gamma = (n - 1) u / (1 - (n - 1) u),
 * S the sum of magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 4.2). What processes that
 * do not own a column gave to it still stands in their rows; what its owner gave is at most the sum and all
 * of these. */
static double bound_of(otp_network n, int64_t column, int size)
{
	int owner = owner_of(column, results->elements[n], size);
	double gamma = (size - 1) * U / (1 - (size - 1) * U), others = 0;
	for (int r = 0; r < size; r++)
		others += r == owner ? 0 : fabs((double)results->grads[r][n][column]);
	double magnitudes = (fabs((double)results->grads[owner][n][column]) + 2 * others) / (1 - gamma);
	return 2 * gamma * magnitudes;
}

static double adam(double g) { return g / (fabs(g) + EPS); }

static void check_column(otp_network n, int64_t k, int size)
{
	int64_t columns = results->elements[n];
	const float *a = results->together[n], *b = results->alone[n];
	double g = (double)results->grads[ALONE][n][k], apart = bound_of(n, k, size), most = fabs(g) + apart;
	double sum = (double)results->grads[owner_of(k, columns, size)][n][k];
	assert_true(fabs(sum - g) <= apart);

	/* m = (1 - beta1) g, rounded once; v = (1 - beta2) g g, rounded twice: the moments were zero. */
	double m = fabs((double)a[columns + k] - (double)b[columns + k]);
	double v = fabs((double)a[2 * columns + k] - (double)b[2 * columns + k]);
	assert_true(m <= (1 - BETA1) * (1 + U) * (apart + 2 * U * most));
	assert_true(v <= (1 - BETA2) * (1 + 10 * U) * (most * most - g * g + 4 * U * most * most) + FLT_MIN);

	/* The first update is rate g / (|g| + eps), which grows with g, in at most 17 roundings: 4 of m times
	 * c1; 14 of v times c2, nine of them beta2's own in 1 - beta2, halved by the root, and the root's;
	 * eps, the quotient, rate and its product. Then it is taken from the weight, rounded once. */
	double update = fmax(adam(g + apart) - adam(g), adam(g) - adam(g - apart)) + 2 * 17 * U;
	double w = fabs((double)a[k] - (double)b[k]), weight = fabs((double)results->before[n][k]) + RATE;
	assert_true(w <= RATE * update + 2 * U * weight);
}

static void one_step_is_bounded(void **state)
{
	(void)state;
	for (int size = LEAST; size <= MOST; size++) {
		run_processes(size);
		int other = 0;
		for (otp_network n = 0; n < OTP_NETWORKS; n++)
			for (int64_t k = 0; k < results->elements[n]; k++) {
				check_column(n, k, size);
				other += results->together[n][k] != results->alone[n][k];
			}
		assert_true(size == 2 ? other == 0 : other > 0); /* of two there is one order */
		print_message("%d processes: %d weights have other bits\n", size, other);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(one_step_is_bounded)};
	results = mmap(NULL, sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
