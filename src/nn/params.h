/* params: the named parameters of one network, laid out in one span.
 *
 * A network is described by a function that builds graph. Its first run
 * through a fresh otp_params discovers the parameters; later runs (other batch
 * sizes, other programs) find them again by name.
 */
#ifndef OTP_PARAMS_H
#define OTP_PARAMS_H

#include "graph/graph.h"
#include "nn/roles.h"

/* Parameters that are used as one where they lie one behind the other: of all adaptive norms, the weights and
 * the bias of the layer that makes their scales and shifts from the embedding, and what is added to these. */
typedef enum otp_param_group {
	OTP_PARAM_ALONE,
	OTP_PARAM_STYLE_WEIGHT,
	OTP_PARAM_STYLE_BIAS,
	OTP_PARAM_STYLE_CONSTANT, /* of each norm the scales, then the shifts */
	OTP_PARAM_GROUPS
} otp_param_group;

typedef struct otp_param_info {
	char name[96];
	otp_shape shape;
	otp_param_group group;
	int64_t offset; /* elements from the start of a row */
	float spread;	/* initial standard deviation of a uniform draw around `center` */
	float center;
	bool identity; /* initially a diagonal of ones (w, c), zeros elsewhere */
} otp_param_info;

typedef struct otp_params {
	otp_param_info *info;
	int count, room;
	int64_t elements;  /* of one row, a multiple of 16: params start at multiples of 16 */
	int64_t trainable; /* without the padding between parameters */
	bool arranged;
	int64_t group_offset[OTP_PARAM_GROUPS], group_elements[OTP_PARAM_GROUPS]; /* once arranged */
} otp_params;

otp_params *otp_params_new(void);
void otp_params_free(otp_params *p);
/* Puts the members of each group one behind the other, for builds from then on; where padding would come
 * between them, all stay in the order in which they were found. Files keep that order. */
void otp_params_arrange(otp_params *p);
/* Rows of state between the order of files and that of the parameters. */
void otp_params_from_file(const otp_params *p, float *rows, int count);
void otp_params_to_file(const otp_params *p, float *rows, int count);
const otp_param_info *otp_params_find(const otp_params *p, const char *name); /* NULL: there is none */
/* Initial values of one row: uniform, from (seed, network, name's place, element) alone. */
void otp_params_init(const otp_params *p, uint64_t seed, otp_network network, float *row);

/* One network's build into one graph. Parameters are views of `span` from
 * `base` on; asking twice for a name gives the same node. */
typedef struct otp_builder {
	otp_graph *graph;
	otp_params *params;
	int span;
	int64_t base;
	otp_node **nodes; /* by parameter; otp_builder_done frees */
	int node_room;
	otp_node *groups[OTP_PARAM_GROUPS]; /* those that were asked for as one */
	otp_node *style, *style_of; /* layers.c's: what all adaptive norms are given, made of an embedding */
} otp_builder;

otp_builder otp_builder_make(otp_graph *g, otp_params *params, int span, int64_t base);
void otp_builder_done(otp_builder *b);

/* spread: standard deviation of the initial uniform draw. */
otp_node *otp_param_uniform(otp_builder *b, const char *name, otp_shape shape, float spread);
otp_node *otp_param_constant(otp_builder *b, const char *name, otp_shape shape, float value);
otp_node *otp_param_identity(otp_builder *b, const char *name, otp_shape shape);
/* As uniform or constant, of a group. */
otp_node *otp_param_grouped(otp_builder *b, const char *name, otp_shape shape, float spread, float center,
			    otp_param_group group);
/* A whole group as rows of `columns` values, (1, 1, rows, columns), of parameters that are arranged. */
otp_node *otp_param_group_rows(otp_builder *b, otp_param_group group, int columns);

/* Gradients of a scalar by all parameters used in this build: [params->count], NULL where there is none; and,
 * if `also` is not NULL, by it. For otp_builder_output. */
otp_node **otp_builder_grads(otp_builder *b, otp_node *loss, otp_node *also, otp_node **also_grad);
/* Written to `span` from `base` on; frees the list. */
void otp_builder_output(otp_builder *b, otp_node **grads, int span, int64_t base);

#endif
