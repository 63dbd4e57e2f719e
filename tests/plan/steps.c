/* steps: the graphs of training steps, planned, stored in bfloat16, and run with free memory poisoned. */
#include "plan/plan.h"

#include <string.h>

/* clang-format off */
const otp_arch ARCHS[ARCH_COUNT] = {
    {.h = 8, .w = 8, .c = 3, .condition_noise = true, .noise_features = 4, .latent = 5, .embedding = 8,
     .residual = true, .patch = 1, .width = 8, .blocks = 2, .levels = 2, .multipliers = {1, 2},
     .attention_count = 1, .attention = {4}, .filter = OTP_FILTER_FIR, .potential_features = 4,
     .potential_width = 8, .potential_levels = 3, .potential_multipliers = {1, 2, 2}},
    {.h = 8, .w = 12, .c = 1, .condition_noise = true, .noise_features = 3, .embedding = 4, .residual = true,
     .patch = 2, .width = 12, .blocks = 1, .levels = 2, .multipliers = {1, 1}, .filter = OTP_FILTER_BOX,
     .potential_width = 8, .potential_levels = 2, .potential_multipliers = {1, 2}},
    {.vectors = true, .h = 1, .w = 1, .c = 3, .condition_noise = true, .latent = 2, .residual = true,
     .width = 8, .blocks = 2, .sharpness = 1, .potential_width = 8, .potential_blocks = 2, .potential_sharpness = 2},
};

step_setup setup_make(const otp_arch *arch, enum step_kind kind, otp_g g)
{
	otp_objective o = {.arch = *arch, .tau = 0.1, .g = g};
	step_setup s = {.t = otp_params_new(), .v = otp_params_new()};
	bool transports = kind == STEP_TRANSPORT;
	s.step = transports
		     ? otp_transport_step(&o, s.t, s.v, SAMPLES, SAMPLES, 0)
		     : otp_potential_step(&o, s.t, s.v, SAMPLES, SAMPLES, 0, kind == STEP_POTENTIAL_R1);
	s.grads_span = otp_grads_span(transports ? OTP_TRANSPORT : OTP_POTENTIAL);
	s.updated = transports ? s.t : s.v;
	return s;
}

void setup_free(step_setup *s)
{
	otp_graph_free(s->step.graph);
	otp_params_free(s->t);
	otp_params_free(s->v);
}

/* The rule of storage.h, once more as a list of what must be and must not be. */
static void check_stored_type(const otp_node *node, otp_type type, bool vectors)
{
	otp_shape s = node->shape;
	bool wide_picture = s.h > 1 && s.w > 1 && s.c >= 8;
	if (node->op == OTP_OP_LEAF || node->output || node->op == OTP_OP_sum ||
	    node->op == OTP_OP_conv2d_wgrad || node->op == OTP_OP_norm_stats ||
	    node->op == OTP_OP_norm_sums || (s.c < 8 && node->op != OTP_OP_reshape) || vectors)
		assert_true(type == node->type);
	else if (wide_picture && (node->op == OTP_OP_conv2d_bias || node->op == OTP_OP_conv2d_dgrad ||
				  node->op == OTP_OP_norm_apply || node->op == OTP_OP_norm_dgrad ||
				  node->op == OTP_OP_spread || node->op == OTP_OP_lrelu_gate))
		assert_true(type == OTP_BF16);
	else if (node->op == OTP_OP_softmax) /* attention's */
		assert_true(type == OTP_BF16);
}

void maps_are_stored_in_bf16(void **state)
{
	const otp_arch *arch = *state;
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		step_setup s = setup_make(arch, (enum step_kind)kind, OTP_G_SOFTPLUS);
		const otp_graph *g = s.step.graph;
		otp_type *types = otp_storage_types(g, true, 0), *plain = otp_storage_types(g, false, 0);
		for (int id = 0; id < otp_graph_size(g); id++) {
			check_stored_type(otp_graph_node(g, id), types[id], arch->vectors);
			assert_true(plain[id] == otp_graph_node(g, id)->type);
		}
		otp_free(types);
		otp_free(plain);
		setup_free(&s);
	}
}

/* In a network whose channels fill lines of memory no slice of a gradient is cut out: each is made by itself.
 * And the norms' sums are made where the gradient of all of them lies. */
void parts_lie_in_their_wholes(void **state)
{
	(void)state;
	otp_arch arch = ARCHS[0];
	arch.width = arch.potential_width = 32;
	step_setup s = setup_make(&arch, STEP_TRANSPORT, OTP_G_LINEAR);
	otp_params_arrange(s.t);
	otp_params_arrange(s.v);
	otp_graph_free(s.step.graph);
	otp_objective o = {.arch = arch, .tau = 0.1};
	s.step = otp_transport_step(&o, s.t, s.v, SAMPLES, SAMPLES, 0);
	for (int bf16 = 0; bf16 < 2; bf16++) {
		const otp_graph *g = s.step.graph;
		otp_type *types = otp_storage_types(g, bf16, 0);
		otp_plan *plan = otp_plan_new(g, types, BYTES, true);
		int slices = 0, wholes = 0, copied = 0;
		check_plan(g, types);
		for (int id = 0; id < otp_graph_size(g); id++) {
			const otp_node *node = otp_graph_node(g, id);
			bool live = plan->place[id].live && node->shape.n > 1;
			slices +=
			    live && node->op == OTP_OP_slice && node->shape.h > 1 && node->shape.c % 32 == 0;
			/* All skips but one, which a convolution reads. */
			if (live && node->op == OTP_OP_concat && node->shape.c % 32 == 0 && node->shape.h > 1)
				copied += !plan->place[id].view;
			if (live && node->op == OTP_OP_concat && node->shape.h == 1) {
				assert_true(plan->place[id].view);
				wholes++;
			}
		}
		assert_int_equal(slices, 0);
		assert_int_equal(copied, 1);
		assert_in_range(wholes, 10, 100);
		otp_plan_free(plan);
		otp_free(types);
	}
	setup_free(&s);
}

void step_plans_keep_values_apart(void **state)
{
	const otp_arch *arch = *state;
	for (int turn = 0; turn < 2 * STEP_KINDS; turn++) {
		int kind = turn / 2;
		step_setup s =
		    setup_make(arch, (enum step_kind)kind, turn % 2 ? OTP_G_LINEAR : OTP_G_SOFTPLUS);
		for (int bf16 = 0; bf16 < 2; bf16++) {
			otp_type *types = otp_storage_types(s.step.graph, bf16, 0);
			double share = check_plan(s.step.graph, types);
			otp_free(types);
			assert_true(share <
				    0.75); /* a training step's values are many and most are short-lived */
			print_message("             step kind %d%s: arena at %.2f of unshared memory\n", kind,
				      bf16 ? " in bf16" : "", share);
		}
		setup_free(&s);
	}
}

static void write_random(otp_program *p, const otp_node *leaf, uint32_t which)
{
	if (!leaf)
		return;
	float *x = otp_calloc((size_t)otp_shape_count(leaf->shape), sizeof *x);
	fill(x, otp_shape_count(leaf->shape), which);
	otp_program_write(p, leaf, x);
	otp_free(x);
}

void write_inputs(otp_program *p, const otp_step_inputs *in)
{
	uint32_t words[OTP_WORD_COUNT * SAMPLES] = {0};
	float numbers[OTP_HYPER_COUNT] = {0};
	for (uint32_t i = 0; i < SAMPLES; i++)
		memcpy(words + OTP_WORD_COUNT * i, otp_stream_make(3, i, 1).word, 4 * sizeof *words);
	numbers[OTP_NUMBER_KEEP] = 0.9f;
	numbers[OTP_NUMBER_SIGMA] = 0.4f;
	numbers[OTP_NUMBER_R1] = 0.7f;
	otp_program_write(p, in->words, words);
	otp_program_write(p, in->numbers, numbers);
	write_random(p, in->x, 60);
	write_random(p, in->y, 61);
}

step_program step_program_make(const char *backend_name, const step_setup *s,
				      otp_program_options options)
{
	step_program made = {.at = place_open(backend_name)};
	const place *at = &made.at;
	made.spans[otp_state_span(OTP_TRANSPORT)] = make_span(at, s->t->elements, 70);
	made.spans[otp_state_span(OTP_POTENTIAL)] = make_span(at, s->v->elements, 71);
	made.spans[s->grads_span] = make_span(at, s->updated->elements, 72);
	made.program = otp_program_new(at->backend, at->device, s->step.graph, made.spans, options);
	write_inputs(made.program, &s->step.in);
	return made;
}

void step_program_free(step_program *p)
{
	otp_program_free(p->program);
	for (int i = 0; i < OTP_MAX_SPANS; i++)
		if (p->spans[i])
			p->at.backend->release(p->at.device, p->spans[i]);
	p->at.backend->close(p->at.device);
}

static void check_step_poison(const char *backend_name, const otp_arch *arch, enum step_kind kind,
			      otp_precision precision)
{
	step_setup s = setup_make(arch, kind, OTP_G_SOFTPLUS);
	otp_program_options options = {.precision = precision};
	step_program plain = step_program_make(backend_name, &s, options);
	options.poison = true;
	step_program poisoned = step_program_make(backend_name, &s, options);
	for (int run = 0; run < 2; run++) {
		otp_program_run(plain.program);
		otp_program_run(poisoned.program);
	}
	float report[OTP_REPORT_COUNT], again[OTP_REPORT_COUNT];
	otp_program_read(plain.program, s.step.report, report);
	otp_program_read(poisoned.program, s.step.report, again);
	assert_memory_equal(report, again, sizeof report);
	for (int k = 0; k < OTP_REPORT_COUNT; k++)
		assert_true(report[k] == report[k]);
	assert_true(same_bytes(&plain.at, plain.spans[s.grads_span], poisoned.spans[s.grads_span],
			       s.updated->elements));
	step_program_free(&plain);
	step_program_free(&poisoned);
	setup_free(&s);
}

void steps_survive_poison(void **state)
{
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		check_step_poison("cpu", *state, (enum step_kind)kind, OTP_PRECISION_F32);
		check_step_poison("ref", *state, (enum step_kind)kind, OTP_PRECISION_F32);
		check_step_poison("shim", *state, (enum step_kind)kind, OTP_PRECISION_BF16);
	}
}
