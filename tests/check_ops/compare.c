/* compare: whether a backend's result is ref's within its bound, and the same in every way of running it. */
#include "check_ops/harness.h"
#include "shim/backend.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

static void find_magnitude(const test_case *t, const values *v, const double *exact, int64_t count,
			   double *magnitude)
{
	if (t->bound == BY_ABS)
		run_ref(t, v->exact, true, magnitude);
	else if (t->bound == BY_RULE)
		t->rule(t, v->exact, magnitude);
	else
		for (int64_t i = 0; i < count; i++)
			magnitude[i] = fabs(exact[i]);
}

/* What is known of a case's result in ref: its elements, their magnitudes, what gpu_rule says. */
typedef struct expected {
	double *exact, *magnitude, *gpu;
	int64_t count;
} expected;

static double allowed_at(const char *backend, const test_case *t, const values *v, way w, const expected *e,
			 int64_t i)
{
	double x = t->device_slope != 0 ? v->exact[0][i] : 0; /* elementwise */
	return allowed_error(backend, t, w, e->magnitude[i], e->gpu[i], x, e->exact[i]);
}

static void compare(const test_case *t, const values *v, way w, const char *backend, const float *got,
		    const expected *e)
{
	const double *exact = e->exact;
	int64_t count = e->count;
	int64_t worst = -1;
	double excess = 0;
	for (int64_t i = 0; i < count; i++) {
		double error = fabs((double)got[i] - exact[i]);
		double allowed = allowed_at(backend, t, v, w, e, i);
		if (error <= allowed)
			continue;
		if (worst < 0 || !(error - allowed <= excess)) {
			worst = i;
			excess = error - allowed;
		}
	}
	if (worst < 0)
		report(true, "", "-");
	else
		report(false, describe(t),
		       "%s%s, narrow %#x: element %lld of %lld is %.9g, ref has %.9g, allowed %.3g", backend,
		       w.precision == OTP_PRECISION_BF16 ? " bf16" : "", w.narrow, (long long)worst,
		       (long long)count, (double)got[worst], exact[worst],
		       allowed_at(backend, t, v, w, e, worst));
}

bool same_bits(const float *a, const float *b, int64_t count)
{
	return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static void check_backend(int which, const test_case *t, const values *v, way w, const expected *e)
{
	const char *name = tested_backends[which];
	int64_t count = e->count;
	float *first = otp_calloc((size_t)count, sizeof *first),
	      *again = otp_calloc((size_t)count, sizeof *again);
	run_guarded(which, t, v, w, first);
	compare(t, v, w, name, first, e);
	run_planned(which, t, v, w, false, 2, again);
	report(same_bits(first, again, count), describe(t), "%s, narrow %#x: planned, second run: other bits",
	       name, w.narrow);
	run_planned(which, t, v, w, true, 1, again);
	report(same_bits(first, again, count), describe(t),
	       "%s, narrow %#x: with free memory poisoned: other bits", name, w.narrow);
	otp_free(first);
	otp_free(again);
}

typedef struct replica {
	int which;
	const test_case *t;
	const values *v;
	way w;
	float *out;
} replica;

static void *run_replica(void *argument)
{
	replica *r = argument;
	run_planned(r->which, r->t, r->v, r->w, false, 2, r->out);
	return NULL;
}

/* Programs run side by side, one a thread, as the trainer runs them. */
static void check_replicas(int which, const test_case *t, const values *v, way w, int64_t count)
{
	enum { REPLICAS = 3 };
	pthread_t threads[REPLICAS];
	replica replicas[REPLICAS];
	bool same = true;
	for (int i = 0; i < REPLICAS; i++) {
		float *out = otp_calloc((size_t)count, sizeof *out);
		replicas[i] = (replica){which, t, v, w, out};
		int failed = pthread_create(&threads[i], NULL, run_replica, &replicas[i]);
		OTP_ASSERT(!failed, "check_ops: no thread: %d", failed);
	}
	for (int i = 0; i < REPLICAS; i++) {
		pthread_join(threads[i], NULL);
		same &= same_bits(replicas[0].out, replicas[i].out, count);
	}
	report(same, describe(t), "%s: replicas in threads differ", tested_backends[which]);
	for (int i = 0; i < REPLICAS; i++)
		otp_free(replicas[i].out);
}

/* On every backend that stores such types. */
static void check_way(const test_case *t, const values *v, way w)
{
	built b = build_case(t, false);
	int64_t count = otp_shape_count(b.out->shape);
	otp_graph_free(b.graph);
	expected e = {.count = count};
	e.exact = otp_calloc((size_t)count, sizeof *e.exact);
	e.magnitude = otp_calloc((size_t)count, sizeof *e.magnitude);
	e.gpu = otp_calloc((size_t)count, sizeof *e.gpu);
	run_ref(t, v->exact, false, e.exact);
	find_magnitude(t, v, e.exact, count, e.magnitude);
	if (t->gpu_rule)
		t->gpu_rule(t, v->exact, e.gpu);
	for (int which = 0; which < TESTED_COUNT; which++) {
		if (!runs(which, t->op) || (w.narrow && !tested[which].backend->element_bytes[OTP_BF16]))
			continue;
		check_backend(which, t, v, w, &e);
		if (tested[which].backend != &otp_shim_backend) /* has one stream, as the GPU */
			check_replicas(which, t, v, w, count);
	}
	otp_free(e.exact);
	otp_free(e.magnitude);
	otp_free(e.gpu);
}

static bool any_stores_bf16(otp_op op)
{
	for (int which = 0; which < TESTED_COUNT; which++)
		if (runs(which, op) && tested[which].backend->element_bytes[OTP_BF16])
			return true;
	return false;
}

static void check_mixture(const test_case *t, const values *v, unsigned narrow)
{
	values rounded = round_values(t, v, narrow);
	check_way(t, &rounded, (way){OTP_PRECISION_BF16, narrow});
	drop_values(t, &rounded);
}

void check_values(const test_case *t, const values *v)
{
	unsigned possible = may_be_narrow(t->op);
	check_way(t, v, (way){OTP_PRECISION_F32, 0});
	if (t->bf16)
		check_way(t, v, (way){OTP_PRECISION_BF16, 0});
	if (!possible || !any_stores_bf16(t->op))
		return;
	if (t->one_mixture) {
		check_mixture(t, v, mixture_number(t->one_mixture, possible));
		return;
	}
	for (unsigned narrow = possible; narrow; narrow = next_mixture(narrow, possible))
		check_mixture(t, v, narrow);
}
