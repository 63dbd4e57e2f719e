/* dnn_known.c: what stands for a convolution or an attention where plans are kept, and the plans that a
 * device has so far. */
#include "cuda/dnn.h"

#include <stdio.h>
#include <string.h>

void otp_dnn_name(const otp_dnn_conv *c, char key[static OTP_DNN_NAME])
{
	static const char *const names[] = {"forward", "dgrad", "wgrad"};
	char after[64] = "", rows[64] = "";
	if (c->after.bias)
		snprintf(after, sizeof after, " bias%s scale %g slope %g",
			 !c->after.residual	  ? ""
			 : c->after.bf16_residual ? " bf16 residual"
						  : " residual",
			 (double)c->after.scale, (double)c->after.slope);
	if (c->y_step || c->r_step)
		snprintf(rows, sizeof rows, " rows %d residual rows %d", c->y_step, c->r_step);
	int length =
	    snprintf(key, OTP_DNN_NAME, "%s x %dx%dx%dx%d w %dx%dx%dx%d stride %d pad %d%s%s %s to %s%s",
		     names[c->direction], c->x.n, c->x.h, c->x.w, c->x.c, c->w.n, c->w.h, c->w.w, c->w.c,
		     c->stride, c->pad, after, rows,
		     c->bf16_in ? "bf16"
		     : c->tf32	? "tf32"
				: "f32",
		     c->bf16_out ? "bf16" : "f32", c->compiled ? " compiled" : "");
	OTP_ASSERT(length > 0 && length < OTP_DNN_NAME, "cudnn: the key '%s' is too long", key);
}

void otp_dnn_name_attention(const otp_dnn_attention *a, char key[static OTP_DNN_NAME])
{
	static const char *const names[] = {"attention", "attention keeping",
					    "attention adjoint"}; /* by pass */
	snprintf(key, OTP_DNN_NAME, "%s %lldx%dx%d bf16", names[a->pass], (long long)a->batch, a->tokens,
		 a->channels);
}

static otp_dnn_plan *find_plan(const otp_device *d, const char *key)
{
	otp_dnn_plan *p = d->plans;
	while (p && strcmp(p->key, key) != 0)
		p = p->next;
	return p;
}

bool otp_dnn_has_plan(const otp_device *d, const char *key) { return find_plan(d, key); }

otp_dnn_plan *otp_dnn_plan_of(otp_device *d, const char *key, bool *found)
{
	otp_dnn_plan *p = find_plan(d, key);
	*found = p;
	if (p)
		return p;
	p = otp_calloc(1, sizeof *p);
	snprintf(p->key, sizeof p->key, "%s", key);
	p->next = d->plans;
	return d->plans = p;
}

void otp_dnn_forget_plans(otp_device *d)
{
	while (d->plans) {
		otp_dnn_plan *p = d->plans;
		d->plans = p->next;
		if (p->plan)
			CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
		otp_dnn_graph_free(&p->graph);
		otp_free(p);
	}
}
