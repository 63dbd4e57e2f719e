/* harness: what a case of an op is, and what is asked of it on every backend.
 *
 * Bounds are derived, never tuned: with u = 2^-24, the unit roundoff of float,
 * |got - ref| <= roundings * u * magnitude, where `roundings` counts what can
 * add up and `magnitude` is the size of what was rounded. A sum of L products
 * in any order has at most L roundings of sum |terms| (Higham 2002, section
 * 3.1), and sum |terms| is the op itself on absolute values, computed by ref.
 *
 * Of e^x the GPU's own __expf is at most 2 + floor(1.173 |x|) ulp off, and of a quotient __fdividef at most
 * 2 (CUDA's documentation; an ulp is at most 2 u of a number): (4 + 2.35 |x|) u and 4 u of the result, where
 * the host's are 3.4 u and u. A sigmoid s is then off by (1 - s) (4 + 2.35 |x|) u + 4 u of it; what follows
 * in the cases rests on s (1 - s) (7 + 2.35 |x|) < 2.
 *
 * What a program may store in bfloat16 is tried in every mixture of types. The
 * inputs are rounded before ref sees them; kernels compute in float, so all that
 * is added is the rounding of a result to 8 significant bits, half an ulp of
 * which is at most 2^-8 of it.
 */
#ifndef OTP_CHECK_OPS_HARNESS_H
#define OTP_CHECK_OPS_HARNESS_H

#include "graph/program.h"

#define UNIT 0x1p-24

/* ---- the cases: a function for each line of ops.def, in cases/ ---- */

#define OP(name, inputs, attribute, in_place, meaning) void check_##name(void);
#include "graph/ops.def"
#undef OP

/* ---- a case (case.c) ---- */

typedef enum fill {
	NORMALISH, /* in (-2, 2) */
	AWAY,	   /* 0.1 <= |x| < 2: no kink within a finite difference's reach */
	WIDE,	   /* in (-60, 60): far into both tails of an exponential */
	POSITIVE,  /* in (0.5, 2) */
	ZERO,
	SHARE, /* positive, rows along c adding up to 1 */
	WORDS, /* any u32 */
	PICKS, /* u32 below twice the rows of input 0 */
} fill;

typedef enum bound {
	EXACT,
	BY_ABS, /* magnitude: the op on absolute values */
	BY_OUT, /* magnitude: |y| */
	BY_RULE /* magnitude: the case's own function */
} bound;

typedef struct test_case test_case;
typedef otp_node *builder(const test_case *t, otp_node *const *in);
typedef void magnitude_rule(const test_case *t, double *const *in, double *magnitude);

struct test_case {
	otp_op op;
	otp_attr attr;
	int count;
	otp_shape in[OTP_MAX_INPUTS];
	fill fill[OTP_MAX_INPUTS];
	bound bound;
	double roundings;
	magnitude_rule *rule;
	/* What our CUDA kernels' sums in float add, on the GPU and on the shim: roundings of the magnitude,
	 * and a rule's units of u. */
	double gpu_roundings;
	magnitude_rule *gpu_rule;
	/* What the GPU's own exponential, quotient and 1/sqrt add to the host's: roundings of the magnitude,
	 * and so many more for each unit of |x| of input 0. */
	double device_roundings, device_slope;
	builder *build;	 /* NULL: the op itself */
	unsigned apart;	 /* bit i: the op reads the middle third of input i's channels, where it lies */
	int order;	 /* differentiable this often: 0, 1 or 2 */
	bool bf16;	 /* a product: may run in bfloat16 */
	bool bench_only; /* too large for ref */
	int one_mixture; /* one of many similar cases: with the mixture of types of this number alone */
	double flops;	 /* for --bench; 0: count bytes */
};

typedef struct built {
	otp_graph *graph;
	otp_node *in[OTP_MAX_INPUTS];
	otp_node *through; /* the copy of input 0, or NULL */
	otp_node *out;
} built;

/* Inputs as the host's elements, and as doubles. */
typedef struct values {
	void *host[OTP_MAX_INPUTS];
	double *exact[OTP_MAX_INPUTS];
} values;

otp_node *build_node(const test_case *t, otp_node *const *in);
/* Of element `at` of a third, the one of input i. */
int64_t apart_at(const test_case *t, int i, int64_t at);

/* `through_copy`: input 0 reaches the op as an intermediate, so that the plan
 * may let the op overwrite it. */
built build_case(const test_case *t, bool through_copy);

/* Element i of a stream of such values; not for words. */
double random_value(fill how, uint32_t stream, uint32_t i);
values make_values(const test_case *t);
void drop_values(const test_case *t, values *v);

/* The op and its shapes, until the next call. */
const char *describe(const test_case *t);

/* ---- running cases, and the tally of what was found (harness.c) ---- */

/* Checks a case on every backend, or with --bench times it. */
void run_case(test_case t);

/* Backends compared with ref. One that cannot be opened here is skipped, and said so. */
enum { TESTED_COUNT = 3 };
extern const char *const tested_backends[TESTED_COUNT];

typedef struct opened {
	const otp_backend *backend; /* NULL: skipped */
	otp_device *device;
} opened;
extern opened ref, tested[TESTED_COUNT];

extern struct tally {
	int cases, checks, failures;
	bool bench;
	const char *alone; /* the only backend to be tested, or NULL */
} tally;

/* Counts a check, and prints it where it failed. `what`: e.g. describe(t). */
void report(bool good, const char *what, const char *fmt, ...) OTP_PRINTF(3, 4);

/* Opened, and with a kernel of its own for the op. */
bool runs(int which, otp_op op);

/* With --backend, that one alone. */
void open_backends(void);
void close_backends(void);
bool opened_any(void);
void name_library_ops(void);

/* ---- shapes that several families try (shapes.c) ---- */

/* One element, odd ones, less and more than a vector, more than a block, more
 * than a warp of packs; the last is for --bench. */
enum { SHAPE_COUNT = 7, LARGE = SHAPE_COUNT - 1 };
extern const otp_shape shapes[SHAPE_COUNT];

/* A case with one input shape for all inputs, for each of the shapes. */
void over_shapes(test_case t);

/* A bit of `mask` for each dimension that has length 1 in the small shape. */
otp_shape shrunk(otp_shape s, int mask);

/* Any set of dimensions; and for bench those that training uses. */
bool bench_mask(int mask);

/* ---- ways of running a case (mixtures.c, run.c) ---- */

enum { RESULT = 1 << OTP_MAX_INPUTS };

/* How a case is run: what is in bfloat16 is a bit of `narrow`, 1 << i for input i, and RESULT. */
typedef struct way {
	otp_precision precision;
	unsigned narrow;
} way;

/* What storage.h's rule, or a weight's or vector's being a leaf, leaves open. */
unsigned may_be_narrow(otp_op op);

/* The next mixture after `narrow`, 0 when all have been met. */
unsigned next_mixture(unsigned narrow, unsigned possible);

/* The case's k-th, k from 1 on: numbers past the last begin anew. */
unsigned mixture_number(int k, unsigned possible);

/* Types of all nodes of a case; `kept` holds its result. */
otp_type *types_of(const test_case *t, const built *b, const otp_node *kept, unsigned narrow);

/* The same with those inputs rounded that are to be narrow. */
values round_values(const test_case *t, const values *v, unsigned narrow);

/* The op writes into a span full of NaN between sentinels; a write outside shows. */
void run_guarded(int which, const test_case *t, const values *v, way w, float *out);

/* As an intermediate, in place where the plan can, poisoned or not; `runs` times. */
void run_planned(int which, const test_case *t, const values *v, way w, bool poison, int runs, float *out);

/* `in` or its absolute values, in double. */
void run_ref(const test_case *t, double *const *in, bool absolute, double *out);

/* ---- how far a result may be off (bound.c) ---- */

/* Of a backend's result that is `exact` in ref, given the case's magnitude there and what gpu_rule says, in
 * u. */
double allowed_error(const char *backend, const test_case *t, way w, double magnitude, double gpu, double x,
		     double exact);

/* ---- what is asked of a case (compare.c, gradients.c, bench.c) ---- */

/* Accuracy and repeatability in every way, on every backend. */
void check_values(const test_case *t, const values *v);
bool same_bits(const float *a, const float *b, int64_t count);

/* The rules of both orders, on ref. */
void check_gradients(const test_case *t, const values *v);

/* Prints how long a run takes. */
void bench(int which, const test_case *t, const values *v, way w);

#endif
