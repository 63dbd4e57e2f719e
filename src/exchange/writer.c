#include "exchange/writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { IR_VERSION = 8, OPERATOR_SET = 17, FLOAT_TYPE = 1, INT64_TYPE = 7 }; /* of onnx.proto */

/* Lists of pointers, as protobuf-c wants them, that grow. */
typedef struct list {
	void **each;
	size_t count, room;
} list;

struct otp_onnx {
	list blocks; /* all memory that anything here points to */
	list nodes, constants, inputs, outputs, facts;
};

static void append(list *l, void *one)
{
	l->each = otp_grown(l->each, l->count, &l->room, sizeof *l->each);
	l->each[l->count++] = one;
}

static void *block(otp_onnx *o, size_t count, size_t bytes)
{
	void *memory = otp_calloc(count ? count : 1, bytes);
	append(&o->blocks, memory);
	return memory;
}

static char *keep(otp_onnx *o, const char *text)
{
	char *copy = otp_strdup(text);
	append(&o->blocks, copy);
	return copy;
}

static void *keep_values(otp_onnx *o, const void *values, int count, size_t bytes)
{
	void *copy = block(o, (size_t)count, bytes);
	memcpy(copy, values, (size_t)count * bytes);
	return copy;
}

otp_onnx *otp_onnx_new(void) { return otp_calloc(1, sizeof(otp_onnx)); }

void otp_onnx_free(otp_onnx *o)
{
	list *lists[] = {&o->blocks, &o->nodes, &o->constants, &o->inputs, &o->outputs, &o->facts};
	for (size_t i = 0; i < o->blocks.count; i++)
		otp_free(o->blocks.each[i]);
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		otp_free(lists[i]->each);
	otp_free(o);
}

/* ---- nodes ---- */

static Onnx__NodeProto *last(otp_onnx *o) { return o->nodes.each[o->nodes.count - 1]; }

const char *otp_onnx_put(otp_onnx *o, const char *type, ...)
{
	Onnx__NodeProto *node = block(o, 1, sizeof *node);
	onnx__node_proto__init(node);
	list inputs = {0};
	va_list names;
	va_start(names, type);
	for (char *name; (name = va_arg(names, char *));)
		append(&inputs, name);
	va_end(names);
	append(&o->blocks, inputs.each);
	append(&o->nodes, node);
	char name[80];
	snprintf(name, sizeof name, "%s_%zu", type, o->nodes.count);
	node->op_type = keep(o, type);
	node->name = keep(o, name);
	node->n_input = inputs.count;
	node->input = (char **)inputs.each;
	node->n_output = 1;
	node->output = block(o, 1, sizeof *node->output);
	return node->output[0] = node->name;
}

static Onnx__AttributeProto *attribute(otp_onnx *o, const char *name)
{
	enum { MOST = 8 };
	Onnx__NodeProto *node = last(o);
	Onnx__AttributeProto *a = block(o, 1, sizeof *a);
	onnx__attribute_proto__init(a);
	a->name = keep(o, name);
	if (!node->attribute)
		node->attribute = block(o, MOST, sizeof *node->attribute);
	OTP_ASSERT(node->n_attribute < MOST, "a node of more attributes");
	return node->attribute[node->n_attribute++] = a;
}

void otp_onnx_int(otp_onnx *o, const char *name, int64_t value)
{
	Onnx__AttributeProto *a = attribute(o, name);
	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
	a->i = value;
}

void otp_onnx_ints(otp_onnx *o, const char *name, int count, const int64_t *values)
{
	Onnx__AttributeProto *a = attribute(o, name);
	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
	a->n_ints = (size_t)count;
	a->ints = keep_values(o, values, count, sizeof *values);
}

void otp_onnx_float(otp_onnx *o, const char *name, float value)
{
	Onnx__AttributeProto *a = attribute(o, name);
	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
	a->f = value;
}

const char *otp_onnx_call(otp_onnx *o, const char *name) { return last(o)->output[0] = keep(o, name); }

/* ---- constants ---- */

static const char *constant(otp_onnx *o, const char *name, int type, int dims, const int64_t *dim,
			    const void *values, size_t bytes)
{
	Onnx__TensorProto *t = block(o, 1, sizeof *t);
	char made[40];
	size_t count = 1;
	onnx__tensor_proto__init(t);
	for (int i = 0; i < dims; i++)
		count *= (size_t)dim[i];
	snprintf(made, sizeof made, "constant_%zu", o->constants.count);
	t->name = keep(o, name ? name : made);
	t->data_type = type;
	t->n_dims = (size_t)dims;
	t->dims = dims ? keep_values(o, dim, dims, sizeof *dim) : NULL;
	t->raw_data.len = count * bytes;
	t->raw_data.data = block(o, count, bytes);
	memcpy(t->raw_data.data, values, count * bytes);
	append(&o->constants, t);
	return t->name;
}

const char *otp_onnx_floats(otp_onnx *o, const char *name, int dims, const int64_t *dim, const float *values)
{
	return constant(o, name, FLOAT_TYPE, dims, dim, values, sizeof *values);
}

const char *otp_onnx_number(otp_onnx *o, float value) { return otp_onnx_floats(o, NULL, 0, NULL, &value); }

const char *otp_onnx_list(otp_onnx *o, int count, const int64_t *values)
{
	int64_t dim = count;
	return constant(o, NULL, INT64_TYPE, 1, &dim, values, sizeof *values);
}

/* ---- the graph ---- */

static Onnx__ValueInfoProto *value(otp_onnx *o, const char *name, int dims, const int64_t *dim)
{
	Onnx__ValueInfoProto *v = block(o, 1, sizeof *v);
	Onnx__TypeProto *type = block(o, 1, sizeof *type);
	Onnx__TypeProto__Tensor *tensor = block(o, 1, sizeof *tensor);
	Onnx__TensorShapeProto *shape = block(o, 1, sizeof *shape);
	onnx__value_info_proto__init(v);
	onnx__type_proto__init(type);
	onnx__type_proto__tensor__init(tensor);
	onnx__tensor_shape_proto__init(shape);
	v->name = keep(o, name);
	v->type = type;
	type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	type->tensor_type = tensor;
	tensor->elem_type = FLOAT_TYPE;
	tensor->shape = shape;
	shape->n_dim = (size_t)dims;
	shape->dim = block(o, (size_t)dims, sizeof *shape->dim);
	for (int i = 0; i < dims; i++) {
		Onnx__TensorShapeProto__Dimension *d = shape->dim[i] = block(o, 1, sizeof *d);
		onnx__tensor_shape_proto__dimension__init(d);
		d->value_case = i ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
				  : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
		if (i)
			d->dim_value = dim[i];
		else
			d->dim_param = keep(o, "N");
	}
	return v;
}

const char *otp_onnx_input(otp_onnx *o, const char *name, int dims, const int64_t *dim)
{
	Onnx__ValueInfoProto *v = value(o, name, dims, dim);
	append(&o->inputs, v);
	return v->name;
}

void otp_onnx_output(otp_onnx *o, const char *name, int dims, const int64_t *dim)
{
	append(&o->outputs, value(o, name, dims, dim));
}

void otp_onnx_fact(void *to, const char *key, const char *value)
{
	otp_onnx *o = to;
	Onnx__StringStringEntryProto *entry = block(o, 1, sizeof *entry);
	onnx__string_string_entry_proto__init(entry);
	entry->key = keep(o, key);
	entry->value = keep(o, value);
	append(&o->facts, entry);
}

uint8_t *otp_onnx_pack(otp_onnx *o, const char *name, size_t *bytes)
{
	Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
	Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
	Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *sets[] = {&set};
	set.version = OPERATOR_SET;
	graph.name = keep(o, name);
	graph.n_node = o->nodes.count;
	graph.node = (Onnx__NodeProto **)o->nodes.each;
	graph.n_initializer = o->constants.count;
	graph.initializer = (Onnx__TensorProto **)o->constants.each;
	graph.n_input = o->inputs.count;
	graph.input = (Onnx__ValueInfoProto **)o->inputs.each;
	graph.n_output = o->outputs.count;
	graph.output = (Onnx__ValueInfoProto **)o->outputs.each;
	model.ir_version = IR_VERSION;
	model.producer_name = keep(o, "otplan");
	model.producer_version = keep(o, OTPLAN_VERSION);
	model.graph = &graph;
	model.n_opset_import = 1;
	model.opset_import = sets;
	model.n_metadata_props = o->facts.count;
	model.metadata_props = (Onnx__StringStringEntryProto **)o->facts.each;
	*bytes = onnx__model_proto__get_packed_size(&model);
	uint8_t *file = otp_calloc(*bytes, 1);
	onnx__model_proto__pack(&model, file);
	return file;
}
