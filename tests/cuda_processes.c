/* processes: reduce_scatter and all_gather of the CUDA backend over processes, each with a fake device and a
 * made-up NCCL between them: against sums in double, for every layout of columns, captured as the second
 * launch is.
 *
 * A FAULT as argument makes it instead, which the made-up NCCL must not let pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/program.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 4 };

/* What a process of a case knows. */
typedef struct process {
	int rank, size;
	const otp_backend *backend;
	otp_device *device;
	const char *fault; /* "": none */
} process;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "cuda_processes: %s\n", what);
	_exit(1);
}

/* What process `rank` gives to column i: numbers whose sum rounds, and cancels where i is a multiple of
 * three. */
static float given(int rank, int64_t i)
{
	float value = sinf((float)(i % 977) + 100 * (float)rank) * (float)(1 + i % 5);
	return i % 3 == 0 && rank % 2 ? -given(rank - 1, i) * (1 + 1e-3F) : value;
}

static bool is_faulty(const process *p, const char *fault)
{
	return p->rank == 1 && strcmp(p->fault, fault) == 0;
}

/* A row in place, so many times as one program. */
static float *run_row(const process *p, otp_op op, int columns, int64_t each, int runs)
{
	void *spans[OTP_MAX_SPANS] = {p->backend->alloc(p->device, (size_t)columns * sizeof(float))};
	float *row = otp_calloc((size_t)columns, sizeof *row);
	otp_graph *g = otp_graph_new();
	otp_node *view = otp_view(g, "row", 0, 0, otp_shape4(1, 1, 1, columns));
	if (is_faulty(p, "counts") && each > 0)
		each--;
	if (is_faulty(p, "order"))
		op = op == OTP_OP_all_gather ? OTP_OP_reduce_scatter : OTP_OP_all_gather;
	otp_output(op == OTP_OP_all_gather ? otp_all_gather(view, each)
					   : otp_reduce_scatter(view, each, false, false),
		   0, 0);
	otp_program *program = otp_program_new(p->backend, p->device, g, spans, (otp_program_options){0});
	for (int run = 0; run < runs; run++) { /* the second is captured */
		for (int i = 0; i < columns; i++)
			row[i] = given(p->rank, i + run);
		p->backend->upload(p->device, spans[0], OTP_F32, row, columns);
		otp_program_run(program);
	}
	p->backend->wait(p->device);
	p->backend->download(p->device, row, OTP_F32, spans[0], columns);
	otp_program_free(program);
	otp_graph_free(g);
	p->backend->release(p->device, spans[0]);
	return row;
}

/* Pieces of a row that calls make one after another, not in the order of their places; of one of them a copy
 * is taken later. */
enum { PIECES = 7, WATCHED = 4 };
static const int ORDER_OF_PIECES[PIECES] = {5, 6, 3, 4, 0, 2, 1};
static int piece_begin(int piece, int columns)
{
	return (int)((int64_t)columns * piece * (piece + 6) / (PIECES * (PIECES + 6)));
}

/* The sums of a row that several calls make, in buckets of so many bytes (0: none), `runs` times; *watched is
 * what was copied. */
static float *run_buckets(const process *p, int columns, int64_t each, int bytes, int runs, float *watched)
{
	void *spans[OTP_MAX_SPANS] = {0};
	char bucket[16];
	snprintf(bucket, sizeof bucket, "%d", bytes);
	setenv("OTPLAN_CUDA_BUCKET", bucket, 1);
	for (int span = 0; span < 3; span++)
		spans[span] = p->backend->alloc(p->device, (size_t)columns * sizeof(float));
	otp_graph *g = otp_graph_new();
	for (int i = 0; i < PIECES; i++) {
		int begin = piece_begin(ORDER_OF_PIECES[i], columns),
		    end = piece_begin(ORDER_OF_PIECES[i] + 1, columns);
		otp_output(otp_copy(otp_view(g, "given", 1, begin, otp_shape4(1, 1, 1, end - begin))), 0,
			   begin);
	}
	int begin = piece_begin(WATCHED, columns), count = piece_begin(WATCHED + 1, columns) - begin;
	otp_output(otp_copy(otp_view(g, "made", 0, begin, otp_shape4(1, 1, 1, count))), 2, 0);
	otp_output(
	    otp_reduce_scatter(otp_view(g, "row", 0, 0, otp_shape4(1, 1, 1, columns)), each, false, true), 0,
	    0);
	otp_program *program = otp_program_new(p->backend, p->device, g, spans, (otp_program_options){0});
	float *row = otp_calloc((size_t)columns, sizeof *row);
	for (int run = 0; run < runs; run++) { /* the second is captured */
		for (int i = 0; i < columns; i++)
			row[i] = given(p->rank, i + run);
		p->backend->upload(p->device, spans[1], OTP_F32, row, columns);
		otp_program_run(program);
	}
	p->backend->wait(p->device);
	p->backend->download(p->device, row, OTP_F32, spans[0], columns);
	p->backend->download(p->device, watched, OTP_F32, spans[2], count);
	otp_program_free(program);
	otp_graph_free(g);
	for (int span = 0; span < 3; span++)
		p->backend->release(p->device, spans[span]);
	return row;
}

static int owner(const process *p, int64_t i, int64_t each)
{
	int64_t rank = each ? i / each : p->size - 1;
	return rank < p->size ? (int)rank : p->size - 1;
}

/* Any order of n - 1 sums in float32 is off by less than (n - 1) u / (1 - (n - 1) u) times the sum of
 * magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 4.2), u = FLT_EPSILON / 2: two orders
 * by twice that. */
static void check_sums(const process *p, int columns, int64_t each)
{
	enum { RUNS = 3 };
	float *row = run_row(p, OTP_OP_reduce_scatter, columns, each, RUNS);
	double n = p->size - 1, u = (double)FLT_EPSILON / 2, bound = n * u / (1 - n * u);
	for (int i = 0; i < columns; i++) {
		double sum = 0, magnitude = 0;
		for (int r = 0; r < p->size; r++) {
			sum += (double)given(r, i + RUNS - 1);
			magnitude += fabs((double)given(r, i + RUNS - 1));
		}
		if (owner(p, i, each) == p->rank)
			must(fabs((double)row[i] - sum) <= bound * magnitude, "a sum is off");
	}
	otp_free(row);
}

/* Buckets change no bit: every sum is made in the same order, only earlier. */
static void check_buckets(const process *p, int columns, int64_t each)
{
	enum { RUNS = 3, BYTES = 256 };
	float *watched = otp_calloc((size_t)columns, sizeof *watched);
	float *whole = run_buckets(p, columns, each, 0, RUNS, watched);
	float *row = run_buckets(p, columns, each, BYTES, RUNS, watched);
	double n = p->size - 1, u = (double)FLT_EPSILON / 2, bound = n * u / (1 - n * u);
	for (int i = 0; i < columns; i++) {
		double sum = 0, magnitude = 0;
		for (int r = 0; r < p->size; r++) {
			sum += (double)given(r, i + RUNS - 1);
			magnitude += fabs((double)given(r, i + RUNS - 1));
		}
		if (owner(p, i, each) != p->rank)
			continue;
		must(fabs((double)row[i] - sum) <= bound * magnitude, "a sum of a bucket is off");
		must(row[i] == whole[i], "a sum of a bucket has other bits");
	}
	int begin = piece_begin(WATCHED, columns);
	for (int i = begin; i < piece_begin(WATCHED + 1, columns); i++)
		must(watched[i - begin] == given(p->rank, i + RUNS - 1),
		     "a sum began before its columns were read");
	otp_free(watched);
	otp_free(whole);
	otp_free(row);
}

static void check_gather(const process *p, int columns, int64_t each)
{
	enum { RUNS = 3 };
	float *row = run_row(p, OTP_OP_all_gather, columns, each, RUNS);
	for (int i = 0; i < columns; i++)
		must(row[i] == given(owner(p, i, each), i + RUNS - 1), "a column is not its owner's");
	otp_free(row);
}

static void be_process(process p, const int *from, const int *to)
{
	otp_error err = {0};
	char id[OTP_LINK_ID_BYTES] = {0};
	p.backend = otp_backend_find("cuda", &err);
	must(p.backend && p.backend->open(0, &p.device, &err), err.text);
	if (p.rank == 0) {
		must(p.backend->make_id(id, &err), err.text);
		for (int r = 1; r < p.size; r++)
			must(write(to[r], id, sizeof id) == (ssize_t)sizeof id, "no pipe");
	} else {
		must(read(from[p.rank], id, sizeof id) == (ssize_t)sizeof id, "no pipe");
	}
	must(p.backend->connect(p.device, id, p.rank, p.size, 60, &err), err.text);
	const int columns[] = {16, 1024, 5000, 70000, 8192};
	for (int i = 0; i < 5; i++) {
		int64_t each = columns[i] / OTP_NORM_COLUMNS / p.size * OTP_NORM_COLUMNS;
		check_sums(&p, columns[i], each);
		check_buckets(&p, columns[i], each);
		check_gather(&p, columns[i], each);
		check_gather(&p, columns[i], columns[i] / p.size); /* as squares are dealt */
	}
	if (is_faulty(&p, "leak"))
		exit(0);
	p.backend->close(p.device);
	exit(0);
}

/* The worst exit code. */
static int run_processes(int size, const char *fault)
{
	int from[MOST] = {0}, to[MOST] = {0}, worst = 0;
	fflush(NULL);
	for (int r = 0; r < size; r++) {
		int ends[2];
		assert_int_equal(pipe(ends), 0);
		from[r] = ends[0];
		to[r] = ends[1];
	}
	for (int r = 0; r < size; r++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			alarm(60);
			be_process((process){.rank = r, .size = size, .fault = fault}, from, to);
		}
	}
	for (int r = 0; r < size; r++) {
		int status; /* of any: who is dead must not seem to live */
		assert_true(waitpid(-1, &status, 0) > 0);
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		worst = code > worst ? code : worst;
		close(from[r]);
		close(to[r]);
	}
	return worst;
}

static void columns_are_shared_out(void **state)
{
	(void)state;
	for (int size = 1; size <= MOST; size++)
		assert_int_equal(run_processes(size, ""), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(columns_are_shared_out)};
	/* Another process may have run what waits, in time: not ten times. */
	int worst = 0;
	for (int i = 0; argc > 1 && !worst && i < 10; i++)
		worst = run_processes(2, argv[1]);
	if (argc > 1)
		return worst;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
