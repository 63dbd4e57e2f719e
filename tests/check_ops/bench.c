/* bench: how long a case takes. */
#include "check_ops/harness.h"

#include <math.h>
#include <stdio.h>

static double bytes_moved(const test_case *t, otp_shape out, unsigned narrow)
{
	double bytes = (narrow & RESULT ? 2 : 4) * (double)otp_shape_count(out);
	for (int i = 0; i < t->count; i++)
		bytes += (narrow >> i & 1 ? 2 : 4) * (double)otp_shape_count(t->in[i]);
	return bytes;
}

/* The best of several batches of runs, each long enough for the clock. */
static double best_seconds(otp_program *p, const otp_backend *backend, otp_device *device)
{
	double best = INFINITY;
	otp_program_run(p);
	for (int batch = 0; batch < 5; batch++) {
		int runs = 0;
		double start = otp_seconds(), taken = 0;
		while (taken < 0.02) {
			otp_program_run(p);
			backend->wait(device);
			runs++;
			taken = otp_seconds() - start;
		}
		best = taken / runs < best ? taken / runs : best;
	}
	return best;
}

void bench(int which, const test_case *t, const values *v, way w)
{
	built b = build_case(t, false);
	otp_node *kept = otp_output(b.out, OTP_SPAN_NONE, 0);
	otp_type *types = types_of(t, &b, kept, w.narrow);
	otp_program_options options = {.precision = w.precision, .types = types};
	otp_program *p = otp_program_new(tested[which].backend, tested[which].device, b.graph, NULL, options);
	for (int i = 0; i < t->count; i++)
		otp_program_write(p, b.in[i], v->host[i]);
	double seconds = best_seconds(p, tested[which].backend, tested[which].device);
	double work = t->flops > 0 ? t->flops : bytes_moved(t, b.out->shape, w.narrow);
	printf("%-5s%-5s %9.1f us %8.1f %s  %s\n", tested_backends[which],
	       w.precision == OTP_PRECISION_BF16 ? "bf16" : "f32", seconds * 1e6, work / seconds / 1e9,
	       t->flops > 0 ? "GFLOP/s" : "GB/s   ", describe(t));
	otp_free(types);
	otp_program_free(p);
	otp_graph_free(b.graph);
}
