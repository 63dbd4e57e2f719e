/* dnn.c: oneDNN behind dnn.h.
 *
 * Activations are NHWC as everywhere; weights take the layout oneDNN wants,
 * because with weights in a plain layout it falls to its reference code, a
 * thousand times slower. Packing is part of every run: weights change with
 * every update, and a pack costs little beside its convolution. */
#include "cpu/dnn.h"
#include "cpu/cpu.h"
#include "core/log.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define DNN(call) check((call), #call)

static void check(dnnl_status_t status, const char *what)
{
	OTP_ASSERT(status == dnnl_success, "oneDNN status %d from %s", (int)status, what);
}

static dnnl_engine_t engine;

static void open_engine(void) { DNN(dnnl_engine_create(&engine, dnnl_cpu, 0)); }

void otp_dnn_enter_thread(void)
{
	static _Thread_local bool entered;
	if (entered)
		return;
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, open_engine);
	omp_set_num_threads(1);
	entered = true;
}

bool otp_dnn_has_bf16(void)
{
	int isa = (int)dnnl_get_effective_cpu_isa(), wanted = (int)dnnl_cpu_isa_avx512_core_bf16;
	return (isa & wanted) == wanted; /* AMX contains it */
}

/* ---- memory descriptors: a value in 2.x, a handle in 3.x ---- */

typedef struct layout {
	dnnl_memory_desc_t desc;
} layout;

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t layout_ref;
static layout_ref layout_get(const layout *l) { return l->desc; }
static void layout_drop(layout *l) { DNN(dnnl_memory_desc_destroy(l->desc)); }
#define layout_by_tag dnnl_memory_desc_create_with_tag
#define layout_by_strides dnnl_memory_desc_create_with_strides
#else
typedef const dnnl_memory_desc_t *layout_ref;
static layout_ref layout_get(const layout *l) { return &l->desc; }
static void layout_drop(layout *l) { (void)l; }
#define layout_by_tag dnnl_memory_desc_init_by_tag
#define layout_by_strides dnnl_memory_desc_init_by_strides
#endif

/* oneDNN counts (n, c, h, w) whatever the order in memory: our (n, h, w, c)
 * activations are its nhwc, our (out, kh, kw, in) weights its ohwi = nhwc. */
static layout layout_image(otp_shape s, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
	layout l;
	const dnnl_dims_t dims = {s.n, s.c, s.h, s.w};
	DNN(layout_by_tag(&l.desc, 4, dims, type, tag));
	return l;
}

static layout layout_vector(int64_t count)
{
	layout l;
	const dnnl_dims_t dims = {count};
	DNN(layout_by_tag(&l.desc, 1, dims, dnnl_f32, dnnl_a));
	return l;
}

static layout layout_matrices(int64_t batch, int64_t rows, int64_t columns, bool transposed,
			      dnnl_data_type_t type)
{
	layout l;
	const dnnl_dims_t dims = {batch, rows, columns};
	const dnnl_dims_t strides = {rows * columns, transposed ? 1 : columns, transposed ? rows : 1};
	DNN(layout_by_strides(&l.desc, 3, dims, type, strides));
	return l;
}

/* ---- a bound computation: memory places, then steps over them ---- */

enum { IN_SCRATCH = -1, OUT = 3, MAX_PLACES = 12, MAX_STEPS = 4, MAX_ARGS = 6 };

/* Where a memory object's bytes are: input 0..2, OUT, or IN_SCRATCH at an offset. */
typedef struct place {
	dnnl_memory_t memory;
	int index;
	size_t offset;
} place;

typedef struct step {
	dnnl_primitive_t primitive;
	dnnl_exec_arg_t args[MAX_ARGS];
	int arg_count;
} step;

struct otp_dnn {
	dnnl_stream_t stream;
	place places[MAX_PLACES];
	step steps[MAX_STEPS];
	int place_count, step_count;
	size_t scratch_bytes;
	bool planned; /* steps have no primitive */
};

/* One argument of the main primitive: its role in oneDNN, our layout, whose pointer. */
typedef struct operand {
	int arg;
	layout_ref ours;
	int index;
} operand;

static dnnl_memory_t add_place(otp_dnn *d, layout_ref l, int index)
{
	OTP_ASSERT(d->place_count < MAX_PLACES, "oneDNN: too many memory objects");
	place *p = &d->places[d->place_count++];
	p->index = index;
	DNN(dnnl_memory_create(&p->memory, l, engine, DNNL_MEMORY_NONE));
	if (index == IN_SCRATCH) {
		p->offset = d->scratch_bytes;
		d->scratch_bytes += otp_round_up(dnnl_memory_desc_get_size(l), OTP_CPU_ALIGN);
	}
	return p->memory;
}

/* Create the step's primitive, with its scratchpad as one more place. */
static step *add_step(otp_dnn *d, dnnl_primitive_desc_t desc)
{
	OTP_ASSERT(d->step_count < MAX_STEPS, "oneDNN: too many steps");
	step *s = &d->steps[d->step_count++];
	if (!d->planned)
		DNN(dnnl_primitive_create(&s->primitive, desc));
	layout_ref pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
	if (pad && dnnl_memory_desc_get_size(pad) > 0)
		s->args[s->arg_count++] =
		    (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, add_place(d, pad, IN_SCRATCH)};
	return s;
}

static dnnl_primitive_attr_t new_attr(void)
{
	dnnl_primitive_attr_t attr;
	DNN(dnnl_primitive_attr_create(&attr));
	DNN(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
	return attr;
}

/* LeakyReLU of the result. */
static void bend(dnnl_primitive_attr_t attr, float slope)
{
	dnnl_post_ops_t after;
	DNN(dnnl_post_ops_create(&after));
#if DNNL_VERSION_MAJOR >= 3
	DNN(dnnl_post_ops_append_eltwise(after, dnnl_eltwise_relu, slope, 0));
#else
	DNN(dnnl_post_ops_append_eltwise(after, 1, dnnl_eltwise_relu, slope, 0));
#endif
	DNN(dnnl_primitive_attr_set_post_ops(attr, after));
	DNN(dnnl_post_ops_destroy(after));
}

static void add_reorder(otp_dnn *d, layout_ref from_layout, dnnl_memory_t from, layout_ref to_layout,
			dnnl_memory_t to)
{
	dnnl_primitive_attr_t attr = new_attr();
	dnnl_primitive_desc_t desc;
	DNN(dnnl_reorder_primitive_desc_create(&desc, from_layout, engine, to_layout, engine, attr));
	DNN(dnnl_primitive_attr_destroy(attr));
	step *s = add_step(d, desc);
	DNN(dnnl_primitive_desc_destroy(desc));
	s->args[s->arg_count++] = (dnnl_exec_arg_t){DNNL_ARG_FROM, from};
	s->args[s->arg_count++] = (dnnl_exec_arg_t){DNNL_ARG_TO, to};
}

/* The primitive between reorders of those operands whose layouts differ from
 * ours. The result is the last operand. Uses up `desc`. */
static otp_dnn *build(dnnl_primitive_desc_t desc, const operand *operands, int count, bool planned)
{
	otp_dnn *d = otp_calloc(1, sizeof *d);
	d->planned = planned;
	DNN(dnnl_stream_create(&d->stream, engine, dnnl_stream_default_flags));
	dnnl_memory_t ours[4], theirs[4];
	layout_ref wanted[4];
	OTP_ASSERT(count <= 4, "oneDNN: %d operands", count);
	for (int i = 0; i < count; i++) {
		wanted[i] = dnnl_primitive_desc_query_md(desc, dnnl_query_exec_arg_md, operands[i].arg);
		ours[i] = add_place(d, operands[i].ours, operands[i].index);
		bool same = dnnl_memory_desc_equal(operands[i].ours, wanted[i]);
		theirs[i] = same ? ours[i] : add_place(d, wanted[i], IN_SCRATCH);
	}
	int last = count - 1;
	for (int i = 0; i < last; i++)
		if (theirs[i] != ours[i])
			add_reorder(d, operands[i].ours, ours[i], wanted[i], theirs[i]);
	step *compute = add_step(d, desc);
	for (int i = 0; i < count; i++)
		compute->args[compute->arg_count++] = (dnnl_exec_arg_t){operands[i].arg, theirs[i]};
	if (theirs[last] != ours[last])
		add_reorder(d, wanted[last], theirs[last], operands[last].ours, ours[last]);
	DNN(dnnl_primitive_desc_destroy(desc));
	return d;
}

void otp_dnn_free(otp_dnn *d)
{
	if (!d)
		return;
	for (int i = 0; i < d->step_count && !d->planned; i++)
		DNN(dnnl_primitive_destroy(d->steps[i].primitive));
	for (int i = 0; i < d->place_count; i++)
		DNN(dnnl_memory_destroy(d->places[i].memory));
	DNN(dnnl_stream_destroy(d->stream));
	otp_free(d);
}

size_t otp_dnn_scratch_bytes(const otp_dnn *d) { return d->scratch_bytes; }

void otp_dnn_run(otp_dnn *d, const otp_tensor *in, void *out, void *scratch)
{
	for (int i = 0; i < d->place_count; i++) {
		const place *p = &d->places[i];
		void *data = p->index == IN_SCRATCH ? (char *)scratch + p->offset
			     : p->index == OUT	    ? out
						    : in[p->index].data;
		DNN(dnnl_memory_set_data_handle(p->memory, data));
	}
	for (int i = 0; i < d->step_count; i++) {
		const step *s = &d->steps[i];
		DNN(dnnl_primitive_execute(s->primitive, d->stream, s->arg_count, s->args));
	}
	DNN(dnnl_stream_wait(d->stream));
}

/* ---- which implementation ---- */

void otp_dnn_describe(char *text, size_t bytes)
{
	static const struct {
		dnnl_cpu_isa_t isa;
		const char *name;
	} known[] = {
	    {dnnl_cpu_isa_sse41, "SSE4.1"},
	    {dnnl_cpu_isa_avx, "AVX"},
	    {dnnl_cpu_isa_avx2, "AVX2"},
	    {dnnl_cpu_isa_avx512_core, "AVX-512"},
	    {dnnl_cpu_isa_avx512_core_vnni, "AVX-512 with VNNI"},
	    {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with VNNI and bfloat16"},
	    {dnnl_cpu_isa_avx512_core_amx, "AVX-512 with AMX"},
	};
	dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
	char number[32];
	snprintf(number, sizeof number, "instruction set %#x", (unsigned)isa);
	const char *name = number;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].isa == isa)
			name = known[i].name;
	const dnnl_version_t *version = dnnl_version();
	snprintf(text, bytes, "oneDNN %d.%d.%d, %s", version->major, version->minor, version->patch, name);
}

/* oneDNN's plain loops: correct, and hundreds of times too slow. */
static bool is_reference(const_dnnl_primitive_desc_t desc)
{
	const char *name = "";
	DNN(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name));
	return strncmp(name, "ref", 3) == 0;
}

static void warn_reference(const char *what)
{
	static atomic_flag warned = ATOMIC_FLAG_INIT;
	if (!atomic_flag_test_and_set(&warned))
		otp_log(
		    "otplan: oneDNN has no optimised code for a %s on this processor: expect it to be slow",
		    what);
}

/* ---- convolution ---- */

/* What is tried: operands' type, and activations as they are or in a layout of oneDNN's choice. */
typedef struct variant {
	dnnl_data_type_t type;
	dnnl_format_tag_t activations;
} variant;

typedef struct conv_layouts {
	layout x, w, y, bias;
} conv_layouts;

/* The result keeps float32 whatever the type of the other two. */
static conv_layouts conv_layouts_make(const otp_dnn_conv *c, variant v, otp_dnn_direction direction)
{
	dnnl_data_type_t x = direction == OTP_DNN_DGRAD ? dnnl_f32 : v.type;
	dnnl_data_type_t w = direction == OTP_DNN_WGRAD ? dnnl_f32 : v.type;
	dnnl_data_type_t y = direction == OTP_DNN_FORWARD ? dnnl_f32 : v.type;
	conv_layouts l = {layout_image(c->x, x, v.activations), layout_image(c->w, w, dnnl_format_tag_any),
			  layout_image(c->y, y, v.activations), layout_vector(c->w.n)};
	return l;
}

static void conv_layouts_drop(conv_layouts *l)
{
	layout_drop(&l->x);
	layout_drop(&l->w);
	layout_drop(&l->y);
	layout_drop(&l->bias);
}

/* The three descriptors differ in names alone; `hint` is the forward one, of no use to itself. */
static dnnl_status_t conv_desc(dnnl_primitive_desc_t *desc, const otp_dnn_conv *c,
			       otp_dnn_direction direction, conv_layouts *l, const_dnnl_primitive_desc_t hint)
{
	const dnnl_dims_t stride = {c->stride, c->stride}, pad = {c->pad, c->pad};
	const dnnl_alg_kind_t how = dnnl_convolution_direct;
	layout_ref x = layout_get(&l->x), w = layout_get(&l->w), y = layout_get(&l->y);
	layout_ref bias = c->bias ? layout_get(&l->bias) : NULL;
	dnnl_prop_kind_t kind =
	    c->direction == OTP_DNN_FORWARD ? dnnl_forward_inference : dnnl_forward_training;
	dnnl_primitive_attr_t attr = new_attr();
	dnnl_status_t status;
	if (direction == OTP_DNN_FORWARD && c->slope != 1)
		bend(attr, c->slope);
#if DNNL_VERSION_MAJOR >= 3
	const dnnl_dims_t dense = {0, 0};
	if (direction == OTP_DNN_FORWARD)
		status = dnnl_convolution_forward_primitive_desc_create(desc, engine, kind, how, x, w, bias,
									y, stride, dense, pad, pad, attr);
	else if (direction == OTP_DNN_DGRAD)
		status = dnnl_convolution_backward_data_primitive_desc_create(
		    desc, engine, how, x, w, y, stride, dense, pad, pad, hint, attr);
	else
		status = dnnl_convolution_backward_weights_primitive_desc_create(
		    desc, engine, how, x, w, NULL, y, stride, dense, pad, pad, hint, attr);
#else
	dnnl_convolution_desc_t op;
	if (direction == OTP_DNN_FORWARD)
		status = dnnl_convolution_forward_desc_init(&op, kind, how, x, w, bias, y, stride, pad, pad);
	else if (direction == OTP_DNN_DGRAD)
		status = dnnl_convolution_backward_data_desc_init(&op, how, x, w, y, stride, pad, pad);
	else
		status =
		    dnnl_convolution_backward_weights_desc_init(&op, how, x, w, NULL, y, stride, pad, pad);
	if (status == dnnl_success)
		status = dnnl_primitive_desc_create(desc, &op, attr, engine, hint);
#endif
	DNN(dnnl_primitive_attr_destroy(attr));
	return status;
}

/* One variant's descriptor; NULL where oneDNN has none. */
static dnnl_primitive_desc_t try_variant(const otp_dnn_conv *c, variant v)
{
	dnnl_primitive_desc_t hint = NULL, desc = NULL;
	if (c->direction != OTP_DNN_FORWARD) {
		conv_layouts forward = conv_layouts_make(c, v, OTP_DNN_FORWARD);
		dnnl_status_t status = conv_desc(&hint, c, OTP_DNN_FORWARD, &forward, NULL);
		conv_layouts_drop(&forward);
		if (status != dnnl_success)
			return NULL;
	}
	conv_layouts l = conv_layouts_make(c, v, c->direction);
	if (conv_desc(&desc, c, c->direction, &l, hint) != dnnl_success)
		desc = NULL;
	conv_layouts_drop(&l);
	if (hint)
		DNN(dnnl_primitive_desc_destroy(hint));
	return desc;
}

/* The first variant that is not reference code; failing that, any. */
static dnnl_primitive_desc_t choose_conv(const otp_dnn_conv *c)
{
	static const variant variants[] = {{dnnl_bf16, dnnl_nhwc},
					   {dnnl_bf16, dnnl_format_tag_any},
					   {dnnl_f32, dnnl_nhwc},
					   {dnnl_f32, dnnl_format_tag_any}};
	dnnl_primitive_desc_t slow = NULL;
	for (int i = c->bf16 ? 0 : 2; i < 4; i++) {
		dnnl_primitive_desc_t desc = try_variant(c, variants[i]);
		if (!desc)
			continue;
		if (!is_reference(desc)) {
			if (slow)
				DNN(dnnl_primitive_desc_destroy(slow));
			return desc;
		}
		if (slow)
			DNN(dnnl_primitive_desc_destroy(slow));
		slow = desc;
	}
	OTP_ASSERT(slow, "oneDNN has no convolution of %dx%dx%d with %d of %dx%d, stride %d, pad %d", c->x.h,
		   c->x.w, c->x.c, c->w.n, c->w.h, c->w.w, c->stride, c->pad);
	warn_reference("convolution");
	return slow;
}

otp_dnn *otp_dnn_conv_new(const otp_dnn_conv *c)
{
	otp_dnn_enter_thread();
	layout x = layout_image(c->x, dnnl_f32, dnnl_nhwc), w = layout_image(c->w, dnnl_f32, dnnl_nhwc);
	layout y = layout_image(c->y, dnnl_f32, dnnl_nhwc), bias = layout_vector(c->w.n);
	layout_ref rx = layout_get(&x), rw = layout_get(&w), ry = layout_get(&y);
	dnnl_primitive_desc_t desc = choose_conv(c);
	otp_dnn *d;
	if (c->direction == OTP_DNN_FORWARD) {
		operand with_bias[] = {{DNNL_ARG_SRC, rx, 0},
				       {DNNL_ARG_WEIGHTS, rw, 1},
				       {DNNL_ARG_BIAS, layout_get(&bias), 2},
				       {DNNL_ARG_DST, ry, OUT}};
		operand plain[] = {{DNNL_ARG_SRC, rx, 0}, {DNNL_ARG_WEIGHTS, rw, 1}, {DNNL_ARG_DST, ry, OUT}};
		d = c->bias ? build(desc, with_bias, 4, c->planned) : build(desc, plain, 3, c->planned);
	} else if (c->direction == OTP_DNN_DGRAD) {
		operand args[] = {
		    {DNNL_ARG_DIFF_DST, ry, 0}, {DNNL_ARG_WEIGHTS, rw, 1}, {DNNL_ARG_DIFF_SRC, rx, OUT}};
		d = build(desc, args, 3, c->planned);
	} else {
		operand args[] = {
		    {DNNL_ARG_SRC, rx, 0}, {DNNL_ARG_DIFF_DST, ry, 1}, {DNNL_ARG_DIFF_WEIGHTS, rw, OUT}};
		d = build(desc, args, 3, c->planned);
	}
	layout_drop(&x);
	layout_drop(&w);
	layout_drop(&y);
	layout_drop(&bias);
	return d;
}

/* ---- matrix product ---- */

static dnnl_primitive_desc_t matmul_desc(layout_ref a, layout_ref b, layout_ref y)
{
	dnnl_primitive_attr_t attr = new_attr();
	dnnl_primitive_desc_t desc;
#if DNNL_VERSION_MAJOR >= 3
	dnnl_status_t status = dnnl_matmul_primitive_desc_create(&desc, engine, a, b, NULL, y, attr);
#else
	dnnl_matmul_desc_t op;
	dnnl_status_t status = dnnl_matmul_desc_init(&op, a, b, NULL, y);
	if (status == dnnl_success)
		status = dnnl_primitive_desc_create(&desc, &op, attr, engine, NULL);
#endif
	DNN(dnnl_primitive_attr_destroy(attr));
	return status == dnnl_success ? desc : NULL;
}

/* bfloat16 operands are reordered, so their layout is free: rows, which oneDNN is fastest with. NULL where
 * only reference code would compute them. */
static dnnl_primitive_desc_t matmul_bf16_desc(const otp_dnn_matmul *p, layout_ref y)
{
	layout a = layout_matrices(p->batch, p->m, p->k, false, dnnl_bf16);
	layout b = layout_matrices(p->batch, p->k, p->n, false, dnnl_bf16);
	dnnl_primitive_desc_t desc = matmul_desc(layout_get(&a), layout_get(&b), y);
	layout_drop(&a);
	layout_drop(&b);
	if (!desc || !is_reference(desc))
		return desc;
	DNN(dnnl_primitive_desc_destroy(desc));
	return NULL;
}

otp_dnn *otp_dnn_matmul_new(const otp_dnn_matmul *p)
{
	otp_dnn_enter_thread();
	layout a = layout_matrices(p->batch, p->m, p->k, p->ta, dnnl_f32);
	layout b = layout_matrices(p->batch, p->k, p->n, p->tb, dnnl_f32);
	layout y = layout_matrices(p->batch, p->m, p->n, false, dnnl_f32);
	layout_ref ra = layout_get(&a), rb = layout_get(&b), ry = layout_get(&y);
	dnnl_primitive_desc_t desc = p->bf16 ? matmul_bf16_desc(p, ry) : NULL;
	if (!desc)
		desc = matmul_desc(ra, rb, ry);
	OTP_ASSERT(desc, "oneDNN has no product of %lldx%lld and %lldx%lld", (long long)p->m, (long long)p->k,
		   (long long)p->k, (long long)p->n);
	if (is_reference(desc))
		warn_reference("matrix product");
	operand args[] = {{DNNL_ARG_SRC, ra, 0}, {DNNL_ARG_WEIGHTS, rb, 1}, {DNNL_ARG_DST, ry, OUT}};
	otp_dnn *d = build(desc, args, 3, p->planned);
	layout_drop(&a);
	layout_drop(&b);
	layout_drop(&y);
	return d;
}
