#include "nn/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

otp_params *otp_params_new(void) { return otp_calloc(1, sizeof(otp_params)); }

void otp_params_free(otp_params *p)
{
	if (!p)
		return;
	otp_free(p->info);
	otp_free(p);
}

static void init_uniform(const otp_param_info *info, otp_stream stream, float *values)
{
	float half_range = sqrtf(3.0f) * info->spread;
	int64_t count = otp_shape_count(info->shape);
	for (int64_t i = 0; i < count; i += 4) {
		otp_philox words = otp_philox_block(stream, OTP_PURPOSE_INIT, (uint32_t)(i / 4));
		for (int64_t j = i; j < count && j < i + 4; j++)
			values[j] = info->center + half_range * (2 * otp_unit_float(words.v[j - i]) - 1);
	}
}

void otp_params_init(const otp_params *p, uint64_t seed, otp_network network, float *row)
{
	memset(row, 0, (size_t)p->elements * sizeof *row);
	for (int k = 0; k < p->count; k++) {
		const otp_param_info *info = &p->info[k];
		float *values = row + info->offset;
		if (info->identity)
			for (int i = 0; i < info->shape.w && i < info->shape.c; i++)
				values[(int64_t)i * info->shape.c + i] = 1;
		else
			init_uniform(info, otp_stream_make(seed, (uint32_t)network, (uint32_t)k), values);
	}
}

otp_builder otp_builder_make(otp_graph *g, otp_params *params, int span, int64_t base)
{
	otp_builder b = {.graph = g, .params = params, .span = span, .base = base};
	return b;
}

void otp_builder_done(otp_builder *b)
{
	otp_free(b->nodes);
	b->nodes = NULL;
}

static int find(const otp_params *p, const char *name)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0)
			return k;
	return -1;
}

static int discover(otp_params *p, otp_param_info info)
{
	if (p->count == p->room) {
		size_t old_bytes = (size_t)p->room * sizeof *p->info;
		p->room = p->room ? 2 * p->room : 64;
		p->info = otp_realloc(p->info, old_bytes, (size_t)p->room * sizeof *p->info);
	}
	info.offset = p->elements;
	p->elements += (int64_t)otp_round_up((size_t)otp_shape_count(info.shape), 16);
	p->trainable += otp_shape_count(info.shape);
	p->info[p->count] = info;
	return p->count++;
}

static otp_node *param(otp_builder *b, const char *name, otp_param_info info)
{
	OTP_ASSERT(strlen(name) < sizeof info.name, "parameter name '%s' is too long", name);
	snprintf(info.name, sizeof info.name, "%s", name);
	int k = find(b->params, name);
	if (k < 0)
		k = discover(b->params, info);
	OTP_ASSERT(otp_shape_equal(b->params->info[k].shape, info.shape), "%s has two shapes", name);
	if (k >= b->node_room) {
		size_t old_bytes = (size_t)b->node_room * sizeof *b->nodes;
		b->node_room = b->params->room;
		b->nodes = otp_realloc(b->nodes, old_bytes, (size_t)b->node_room * sizeof *b->nodes);
	}
	if (!b->nodes[k])
		b->nodes[k] = otp_view(b->graph, b->params->info[k].name, b->span,
				       b->base + b->params->info[k].offset, info.shape);
	return b->nodes[k];
}

otp_node *otp_param_uniform(otp_builder *b, const char *name, otp_shape shape, float spread)
{
	return param(b, name, (otp_param_info){.shape = shape, .spread = spread});
}

otp_node *otp_param_constant(otp_builder *b, const char *name, otp_shape shape, float value)
{
	return param(b, name, (otp_param_info){.shape = shape, .center = value});
}

otp_node *otp_param_identity(otp_builder *b, const char *name, otp_shape shape)
{
	return param(b, name, (otp_param_info){.shape = shape, .identity = true});
}

otp_node **otp_builder_grads(otp_builder *b, otp_node *loss, otp_node *also, otp_node **also_grad)
{
	int count = 0, params = b->params->count;
	otp_node **wrt = otp_calloc((size_t)params + 1, sizeof *wrt);
	otp_node **found = otp_calloc((size_t)params + 1, sizeof *found);
	otp_node **grads = otp_calloc((size_t)params, sizeof *grads);
	int *index = otp_calloc((size_t)params, sizeof *index);
	for (int k = 0; k < params && k < b->node_room; k++)
		if (b->nodes[k]) {
			index[count] = k;
			wrt[count++] = b->nodes[k];
		}
	wrt[count] = also;
	otp_grad(loss, wrt, count + (also != NULL), found);
	for (int i = 0; i < count; i++)
		grads[index[i]] = found[i];
	if (also)
		*also_grad = found[count];
	otp_free(index);
	otp_free(found);
	otp_free(wrt);
	return grads;
}

/* A parameter the loss does not depend on keeps the zero its span was made with. */
void otp_builder_output(otp_builder *b, otp_node **grads, int span, int64_t base)
{
	for (int k = 0; k < b->params->count; k++)
		if (grads[k])
			otp_output(otp_reshape(grads[k], b->params->info[k].shape), span,
				   base + b->params->info[k].offset);
	otp_free(grads);
}
