/* program.c: operation graphs in plain loops, in double; what is stored is rounded
 * to its type. Every tensor is unpacked to doubles first, channels (columns)
 * innermost, whatever its strides. */
#include "fake_device/fake.h"

#include "bf16.h"

#include <math.h>
#include <string.h>

void otp_fake_program_release(otp_fake_program *p)
{
	if (--p->users == 0)
		otp_free(p);
}

/* ---- operands ---- */

static size_t element_bytes(const otp_fake_tensor *t) { return t->type == CUDNN_DATA_BFLOAT16 ? 2 : 4; }

static int64_t count_of(const otp_fake_tensor *t)
{
	return t->size[0] * t->size[1] * t->size[2] * t->size[3];
}

/* From its first byte to its last. */
static size_t extent_of(const otp_fake_tensor *t)
{
	int64_t last = 0;
	for (int i = 0; i < 4; i++)
		last += (t->size[i] - 1) * t->step[i];
	return (size_t)(last + 1) * element_bytes(t);
}

static otp_fake_binding *binding_of(otp_fake_run *run, int64_t id)
{
	for (int i = 0; i < run->count; i++)
		if (run->bound[i].id == id)
			return &run->bound[i];
	return NULL;
}

static bool is_result(int slot) { return slot >= OTP_FAKE_Y; }

static bool overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

static bool bind_tensor(otp_fake_run *run, const otp_fake_tensor *t)
{
	otp_fake_binding *b = binding_of(run, t->id);
	if (!b)
		return false;
	if (t->by_value)
		memcpy(&b->value, b->memory, sizeof b->value);
	return t->by_value ||
	       ((uintptr_t)b->memory % 16 == 0 && otp_fake_on_device(b->memory, extent_of(t)) &&
		!overlap(b->memory, extent_of(t), run->workspace, run->workspace_bytes));
}

/* What an operation after the first reads may be what one before it wrote: only what is no result of the
 * whole must be apart from it. */
static bool results_are_apart(otp_fake_run *run, const otp_fake_tensor *result)
{
	const char *memory = binding_of(run, result->id)->memory;
	for (int i = 0; i < run->program->count; i++)
		for (int slot = 0; slot < OTP_FAKE_Y; slot++) {
			const otp_fake_tensor *t = &run->program->operations[i].slot[slot];
			if (t->exists && !t->between && !t->by_value && t->id != result->id &&
			    overlap(memory, extent_of(result), binding_of(run, t->id)->memory, extent_of(t)))
				return false;
		}
	return true;
}

bool otp_fake_run_bind(otp_fake_run *run)
{
	const otp_fake_program *p = run->program;
	if (run->workspace_bytes && !otp_fake_on_device(run->workspace, run->workspace_bytes))
		return false;
	for (int i = 0; i < p->count; i++)
		for (int slot = 0; slot < OTP_FAKE_SLOTS; slot++) {
			const otp_fake_tensor *t = &p->operations[i].slot[slot];
			if (t->exists && !t->between && !bind_tensor(run, t))
				return false;
		}
	for (int i = 0; i < p->count; i++)
		for (int slot = OTP_FAKE_Y; slot < OTP_FAKE_SLOTS; slot++) {
			const otp_fake_tensor *t = &p->operations[i].slot[slot];
			if (t->exists && !t->between && !results_are_apart(run, t))
				return false;
		}
	return true;
}

/* ---- tensors as doubles ---- */

/* (size 0, size 2, size 3, size 1), dense */
typedef struct array {
	const otp_fake_tensor *tensor;
	double *at;
} array;

/* What operations leave for those after them. */
typedef struct values {
	int64_t ids[OTP_FAKE_MOST_OPERATIONS * 2];
	double *at[OTP_FAKE_MOST_OPERATIONS * 2];
	int count;
} values;

typedef struct state {
	otp_fake_run *run;
	values between;
	bool odd; /* run of an engine that varies */
} state;

static double rounded(double value, cudnnDataType_t type)
{
	float narrow = (float)value;
	return (double)(type == CUDNN_DATA_BFLOAT16 ? otp_bf16_widen(otp_bf16_round(narrow)) : narrow);
}

/* To nearest, ten bits after the point. */
double otp_fake_to_tf32(double value)
{
	float narrow = (float)value;
	uint32_t bits;
	memcpy(&bits, &narrow, sizeof bits);
	bits = (bits + 0x1000u) & ~0x1fffu;
	memcpy(&narrow, &bits, sizeof bits);
	return (double)narrow;
}

/* f(element of memory, value) in the order of the array. */
static void transfer(const otp_fake_tensor *t, void *memory, double *at, bool out)
{
	for (int64_t n = 0; n < t->size[0]; n++)
		for (int64_t h = 0; h < t->size[2]; h++)
			for (int64_t w = 0; w < t->size[3]; w++)
				for (int64_t c = 0; c < t->size[1]; c++, at++) {
					int64_t i =
					    n * t->step[0] + c * t->step[1] + h * t->step[2] + w * t->step[3];
					float *wide = (float *)memory + i;
					uint16_t *narrow = (uint16_t *)memory + i;
					bool bf16 = t->type == CUDNN_DATA_BFLOAT16;
					if (!out)
						*at = (double)(bf16 ? otp_bf16_widen(*narrow) : *wide);
					else if (bf16)
						*narrow = otp_bf16_round((float)*at);
					else
						*wide = (float)*at;
				}
}

static array read_tensor(state *s, const otp_fake_tensor *t)
{
	array a = {t, otp_calloc((size_t)count_of(t), sizeof(double))};
	for (int i = 0; i < s->between.count && t->between; i++)
		if (s->between.ids[i] == t->id)
			memcpy(a.at, s->between.at[i], (size_t)count_of(t) * sizeof(double));
	if (t->by_value)
		*a.at = (double)binding_of(s->run, t->id)->value;
	else if (!t->between)
		transfer(t, binding_of(s->run, t->id)->memory, a.at, false);
	return a;
}

/* Takes what the array holds. */
static void write_tensor(state *s, array a)
{
	int64_t count = count_of(a.tensor);
	if (s->odd)
		a.at[0] = (double)nextafterf((float)a.at[0], INFINITY);
	for (int64_t i = 0; i < count; i++)
		a.at[i] = rounded(a.at[i], a.tensor->type);
	if (a.tensor->between) {
		s->between.ids[s->between.count] = a.tensor->id;
		s->between.at[s->between.count++] = a.at;
		return;
	}
	transfer(a.tensor, binding_of(s->run, a.tensor->id)->memory, a.at, true);
	otp_free(a.at);
}

static array make(const otp_fake_tensor *t)
{
	return (array){t, otp_calloc((size_t)count_of(t), sizeof(double))};
}

static double *at(const array *a, int64_t n, int64_t h, int64_t w, int64_t c)
{
	const int64_t *s = a->tensor->size; /* 1 along what is the same everywhere */
	return a->at + (((s[0] > 1 ? n : 0) * s[2] + (s[2] > 1 ? h : 0)) * s[3] + (s[3] > 1 ? w : 0)) * s[1] +
	       (s[1] > 1 ? c : 0);
}

/* ---- convolutions ---- */

static double dot(const double *a, const double *b, int64_t count)
{
	double sum = 0;
#pragma omp simd reduction(+ : sum)
	for (int64_t i = 0; i < count; i++)
		sum += a[i] * b[i];
	return sum;
}

static void add_scaled(double *y, double a, const double *x, int64_t count)
{
#pragma omp simd
	for (int64_t i = 0; i < count; i++)
		y[i] += a * x[i];
}

/* A pixel of x, one of y, and the weights of the tap between them: whichever is the result gets the products
 * of the others. */
static void meet(cudnnBackendDescriptorType_t type, double *x, double *y, double *w, int64_t w_step,
		 int64_t outputs, int64_t channels)
{
	for (int64_t k = 0; k < outputs; k++, w += w_step)
		if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
			y[k] += dot(x, w, channels);
		else if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
			add_scaled(x, y[k], w, channels);
		else
			add_scaled(w, y[k], x, channels);
}

static void convolve(const otp_fake_operation *o, const array *x, const array *w, const array *y)
{
	const int64_t *xs = x->tensor->size, *ws = w->tensor->size, *ys = y->tensor->size;
	for (int64_t n = 0; n < ys[0]; n++)
		for (int64_t h = 0; h < ys[2]; h++)
			for (int64_t q = 0; q < ys[3]; q++)
				for (int64_t tap = 0; tap < ws[2] * ws[3]; tap++) {
					int64_t i = h * o->stride[0] + tap / ws[3] - o->pad[0];
					int64_t j = q * o->stride[1] + tap % ws[3] - o->pad[1];
					if (i < 0 || j < 0 || i >= xs[2] || j >= xs[3])
						continue;
					meet(o->type, at(x, n, i, j, 0), at(y, n, h, q, 0),
					     w->at + tap * ws[1], ws[2] * ws[3] * ws[1], ys[1], xs[1]);
				}
}

static void round_operand(const state *s, const array *a)
{
	for (int64_t i = 0; i < count_of(a->tensor) && s->run->engine.tensor_cores; i++)
		a->at[i] = otp_fake_to_tf32(a->at[i]);
}

static void run_convolution(state *s, const otp_fake_operation *o)
{
	array a = read_tensor(s, &o->slot[OTP_FAKE_X]), b = read_tensor(s, &o->slot[OTP_FAKE_SECOND]);
	array result = make(&o->slot[OTP_FAKE_Y]);
	round_operand(s, &a);
	round_operand(s, &b);
	if (o->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
		convolve(o, &a, &b, &result);
	else if (o->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
		convolve(o, &result, &b, &a);
	else
		convolve(o, &a, &result, &b);
	otp_free(a.at);
	otp_free(b.at);
	write_tensor(s, result);
}

/* ---- the rest ---- */

static double pointwise(const otp_fake_operation *o, double x, double second)
{
	switch ((int)o->mode) {
	case CUDNN_POINTWISE_ADD:
		return x + second;
	case CUDNN_POINTWISE_SUB:
		return x - second;
	case CUDNN_POINTWISE_MUL:
		return x * second;
	case CUDNN_POINTWISE_EXP:
		return exp(x);
	case CUDNN_POINTWISE_RELU_FWD:
		return x > 0 ? x : o->slope * x;
	default:
		otp_fake_forbid("pointwise mode %d is not imitated", (int)o->mode);
	}
}

/* Element by element of the larger; a reduction adds up what falls on the same element of y. */
static void run_elements(state *s, const otp_fake_operation *o)
{
	bool reduces = o->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR;
	const otp_fake_tensor *second = &o->slot[OTP_FAKE_SECOND];
	array x = read_tensor(s, &o->slot[OTP_FAKE_X]), y = make(&o->slot[OTP_FAKE_Y]), b = {NULL, NULL};
	if (second->exists)
		b = read_tensor(s, second);
	const int64_t *size = (reduces ? x : y).tensor->size;
	for (int64_t n = 0; n < size[0]; n++)
		for (int64_t h = 0; h < size[2]; h++)
			for (int64_t w = 0; w < size[3]; w++)
				for (int64_t c = 0; c < size[1]; c++) {
					double value = *at(&x, n, h, w, c);
					if (reduces)
						*at(&y, n, h, w, c) += value;
					else
						*at(&y, n, h, w, c) =
						    pointwise(o, value, b.at ? *at(&b, n, h, w, c) : 0);
				}
	otp_free(x.at);
	otp_free(b.at);
	write_tensor(s, y);
}

static void run_product(state *s, const otp_fake_operation *o)
{
	array a = read_tensor(s, &o->slot[OTP_FAKE_X]), b = read_tensor(s, &o->slot[OTP_FAKE_SECOND]);
	array y = make(&o->slot[OTP_FAKE_Y]);
	const int64_t *size = y.tensor->size, depth = a.tensor->size[3];
	for (int64_t n = 0; n < size[0]; n++)
		for (int64_t i = 0; i < size[2]; i++)
			for (int64_t k = 0; k < depth; k++)
				add_scaled(at(&y, n, i, 0, 0), *at(&a, n, i, k, 0), at(&b, n, k, 0, 0),
					   size[3]);
	otp_free(a.at);
	otp_free(b.at);
	write_tensor(s, y);
}

/* The same places in memory by other sizes and strides: here rows for columns, or nothing. */
static void run_reshape(state *s, const otp_fake_operation *o)
{
	array x = read_tensor(s, &o->slot[OTP_FAKE_X]), y = make(&o->slot[OTP_FAKE_Y]);
	const otp_fake_tensor *from = x.tensor, *to = y.tensor;
	bool turned = from->step[2] == to->step[3] && from->step[3] == to->step[2];
	if (!turned && (from->step[2] != to->step[2] || from->step[3] != to->step[3]))
		otp_fake_forbid("a reshape that is not imitated");
	for (int64_t n = 0; n < to->size[0]; n++)
		for (int64_t i = 0; i < to->size[2]; i++)
			for (int64_t j = 0; j < to->size[3]; j++)
				*at(&y, n, i, j, 0) = turned ? *at(&x, n, j, i, 0) : *at(&x, n, i, j, 0);
	otp_free(x.at);
	write_tensor(s, y);
}

/* One token's query against all keys and values. */
static void attend(const array *q, const array *k, const array *v, int64_t n, int64_t token, double scale,
		   double *shares, double *mix, double *statistics)
{
	int64_t tokens = k->tensor->size[2], channels = q->tensor->size[3];
	double largest = -INFINITY, sum = 0;
	for (int64_t j = 0; j < tokens; j++) {
		shares[j] = scale * dot(at(q, n, token, 0, 0), at(k, n, j, 0, 0), channels);
		largest = fmax(largest, shares[j]);
	}
	for (int64_t j = 0; j < tokens; j++)
		sum += shares[j] = exp(shares[j] - largest);
	for (int64_t j = 0; j < tokens; j++)
		add_scaled(mix, shares[j] / sum, at(v, n, j, 0, 0), channels);
	*statistics = largest + log(sum);
}

static void run_attention(state *s, const otp_fake_operation *o)
{
	const otp_fake_tensor *kept = &o->slot[OTP_FAKE_KEPT];
	array q = read_tensor(s, &o->slot[OTP_FAKE_X]), k = read_tensor(s, &o->slot[OTP_FAKE_SECOND]);
	array v = read_tensor(s, &o->slot[OTP_FAKE_THIRD]), scale = read_tensor(s, &o->slot[OTP_FAKE_SCALE]);
	array y = make(&o->slot[OTP_FAKE_Y]);
	int64_t batch = q.tensor->size[0], tokens = q.tensor->size[2];
	double *shares = otp_calloc((size_t)k.tensor->size[2], sizeof *shares);
	double *statistics = otp_calloc((size_t)(batch * tokens), sizeof *statistics);
	for (int64_t n = 0; n < batch; n++)
		for (int64_t i = 0; i < tokens; i++)
			attend(&q, &k, &v, n, i, *scale.at, shares, at(&y, n, i, 0, 0),
			       &statistics[n * tokens + i]);
	write_tensor(s, y);
	if (kept->exists)
		write_tensor(s, (array){kept, statistics});
	else
		otp_free(statistics);
	otp_free(shares);
	otp_free(q.at);
	otp_free(k.at);
	otp_free(v.at);
	otp_free(scale.at);
}

static void run_operation(state *s, const otp_fake_operation *o)
{
	switch ((int)o->type) {
	case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
	case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
		run_elements(s, o);
		break;
	case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
		run_product(s, o);
		break;
	case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
		run_reshape(s, o);
		break;
	case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
		run_attention(s, o);
		break;
	default:
		run_convolution(s, o);
	}
}

void otp_fake_run_execute(void *argument)
{
	static unsigned runs;
	otp_fake_run *run = argument;
	state s = {.run = run, .odd = run->engine.varies && runs++ % 2};
	if (run->workspace_bytes)
		memset(run->workspace, 0xff, run->workspace_bytes);
	for (int i = 0; i < run->program->count; i++)
		run_operation(&s, &run->program->operations[i]);
	for (int i = 0; i < s.between.count; i++)
		otp_free(s.between.at[i]);
}
