#include "onnx.h"
#include "onnx.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

struct onnx_run {
	Onnx__ModelProto *model;
	onnx_tensor *each;
	size_t count, room;
};

int64_t onnx_count(const onnx_tensor *t)
{
	int64_t count = 1;
	for (int i = 0; i < t->rank; i++)
		count *= t->dims[i];
	return count;
}

static onnx_tensor made(int rank, const int64_t *dims)
{
	onnx_tensor t = {.rank = rank};
	assert_true(rank <= ONNX_RANK);
	for (int i = 0; i < rank; i++)
		t.dims[i] = dims[i];
	t.values = otp_calloc((size_t)onnx_count(&t), sizeof *t.values);
	return t;
}

static void keep(onnx_run *r, const char *name, onnx_tensor t)
{
	for (size_t i = 0; i < r->count; i++)
		assert_string_not_equal(r->each[i].name, name);
	t.name = name;
	r->each = otp_grown(r->each, r->count, &r->room, sizeof *r->each);
	r->each[r->count++] = t;
}

const onnx_tensor *onnx_result(const onnx_run *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->each[i].name, name) == 0)
			return &r->each[i];
	fail_msg("%s is read before it is made", name);
	return NULL;
}

/* ---- the file ---- */

static onnx_tensor constant(const Onnx__TensorProto *p)
{
	onnx_tensor t = made((int)p->n_dims, p->dims);
	size_t count = (size_t)onnx_count(&t);
	assert_true(p->data_type == 1 || p->data_type == 7);
	assert_int_equal(p->raw_data.len, count * (p->data_type == 1 ? sizeof(float) : sizeof(int64_t)));
	for (size_t i = 0; i < count; i++) {
		float f;
		int64_t n;
		memcpy(p->data_type == 1 ? (void *)&f : &n,
		       p->raw_data.data + i * (p->data_type == 1 ? sizeof f : sizeof n),
		       p->data_type == 1 ? sizeof f : sizeof n);
		t.values[i] = p->data_type == 1 ? f : (double)n;
	}
	return t;
}

onnx_run *onnx_open(const uint8_t *file, size_t bytes)
{
	onnx_run *r = otp_calloc(1, sizeof *r);
	r->model = onnx__model_proto__unpack(NULL, bytes, file);
	assert_non_null(r->model);
	assert_int_equal(r->model->ir_version, 8);
	assert_int_equal(r->model->opset_import[0]->version, 17);
	const Onnx__GraphProto *g = r->model->graph;
	for (size_t i = 0; i < g->n_initializer; i++)
		keep(r, g->initializer[i]->name, constant(g->initializer[i]));
	return r;
}

void onnx_close(onnx_run *r)
{
	for (size_t i = 0; i < r->count; i++)
		otp_free(r->each[i].values);
	otp_free(r->each);
	onnx__model_proto__free_unpacked(r->model, NULL);
	otp_free(r);
}

static const Onnx__ValueInfoProto *input_of(const onnx_run *r, const char *name)
{
	const Onnx__GraphProto *g = r->model->graph;
	for (size_t i = 0; i < g->n_input; i++)
		if (strcmp(g->input[i]->name, name) == 0)
			return g->input[i];
	return NULL;
}

bool onnx_takes(const onnx_run *r, const char *name) { return input_of(r, name) != NULL; }

void onnx_give(onnx_run *r, const char *name, const double *values, int rank, const int64_t *dims)
{
	const Onnx__ValueInfoProto *v = input_of(r, name);
	const Onnx__TensorShapeProto *s = v->type->tensor_type->shape;
	assert_int_equal(s->n_dim, rank);
	assert_string_equal(s->dim[0]->dim_param, "N");
	for (int i = 1; i < rank; i++)
		assert_int_equal(s->dim[i]->dim_value, dims[i]);
	onnx_tensor t = made(rank, dims);
	memcpy(t.values, values, (size_t)onnx_count(&t) * sizeof *values);
	keep(r, v->name, t);
}

/* ---- attributes ---- */

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *n, const char *name)
{
	for (size_t i = 0; i < n->n_attribute; i++)
		if (strcmp(n->attribute[i]->name, name) == 0)
			return n->attribute[i];
	return NULL;
}

static int64_t int_of(const Onnx__NodeProto *n, const char *name, int64_t otherwise)
{
	const Onnx__AttributeProto *a = attribute(n, name);
	return a ? a->i : otherwise;
}

static int64_t ints_of(const Onnx__NodeProto *n, const char *name, int at, int64_t otherwise)
{
	const Onnx__AttributeProto *a = attribute(n, name);
	return a ? a->ints[at] : otherwise;
}

/* ---- places in tensors ---- */

/* Counts `at` up within dims; false after the last. */
static bool step(int rank, const int64_t *dims, int64_t *at)
{
	for (int i = rank - 1; i >= 0; i--) {
		if (++at[i] < dims[i])
			return true;
		at[i] = 0;
	}
	return false;
}

static double *cell(const onnx_tensor *t, const int64_t *at)
{
	int64_t place = 0;
	for (int i = 0; i < t->rank; i++)
		place = place * t->dims[i] + at[i];
	return &t->values[place];
}

/* The cell of a tensor that is broadcast to rank `rank`. */
static double broadcast(const onnx_tensor *t, int rank, const int64_t *at)
{
	int64_t own[ONNX_RANK] = {0};
	for (int i = 0; i < t->rank; i++)
		own[i] = t->dims[i] == 1 ? 0 : at[rank - t->rank + i];
	return *cell(t, own);
}

/* ---- operators ---- */

typedef onnx_tensor operator_of(const Onnx__NodeProto *n, const onnx_tensor *const *in);

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double reciprocal(double x) { return 1 / x; }
static double identity(double x) { return x; }

static onnx_tensor each_of(const onnx_tensor *x, double (*f)(double))
{
	onnx_tensor y = made(x->rank, x->dims);
	for (int64_t i = 0; i < onnx_count(x); i++)
		y.values[i] = f(x->values[i]);
	return y;
}

static onnx_tensor pointwise(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	static const struct {
		const char *type;
		double (*f)(double);
	} ALL[] = {{"Identity", identity}, {"Sigmoid", sigmoid}, {"Sqrt", sqrt}, {"Reciprocal", reciprocal}};
	for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
		if (strcmp(ALL[i].type, n->op_type) == 0)
			return each_of(in[0], ALL[i].f);
	fail();
	return made(0, NULL);
}

static onnx_tensor leaky_relu(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	onnx_tensor y = each_of(in[0], identity);
	for (int64_t i = 0; i < onnx_count(&y); i++)
		y.values[i] *= y.values[i] < 0 ? attribute(n, "alpha")->f : 1;
	return y;
}

static onnx_tensor of_two(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	const onnx_tensor *a = in[0], *b = in[1];
	int64_t dims[ONNX_RANK], at[ONNX_RANK] = {0};
	int rank = a->rank > b->rank ? a->rank : b->rank;
	for (int i = 0; i < rank; i++) {
		int64_t p = i < rank - a->rank ? 1 : a->dims[i - rank + a->rank];
		int64_t q = i < rank - b->rank ? 1 : b->dims[i - rank + b->rank];
		assert_true(p == q || p == 1 || q == 1);
		dims[i] = p > q ? p : q;
	}
	onnx_tensor y = made(rank, dims);
	do {
		double p = broadcast(a, rank, at), q = broadcast(b, rank, at);
		*cell(&y, at) = n->op_type[0] == 'A' ? p + q : p * q;
	} while (step(rank, dims, at));
	return y;
}

static onnx_tensor transpose(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	int64_t dims[ONNX_RANK], at[ONNX_RANK] = {0}, from[ONNX_RANK];
	for (int i = 0; i < in[0]->rank; i++)
		dims[i] = in[0]->dims[ints_of(n, "perm", i, -1)];
	onnx_tensor y = made(in[0]->rank, dims);
	do {
		for (int i = 0; i < y.rank; i++)
			from[ints_of(n, "perm", i, -1)] = at[i];
		*cell(&y, at) = *cell(in[0], from);
	} while (step(y.rank, dims, at));
	return y;
}

static onnx_tensor reshape(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	int64_t dims[ONNX_RANK], known = 1, left = -1;
	(void)n;
	int rank = (int)in[1]->dims[0];
	for (int i = 0; i < rank; i++) {
		dims[i] = (int64_t)in[1]->values[i];
		if (dims[i] == 0)
			dims[i] = in[0]->dims[i];
		if (dims[i] < 0) {
			assert_int_equal(left, -1);
			left = i;
		} else {
			known *= dims[i];
		}
	}
	if (left >= 0)
		dims[left] = onnx_count(in[0]) / known;
	onnx_tensor y = made(rank, dims);
	assert_int_equal(onnx_count(&y), onnx_count(in[0]));
	memcpy(y.values, in[0]->values, (size_t)onnx_count(&y) * sizeof *y.values);
	return y;
}

static onnx_tensor concat(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	int64_t dims[ONNX_RANK], at[ONNX_RANK] = {0}, axis = int_of(n, "axis", 0), seam = in[0]->dims[axis];
	memcpy(dims, in[0]->dims, sizeof dims);
	dims[axis] += in[1]->dims[axis];
	onnx_tensor y = made(in[0]->rank, dims);
	do {
		int64_t from[ONNX_RANK];
		memcpy(from, at, sizeof from);
		from[axis] -= at[axis] < seam ? 0 : seam;
		*cell(&y, at) = *cell(in[at[axis] >= seam], from);
	} while (step(y.rank, dims, at));
	return y;
}

static onnx_tensor slice(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	int64_t dims[ONNX_RANK], at[ONNX_RANK] = {0}, axis = (int64_t)in[3]->values[0],
				 begin = (int64_t)in[1]->values[0];
	(void)n;
	memcpy(dims, in[0]->dims, sizeof dims);
	assert_true(in[2]->values[0] <= (double)dims[axis]);
	dims[axis] = (int64_t)in[2]->values[0] - begin;
	onnx_tensor y = made(in[0]->rank, dims);
	do {
		int64_t from[ONNX_RANK];
		memcpy(from, at, sizeof from);
		from[axis] += begin;
		*cell(&y, at) = *cell(in[0], from);
	} while (step(y.rank, dims, at));
	return y;
}

static onnx_tensor reduce_sum(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	int64_t dims[ONNX_RANK], at[ONNX_RANK] = {0};
	assert_int_equal(int_of(n, "keepdims", 1), 1);
	memcpy(dims, in[0]->dims, sizeof dims);
	for (int64_t i = 0; i < in[1]->dims[0]; i++)
		dims[(int64_t)in[1]->values[i]] = 1;
	onnx_tensor y = made(in[0]->rank, dims);
	do {
		int64_t to[ONNX_RANK];
		for (int i = 0; i < y.rank; i++)
			to[i] = dims[i] == 1 ? 0 : at[i];
		*cell(&y, to) += *cell(in[0], at);
	} while (step(y.rank, in[0]->dims, at));
	return y;
}

/* Convolution and its transpose: the same sum, read or written at the place that the window names. */
static onnx_tensor convolve(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	const onnx_tensor *x = in[0], *w = in[1];
	bool back = strcmp(n->op_type, "ConvTranspose") == 0;
	int64_t stride = ints_of(n, "strides", 0, 1), pad = ints_of(n, "pads", 0, 0),
		groups = int_of(n, "group", 1);
	int64_t dims[ONNX_RANK] = {x->dims[0], back ? w->dims[1] * groups : w->dims[0]}, at[ONNX_RANK] = {0};
	for (int i = 2; i < 4; i++)
		dims[i] = back ? (x->dims[i] - 1) * stride - 2 * pad + w->dims[i] +
				     ints_of(n, "output_padding", i - 2, 0)
			       : (x->dims[i] + 2 * pad - w->dims[i]) / stride + 1;
	onnx_tensor y = made(4, dims);
	const onnx_tensor *small = back ? x : &y, *large = back ? &y : x;
	int64_t small_group = w->dims[0] / groups;
	do { /* at: of the weight, (channel of small, channel of large in its group, kh, kw) */
		int64_t far = at[0] / small_group * w->dims[1] + at[1];
		for (int64_t s = 0; s < x->dims[0]; s++)
			for (int64_t h = 0; h < small->dims[2]; h++)
				for (int64_t v = 0; v < small->dims[3]; v++) {
					int64_t p[] = {s, at[0], h, v};
					int64_t q[] = {s, far, h * stride - pad + at[2],
						       v * stride - pad + at[3]};
					if (q[2] < 0 || q[2] >= large->dims[2] || q[3] < 0 ||
					    q[3] >= large->dims[3])
						continue;
					*cell(&y, back ? q : p) += *cell(w, at) * *cell(x, back ? p : q);
				}
	} while (step(4, w->dims, at));
	return y;
}

static onnx_tensor matmul(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	const onnx_tensor *a = in[0], *b = in[1];
	(void)n;
	const int64_t dims[] = {a->dims[0] > b->dims[0] ? a->dims[0] : b->dims[0], a->dims[1], a->dims[2],
				b->dims[3]};
	int64_t at[ONNX_RANK] = {0};
	onnx_tensor y = made(4, dims);
	assert_true(a->rank == 4 && b->rank == 4 && a->dims[3] == b->dims[2]);
	do
		for (int64_t k = 0; k < a->dims[3]; k++) {
			const int64_t p[] = {at[0], at[1], at[2], k}, q[] = {at[0], at[1], k, at[3]};
			*cell(&y, at) += broadcast(a, 4, p) * broadcast(b, 4, q);
		}
	while (step(4, dims, at));
	return y;
}

/* Along the last axis. */
static onnx_tensor softmax(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	onnx_tensor y = each_of(in[0], identity);
	int64_t length = y.dims[y.rank - 1];
	assert_int_equal(int_of(n, "axis", -1), -1);
	for (double *row = y.values; row < y.values + onnx_count(&y); row += length) {
		double most = row[0], sum = 0;
		for (int64_t i = 0; i < length; i++)
			most = fmax(most, row[i]);
		for (int64_t i = 0; i < length; i++)
			sum += row[i] = exp(row[i] - most);
		for (int64_t i = 0; i < length; i++)
			row[i] /= sum;
	}
	return y;
}

static onnx_tensor instance_normalization(const Onnx__NodeProto *n, const onnx_tensor *const *in)
{
	onnx_tensor y = each_of(in[0], identity);
	int64_t length = 1;
	for (int i = 2; i < y.rank; i++)
		length *= y.dims[i];
	for (int64_t k = 0; k < y.dims[0] * y.dims[1]; k++) {
		double *x = y.values + k * length, mean = 0, square = 0;
		for (int64_t i = 0; i < length; i++)
			mean += x[i] / (double)length;
		for (int64_t i = 0; i < length; i++)
			square += (x[i] - mean) * (x[i] - mean) / (double)length;
		for (int64_t i = 0; i < length; i++)
			x[i] = in[1]->values[k % y.dims[1]] * (x[i] - mean) /
				   sqrt(square + attribute(n, "epsilon")->f) +
			       in[2]->values[k % y.dims[1]];
	}
	return y;
}

static const struct {
	const char *type;
	operator_of *work;
} OPERATORS[] = {
    {"Identity", pointwise},
    {"Sigmoid", pointwise},
    {"Sqrt", pointwise},
    {"Reciprocal", pointwise},
    {"LeakyRelu", leaky_relu},
    {"Add", of_two},
    {"Mul", of_two},
    {"Transpose", transpose},
    {"Reshape", reshape},
    {"Concat", concat},
    {"Slice", slice},
    {"ReduceSum", reduce_sum},
    {"Conv", convolve},
    {"ConvTranspose", convolve},
    {"MatMul", matmul},
    {"Softmax", softmax},
    {"InstanceNormalization", instance_normalization},
};

static operator_of *find_operator(const char *type)
{
	for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS; i++)
		if (strcmp(OPERATORS[i].type, type) == 0)
			return OPERATORS[i].work;
	fail_msg("operator %s", type);
	return NULL;
}

void onnx_work(onnx_run *r)
{
	enum { MOST_INPUTS = 5 };
	const Onnx__GraphProto *g = r->model->graph;
	for (size_t i = 0; i < g->n_node; i++) {
		const Onnx__NodeProto *n = g->node[i];
		const onnx_tensor *in[MOST_INPUTS] = {0};
		assert_true(n->n_input <= MOST_INPUTS && n->n_output == 1);
		for (size_t k = 0; k < n->n_input; k++)
			in[k] = onnx_result(r, n->input[k]);
		keep(r, n->output[0], find_operator(n->op_type)(n, in));
	}
}
