/* run: a case's result on a backend, between sentinels or as a plan has it, and on ref. */
#include "check_ops/harness.h"
#include "ref/ref.h"

#include <math.h>
#include <string.h>

enum { GUARD = 16 };			 /* elements before and behind the output that must not change */
static const float SENTINEL = -12352.0f; /* a bfloat16, too */

void run_guarded(int which, const test_case *t, const values *v, way w, float *out)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	built b = build_case(t, false);
	int64_t count = otp_shape_count(b.out->shape), all = count + 2 * GUARD;
	float *host = otp_calloc((size_t)all, sizeof *host);
	for (int64_t i = 0; i < all; i++)
		host[i] = i < GUARD || i >= count + GUARD ? SENTINEL : NAN;
	otp_node *kept = otp_output(b.out, 0, GUARD);
	otp_type *types = types_of(t, &b, kept, w.narrow), type = types[kept->id];
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, (size_t)all * backend->element_bytes[type])};
	backend->upload(device, spans[0], type, host, all);
	otp_program *p = otp_program_new(backend, device, b.graph, spans,
					 (otp_program_options){.precision = w.precision, .types = types});
	for (int i = 0; i < t->count; i++)
		otp_program_write(p, b.in[i], v->host[i]);
	otp_program_run(p);
	backend->wait(device);
	backend->download(device, host, type, spans[0], all);
	bool untouched = true;
	for (int i = 0; i < GUARD; i++)
		untouched &= host[i] == SENTINEL && host[all - 1 - i] == SENTINEL;
	report(untouched, describe(t), "%s wrote outside its output", backend->name);
	memcpy(out, host + GUARD, (size_t)count * sizeof *out);
	otp_free(types);
	otp_program_free(p);
	otp_graph_free(b.graph);
	backend->release(device, spans[0]);
	otp_free(host);
}

void run_planned(int which, const test_case *t, const values *v, way w, bool poison, int runs, float *out)
{
	const otp_backend *backend = tested[which].backend;
	built b = build_case(t, true);
	otp_node *kept = otp_output(b.out, OTP_SPAN_NONE, 0);
	otp_type *types = types_of(t, &b, kept, w.narrow);
	otp_program_options options = {.precision = w.precision, .poison = poison, .types = types};
	otp_program *p = otp_program_new(backend, tested[which].device, b.graph, NULL, options);
	for (int i = 0; i < t->count; i++)
		otp_program_write(p, b.in[i], v->host[i]);
	for (int run = 0; run < runs; run++)
		otp_program_run(p);
	otp_program_read(p, kept, out);
	otp_free(types);
	otp_program_free(p);
	otp_graph_free(b.graph);
}

void run_ref(const test_case *t, double *const *in, bool absolute, double *out)
{
	built b = build_case(t, false);
	otp_node *kept = otp_output(b.out, OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(ref.backend, ref.device, b.graph, NULL, (otp_program_options){0});
	for (int i = 0; i < t->count; i++) {
		double *element = otp_program_data(p, b.in[i]);
		for (int64_t k = 0; k < otp_shape_count(t->in[i]); k++)
			element[k] = absolute ? fabs(in[i][k]) : in[i][k];
	}
	otp_program_run(p);
	otp_ref_peek(out, otp_program_data(p, kept), otp_shape_count(kept->shape));
	otp_program_free(p);
	otp_graph_free(b.graph);
}
