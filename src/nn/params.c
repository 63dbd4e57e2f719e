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

const otp_param_info *otp_params_find(const otp_params *p, const char *name)
{
	int k = find(p, name);
	return k < 0 ? NULL : &p->info[k];
}

/* What a parameter takes of a row. */
static int64_t room_of(const otp_param_info *info)
{
	return (int64_t)otp_round_up((size_t)otp_shape_count(info->shape), 16);
}

void otp_params_arrange(otp_params *p)
{
	int64_t at = 0;
	for (int k = 0; k < p->count; k++) {
		const otp_param_info *info = &p->info[k];
		p->arranged |= info->group != OTP_PARAM_ALONE;
		if (info->group != OTP_PARAM_ALONE && room_of(info) != otp_shape_count(info->shape)) {
			p->arranged = false;
			return;
		}
	}
	for (otp_param_group group = 0; group < OTP_PARAM_GROUPS && p->arranged; group++) {
		p->group_offset[group] = at;
		for (int k = 0; k < p->count; k++)
			if (p->info[k].group == group) {
				p->info[k].offset = at;
				at += room_of(&p->info[k]);
			}
		p->group_elements[group] = at - p->group_offset[group];
	}
}

/* One row at a time, through a copy of it. */
static void reorder(const otp_params *p, float *rows, int count, bool to_file)
{
	if (!p->arranged)
		return;
	float *row = otp_calloc((size_t)p->elements, sizeof *row);
	for (int r = 0; r < count; r++) {
		float *own = rows + r * p->elements;
		memcpy(row, own, (size_t)p->elements * sizeof *row);
		int64_t filed = 0;
		for (int k = 0; k < p->count; k++) {
			int64_t offset = p->info[k].offset, room = room_of(&p->info[k]);
			memcpy(own + (to_file ? filed : offset), row + (to_file ? offset : filed),
			       (size_t)room * sizeof *row);
			filed += room;
		}
	}
	otp_free(row);
}

void otp_params_from_file(const otp_params *p, float *rows, int count) { reorder(p, rows, count, false); }
void otp_params_to_file(const otp_params *p, float *rows, int count) { reorder(p, rows, count, true); }

static int discover(otp_params *p, otp_param_info info)
{
	OTP_ASSERT(!p->arranged, "%s is new to parameters that are arranged", info.name);
	if (p->count == p->room) {
		size_t old_bytes = (size_t)p->room * sizeof *p->info;
		p->room = p->room ? 2 * p->room : 64;
		p->info = otp_realloc(p->info, old_bytes, (size_t)p->room * sizeof *p->info);
	}
	info.offset = p->elements;
	p->elements += room_of(&info);
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

otp_node *otp_param_grouped(otp_builder *b, const char *name, otp_shape shape, float spread, float center,
			    otp_param_group group)
{
	return param(b, name,
		     (otp_param_info){.shape = shape, .spread = spread, .center = center, .group = group});
}

otp_node *otp_param_group_rows(otp_builder *b, otp_param_group group, int columns)
{
	const otp_params *p = b->params;
	otp_shape rows = otp_shape4(1, 1, (int)(p->group_elements[group] / columns), columns);
	OTP_ASSERT(p->arranged && otp_shape_count(rows) == p->group_elements[group],
		   "a group that is no matrix");
	static const char *const NAMES[OTP_PARAM_GROUPS] = {[OTP_PARAM_STYLE_WEIGHT] = "styles.weight",
							    [OTP_PARAM_STYLE_BIAS] = "styles.bias",
							    [OTP_PARAM_STYLE_CONSTANT] = "styles.constant"};
	if (!b->groups[group])
		b->groups[group] =
		    otp_view(b->graph, NAMES[group], b->span, b->base + p->group_offset[group], rows);
	return b->groups[group];
}

otp_node **otp_builder_grads(otp_builder *b, otp_node *loss, otp_node *also, otp_node **also_grad)
{
	int count = 0, params = b->params->count, all = params + OTP_PARAM_GROUPS;
	otp_node **wrt = otp_calloc((size_t)all + 1, sizeof *wrt);
	otp_node **found = otp_calloc((size_t)all + 1, sizeof *found);
	otp_node **grads = otp_calloc((size_t)all, sizeof *grads);
	int *index = otp_calloc((size_t)all, sizeof *index);
	for (int k = 0; k < all; k++) {
		otp_node *node = k >= params ? b->groups[k - params] : k < b->node_room ? b->nodes[k] : NULL;
		if (node) {
			index[count] = k;
			wrt[count++] = node;
		}
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
	for (int group = 0; group < OTP_PARAM_GROUPS; group++)
		if (grads[b->params->count + group])
			otp_output(grads[b->params->count + group], span,
				   base + b->params->group_offset[group]);
	otp_free(grads);
}
