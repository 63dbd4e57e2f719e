/* case: a case as a graph, its inputs' values, and its name. */
#include "check_ops/harness.h"

#include <stdio.h>

otp_node *build_node(const test_case *t, otp_node *const *in)
{
	otp_node *args[OTP_MAX_INPUTS];
	for (int i = 0; i < t->count; i++) {
		int third = in[i]->shape.c / 3;
		args[i] = t->apart >> i & 1 ? otp_slice(in[i], OTP_AXIS_C, third, third) : in[i];
	}
	return t->build ? t->build(t, args) : otp_node_new(t->op, t->attr, args, t->count);
}

int64_t apart_at(const test_case *t, int i, int64_t at)
{
	int third = t->in[i].c / 3;
	return t->apart >> i & 1 ? at / third * t->in[i].c + third + at % third : at;
}

static otp_type input_type(const test_case *t, int i)
{
	return t->fill[i] == WORDS || t->fill[i] == PICKS ? OTP_U32 : OTP_F32;
}

built build_case(const test_case *t, bool through_copy)
{
	built b = {.graph = otp_graph_new()};
	otp_node *args[OTP_MAX_INPUTS];
	for (int i = 0; i < t->count; i++)
		args[i] = b.in[i] = otp_input(b.graph, "in", input_type(t, i), t->in[i]);
	if (through_copy && input_type(t, 0) == OTP_F32)
		args[0] = b.through = otp_copy(b.in[0]);
	b.out = build_node(t, args);
	return b;
}

static double random_unit(uint32_t stream, uint32_t i)
{
	return otp_random_uniform(otp_stream_make(stream, 0, 0), OTP_PURPOSE_SYNTH, i);
}

double random_value(fill how, uint32_t stream, uint32_t i)
{
	double unit = random_unit(stream, i), sign = random_unit(stream + 1000, i) < 0.5 ? -1 : 1;
	switch (how) {
	case AWAY:
		return sign * (0.1 + 1.9 * unit);
	case WIDE:
		return 120 * unit - 60;
	case POSITIVE:
	case SHARE:
		return 0.5 + 1.5 * unit;
	case ZERO:
		return 0;
	default:
		return 4 * unit - 2;
	}
}

static void make_rows_shares(double *x, otp_shape s)
{
	int64_t rows = otp_shape_count(s) / s.c;
	for (int64_t r = 0; r < rows; r++) {
		double total = 0;
		for (int c = 0; c < s.c; c++)
			total += x[r * s.c + c];
		for (int c = 0; c < s.c; c++)
			x[r * s.c + c] /= total;
	}
}

static uint32_t random_word(const test_case *t, int i, uint32_t stream, uint32_t k)
{
	uint32_t word = otp_random_u32(otp_stream_make(stream, 0, 0), OTP_PURPOSE_SYNTH, k);
	return t->fill[i] == PICKS ? word % (2 * (uint32_t)t->in[0].n) : word;
}

values make_values(const test_case *t)
{
	values v = {0};
	for (int i = 0; i < t->count; i++) {
		int64_t count = otp_shape_count(t->in[i]);
		uint32_t stream = (uint32_t)(t->op * 64 + i);
		v.host[i] = otp_calloc((size_t)count, 4);
		v.exact[i] = otp_calloc((size_t)count, sizeof(double));
		for (int64_t k = 0; k < count; k++)
			v.exact[i][k] = random_value(t->fill[i], stream, (uint32_t)k);
		if (t->fill[i] == SHARE)
			make_rows_shares(v.exact[i], t->in[i]);
		for (int64_t k = 0; k < count; k++)
			if (input_type(t, i) == OTP_U32)
				v.exact[i][k] = ((uint32_t *)v.host[i])[k] =
				    random_word(t, i, stream, (uint32_t)k);
			else
				v.exact[i][k] = ((float *)v.host[i])[k] = (float)v.exact[i][k];
	}
	return v;
}

void drop_values(const test_case *t, values *v)
{
	for (int i = 0; i < t->count; i++) {
		otp_free(v->host[i]);
		otp_free(v->exact[i]);
	}
}

const char *describe(const test_case *t)
{
	static char text[256];
	int at = snprintf(text, sizeof text, "%s", otp_op_name(t->op));
	for (int i = 0; i < t->count; i++)
		at += snprintf(text + at, sizeof text - (size_t)at, "%s%dx%dx%dx%d", i ? ", " : "(",
			       t->in[i].n, t->in[i].h, t->in[i].w, t->in[i].c);
	at += snprintf(text + at, sizeof text - (size_t)at, ")");
	if (t->op == OTP_OP_matmul)
		snprintf(text + at, sizeof text - (size_t)at, "%s%s", t->attr.matmul.ta ? " a'" : "",
			 t->attr.matmul.tb ? " b'" : "");
	else if (t->bf16)
		snprintf(text + at, sizeof text - (size_t)at, " stride %d pad %d", t->attr.conv.stride,
			 t->attr.conv.pad);
	return text;
}
