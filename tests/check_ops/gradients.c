/* gradients: the rules of both orders on ref against finite differences. */
#include "check_ops/harness.h"
#include "ref/ref.h"

#include <math.h>

enum { MAX_VARIABLES = 2 * OTP_MAX_INPUTS + 1 };

/* Leaves with their values: what a scalar is differentiated by, and random weights. */
typedef struct variables {
	otp_node *leaf[MAX_VARIABLES];
	double *value[MAX_VARIABLES];
	int count;
} variables;

static otp_node *add_variable(variables *vars, otp_graph *g, otp_shape shape, const double *value)
{
	OTP_ASSERT(vars->count < MAX_VARIABLES, "check_ops: too many variables");
	int64_t count = otp_shape_count(shape);
	int at = vars->count++;
	vars->leaf[at] = otp_input(g, "variable", OTP_F32, shape);
	vars->value[at] = otp_calloc((size_t)count, sizeof(double));
	for (int64_t i = 0; i < count; i++)
		vars->value[at][i] =
		    value ? value[i] : random_value(NORMALISH, (uint32_t)(7000 + at), (uint32_t)i);
	return vars->leaf[at];
}

static otp_node *inner_product(otp_node *a, otp_node *b)
{
	return otp_sum(otp_mul(a, b), otp_shape4(1, 1, 1, 1));
}

static double direction(int variable, int64_t i)
{
	return random_value(NORMALISH, (uint32_t)(9000 + variable), (uint32_t)i);
}

/* The scalar at value + step * direction. */
static double scalar_along(otp_program *p, const variables *vars, const otp_node *scalar, double step)
{
	for (int k = 0; k < vars->count; k++) {
		double *element = otp_program_data(p, vars->leaf[k]);
		for (int64_t i = 0; i < otp_shape_count(vars->leaf[k]->shape); i++)
			element[i] = vars->value[k][i] + step * direction(k, i);
	}
	otp_program_run(p);
	double result;
	otp_ref_peek(&result, otp_program_data(p, scalar), 1);
	return result;
}

/* Central differences in double along one random direction of all variables
 * together. With step h their error is about h^2 of third derivatives plus
 * 2^-52 / h of the values: 1e-10 and 1e-11 at h = 1e-5, relative to the terms
 * that the derivative adds up. */
static void check_derivative(const test_case *t, otp_graph *g, const variables *vars, otp_node *scalar,
			     otp_node *const *grads, const char *order)
{
	otp_node *value = otp_output(scalar, OTP_SPAN_NONE, 0), *kept[MAX_VARIABLES] = {NULL};
	for (int k = 0; k < vars->count; k++)
		if (grads[k])
			kept[k] = otp_output(grads[k], OTP_SPAN_NONE, 0);
	/* A leaf that nothing reads has no memory to write to: read them all. */
	for (int k = 0; k < vars->count; k++)
		otp_output(otp_copy(vars->leaf[k]), OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(ref.backend, ref.device, g, NULL, (otp_program_options){0});
	const double h = 1e-5;
	double up = scalar_along(p, vars, value, h), down = scalar_along(p, vars, value, -h);
	double by_differences = (up - down) / (2 * h), by_rule = 0, terms = 1;
	terms += fabs(scalar_along(p, vars, value, 0));
	for (int k = 0; k < vars->count; k++) {
		if (!kept[k])
			continue;
		const double *gradient = otp_program_data(p, kept[k]);
		for (int64_t i = 0; i < otp_shape_count(vars->leaf[k]->shape); i++) {
			by_rule += gradient[i] * direction(k, i);
			terms += fabs(gradient[i] * direction(k, i));
		}
	}
	report(fabs(by_rule - by_differences) <= 1e-7 * terms, describe(t),
	       "%s order: the rule gives %.12g, differences %.12g", order, by_rule, by_differences);
	otp_program_free(p);
}

/* L = <y, weights>; then S = sum <dL/dx, more weights>, whose gradient is the second order. */
void check_gradients(const test_case *t, const values *v)
{
	otp_graph *g = otp_graph_new();
	variables vars = {0};
	for (int i = 0; i < t->count; i++)
		add_variable(&vars, g, t->in[i], v->exact[i]);
	otp_node *y = build_node(t, vars.leaf);
	otp_node *loss = inner_product(y, add_variable(&vars, g, y->shape, NULL));
	int first_count = vars.count;
	otp_node *grads[MAX_VARIABLES] = {NULL};
	otp_grad(loss, vars.leaf, first_count, grads);

	otp_node *second = NULL, *second_grads[MAX_VARIABLES] = {NULL};
	if (t->order >= 2) {
		for (int i = 0; i < first_count - 1; i++) {
			if (!grads[i])
				continue;
			otp_node *term =
			    inner_product(grads[i], add_variable(&vars, g, grads[i]->shape, NULL));
			second = second ? otp_add(second, term) : term;
		}
		if (second)
			otp_grad(second, vars.leaf, vars.count, second_grads);
	}
	/* The first order's check must not see the later variables move: they do not reach the loss. */
	check_derivative(t, g, &vars, loss, grads, "first");
	if (second)
		check_derivative(t, g, &vars, second, second_grads, "second");
	for (int k = 0; k < vars.count; k++)
		otp_free(vars.value[k]);
	otp_graph_free(g);
}
