#include "ot/objective.h"
#include "graph/fuse.h"
#include "graph/piece.h"
#include "nn/layers.h"
#include "ot/refine.h"
#include "ot/smoothing.h"

static const otp_shape SCALAR = {1, 1, 1, 1};

static otp_shape sample_shape(const otp_arch *a, int n) { return otp_shape4(n, a->h, a->w, a->c); }

/* The source side, common to every graph: x, its noise, x', and T of it. */
typedef struct source_side {
	otp_node *x, *smoothed, *eps, *y;
} source_side;

typedef enum noise_kind { NOISE_DRAWN, NOISE_PAIRED, NOISE_GIVEN } noise_kind;

static otp_node *noise(otp_graph *g, const otp_arch *a, otp_step_inputs *in, int n, noise_kind kind)
{
	if (kind == NOISE_GIVEN)
		return in->eps = otp_input(g, "eps", OTP_F32, sample_shape(a, n));
	otp_node *eps = otp_normal(in->words, sample_shape(a, n), OTP_PURPOSE_EPS);
	if (kind == NOISE_DRAWN)
		return eps;
	in->signs = otp_input(g, "signs", OTP_F32, otp_shape4(n, 1, 1, 1));
	return otp_mul(eps, in->signs);
}

static otp_step_inputs make_inputs(otp_graph *g, int n)
{
	otp_step_inputs in = {0};
	in.words = otp_input(g, "words", OTP_U32, otp_shape4(n, 1, 1, OTP_WORD_COUNT));
	in.numbers = otp_input(g, "numbers", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	return in;
}

static otp_node *number(const otp_step_inputs *in, enum otp_number which)
{
	return otp_slice(in->numbers, OTP_AXIS_C, which, 1);
}

const char *otp_resident_text(otp_resident data) { return data.rows ? "on the device" : "streamed"; }

/* A side's samples: picked on the device, or the leaf that takes them from the host. */
static otp_node *samples(otp_graph *g, const otp_objective *o, otp_step_inputs *in, otp_side side, int n)
{
	otp_shape shape = sample_shape(&o->arch, n);
	otp_resident data = o->resident[side];
	bool target = side == OTP_TARGET;
	if (!data.rows)
		return *(target ? &in->y : &in->x) = otp_input(g, target ? "y" : "x", OTP_F32, shape);
	int words = otp_gather_words((int64_t)shape.h * shape.w * data.stored);
	otp_node *bytes =
	    otp_view_words(g, "data", otp_data_span(side), 0, otp_shape4(data.rows, 1, 1, words));
	return otp_gather(bytes, in->words, shape, data.stored, otp_pick_word(side));
}

static source_side answer_to(otp_builder *b, const otp_arch *a, otp_step_inputs *in, otp_node *x,
			     otp_node *eps)
{
	source_side s = {.x = x, .eps = eps};
	s.smoothed = otp_smooth(x, eps, number(in, OTP_NUMBER_KEEP), number(in, OTP_NUMBER_SIGMA));
	otp_shape latent = otp_shape4(x->shape.n, 1, 1, a->latent);
	otp_node *z = a->latent ? otp_normal(in->words, latent, OTP_PURPOSE_LATENT) : NULL;
	s.y = otp_transport_build(b, a, (otp_transport_input){s.smoothed, x, eps, z});
	return s;
}

static source_side transport(otp_builder *b, const otp_arch *a, otp_step_inputs *in, otp_node *x,
			     noise_kind kind)
{
	return answer_to(b, a, in, x, noise(b->graph, a, in, x->shape.n, kind));
}

static otp_node *squared_norm(otp_node *x, otp_shape to) { return otp_sum(otp_mul(x, x), to); }

/* t builds the generator. */
static otp_node *cost_from(const otp_objective *o, otp_builder *t, const source_side *s)
{
	return otp_transport_carry(t, &o->arch, o->cost_from_clean ? s->x : s->smoothed);
}

/* tau |from - y|^2 for each sample, (n, 1, 1, 1) */
static otp_node *cost(const otp_objective *o, otp_builder *t, const source_side *s)
{
	otp_node *way = otp_layer_difference(cost_from(o, t, s), s->y);
	otp_node *each = squared_norm(way, otp_shape4(s->y->shape.n, 1, 1, 1));
	return otp_affine(each, (float)o->tau, 0);
}

/* g scaled so that g(0) = 0 and g'(0) = 1. */
static otp_node *apply_g(otp_g g, otp_node *s)
{
	switch (g) {
	case OTP_G_SOFTPLUS:
		return otp_affine(otp_softplus(s), 2, -1.38629436112f);
	case OTP_G_KL:
		return otp_affine(otp_exp(s), 1, -1);
	default:
		return s;
	}
}

static otp_node *report(otp_node *loss, otp_node *cost_or_slope, otp_node *fake, otp_node *real)
{
	otp_node *left = otp_concat(loss, cost_or_slope, OTP_AXIS_C);
	otp_node *right = otp_concat(fake, real, OTP_AXIS_C);
	return otp_output(otp_concat(left, right, OTP_AXIS_C), OTP_SPAN_NONE, 0);
}

otp_step_graph otp_transport_step(const otp_objective *o, otp_params *t, otp_params *v, int shard, int batch,
				  int64_t grads_base)
{
	otp_step_graph step = {.graph = otp_graph_new()};
	otp_builder tb = otp_builder_make(step.graph, t, otp_state_span(OTP_TRANSPORT), 0);
	otp_builder vb = otp_builder_make(step.graph, v, otp_state_span(OTP_POTENTIAL), 0);
	float share = 1.0f / (float)batch;

	step.in = make_inputs(step.graph, shard);
	otp_node *x = samples(step.graph, o, &step.in, OTP_SOURCE, shard);
	source_side s = transport(&tb, &o->arch, &step.in, x, o->noise_pairs ? NOISE_PAIRED : NOISE_DRAWN);
	otp_node *value = otp_potential_build(&vb, &o->arch, s.y);
	otp_node *loss = otp_layer_total(otp_layer_difference(cost(o, &tb, &s), value), share);
	otp_builder_output(&tb, otp_builder_grads(&tb, loss, NULL, NULL), otp_grads_span(OTP_TRANSPORT),
			   grads_base);

	otp_node *clean_cost = otp_affine(squared_norm(otp_layer_difference(s.x, s.y), SCALAR), share, 0);
	step.report = report(loss, clean_cost, otp_layer_total(value, share), otp_constant(step.graph, 0));
	otp_graph_fuse(step.graph);
	otp_builder_done(&tb);
	otp_builder_done(&vb);
	return step;
}

/* V on generated and real samples. */
typedef struct both_values {
	otp_node *fake, *real;
	otp_node *samples, *all; /* as one batch, the generated ones first; NULL where they are apart */
} both_values;

static both_values potential_of_both(otp_builder *vb, const otp_arch *a, otp_node *fake, otp_node *real,
				     bool apart)
{
	both_values v = {0};
	if (apart) {
		v.fake = otp_potential_build(vb, a, fake);
		v.real = otp_potential_build(vb, a, real);
		return v;
	}
	int n = fake->shape.n;
	v.samples = otp_concat(fake, real, OTP_AXIS_N);
	v.all = otp_potential_build(vb, a, v.samples);
	v.fake = otp_slice(v.all, OTP_AXIS_N, 0, n);
	v.real = otp_slice(v.all, OTP_AXIS_N, n, n);
	return v;
}

/* ---- R1 ---- */

/* Whether R1's gradient comes from V's pieces, with both batches as one: where the loss is as steep in every
 * real sample's value. Else it is the second derivative, of V on the real samples alone. */
static bool has_pieces(const otp_objective *o, otp_params *v)
{
	if (o->g != OTP_G_LINEAR || o->second_derivative)
		return false;
	otp_graph *g = otp_graph_new();
	otp_builder b = otp_builder_make(g, v, otp_state_span(OTP_POTENTIAL), 0);
	otp_node *y = otp_input(g, "y", OTP_F32, sample_shape(&o->arch, 2)); /* or a row is no matrix */
	bool pieces = otp_is_piecewise_linear(y, otp_potential_build(&b, &o->arch, y));
	otp_builder_done(&b);
	otp_graph_free(g);
	return pieces;
}

/* share * sum |grad_y V(y)|^2, exactly, as graph: differentiable by V's parameters. */
static otp_node *squared_slope(otp_node *values, otp_node *y, float share)
{
	otp_node *slope = NULL;
	otp_grad(otp_layer_total(values, 1), &y, 1, &slope);
	return otp_affine(squared_norm(slope, SCALAR), share, 0);
}

/* The loss's gradients with R1's, of r1/2 times the slope that is returned. A real sample's value counts as
 * -share in the loss, so gamma / s of piece.h is r1 share / -share. */
static otp_node *add_pieces(const both_values *value, otp_params *v, otp_node **grads, otp_node *by_samples,
			    otp_node *r1, float share)
{
	int n = value->real->shape.n;
	otp_node *root = otp_rsqrt(otp_constant(r1->graph, share));
	otp_node *down = otp_mul(otp_slice(by_samples, OTP_AXIS_N, n, n), otp_mul(root, root)); /* -grad V */
	otp_node *at = otp_add(otp_slice(value->samples, OTP_AXIS_N, n, n), otp_mul(down, r1));
	otp_piece *pieces = otp_piece_new(value->samples, value->all, n, at);
	for (int k = 0; k < v->count; k++)
		if (grads[k])
			grads[k] = otp_piece_grad(pieces, grads[k]);
	otp_piece_free(pieces);
	return otp_affine(squared_norm(down, SCALAR), share, 0);
}

/* The best answers to V as it stands, from T's to this noise and to the opposite: where the plan sends one x
 * two ways the two often go apart, and the better one is taken at once, while T changes sides late. */
static otp_node *refined(const otp_objective *o, otp_builder *tb, otp_params *v, otp_step_inputs *in,
			 const source_side *s)
{
	/* Leaves of its own: the weights' gradient does not go through the steps. */
	otp_builder fixed = otp_builder_make(tb->graph, v, otp_state_span(OTP_POTENTIAL), 0);
	source_side opposite = answer_to(tb, &o->arch, in, s->x, otp_affine(s->eps, -1, 0));
	otp_refinement r = {&fixed, &o->arch, (float)o->tau, cost_from(o, tb, s), o->refine};
	otp_node *starts[] = {s->y, opposite.y}, *y = otp_refine(&r, starts, 2);
	otp_builder_done(&fixed);
	return y;
}

otp_step_graph otp_potential_step(const otp_objective *o, otp_params *t, otp_params *v, int shard, int batch,
				  int64_t grads_base, bool with_r1)
{
	otp_step_graph step = {.graph = otp_graph_new()};
	otp_builder tb = otp_builder_make(step.graph, t, otp_state_span(OTP_TRANSPORT), 0);
	otp_builder vb = otp_builder_make(step.graph, v, otp_state_span(OTP_POTENTIAL), 0);
	float share = 1.0f / (float)batch;

	step.in = make_inputs(step.graph, shard);
	otp_node *x = samples(step.graph, o, &step.in, OTP_SOURCE, shard);
	otp_node *y = samples(step.graph, o, &step.in, OTP_TARGET, shard);
	source_side s = transport(&tb, &o->arch, &step.in, x, o->noise_pairs ? NOISE_PAIRED : NOISE_DRAWN);
	if (o->refine)
		s.y = refined(o, &tb, v, &step.in, &s);
	bool pieces = with_r1 && has_pieces(o, v);
	both_values value = potential_of_both(&vb, &o->arch, s.y, y, with_r1 && !pieces);
	/* Linear g: the cost is constant in V and drops out. */
	otp_node *gain =
	    o->g == OTP_G_LINEAR ? value.fake : otp_layer_difference(value.fake, cost(o, &tb, &s));
	otp_node *loss = otp_layer_total(
	    otp_add(apply_g(o->g, gain), apply_g(o->g, otp_affine(value.real, -1, 0))), share);

	otp_node *slope = otp_constant(step.graph, 0), *total = loss, *by_samples = NULL;
	otp_node *r1 = number(&step.in, OTP_NUMBER_R1);
	if (with_r1 && !pieces) {
		slope = squared_slope(value.real, y, share);
		total = otp_add(loss, otp_mul(otp_affine(r1, 0.5f, 0), slope));
	}
	otp_node **grads = otp_builder_grads(&vb, total, pieces ? value.samples : NULL, &by_samples);
	if (pieces)
		slope = add_pieces(&value, v, grads, by_samples, r1, share);
	otp_builder_output(&vb, grads, otp_grads_span(OTP_POTENTIAL), grads_base);
	step.report =
	    report(loss, slope, otp_layer_total(value.fake, share), otp_layer_total(value.real, share));
	otp_graph_fuse(step.graph);
	otp_builder_done(&tb);
	otp_builder_done(&vb);
	return step;
}

otp_sample_graph otp_sample_build(const otp_arch *arch, otp_params *t, int64_t base, int n, bool given_noise)
{
	otp_sample_graph sample = {.graph = otp_graph_new()};
	otp_builder b = otp_builder_make(sample.graph, t, otp_state_span(OTP_TRANSPORT), base);
	sample.in = make_inputs(sample.graph, n);
	sample.in.x = otp_input(sample.graph, "x", OTP_F32, sample_shape(arch, n));
	source_side s = transport(&b, arch, &sample.in, sample.in.x, given_noise ? NOISE_GIVEN : NOISE_DRAWN);
	sample.y = otp_output(s.y, OTP_SPAN_NONE, 0);
	sample.eps = otp_output(s.eps, OTP_SPAN_NONE, 0);
	otp_builder_done(&b);
	return sample;
}

otp_params *otp_sample_params(const otp_arch *arch)
{
	otp_params *params = otp_params_new();
	otp_graph_free(otp_sample_build(arch, params, 0, 1, false).graph);
	otp_params_arrange(params);
	return params;
}
