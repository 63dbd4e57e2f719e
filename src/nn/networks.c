#include "nn/networks.h"

otp_node *otp_transport_build(otp_builder *b, const otp_arch *a, otp_transport_input in)
{
	return (a->vectors ? otp_mlp_transport_build : otp_unet_build)(b, a, in);
}

otp_node *otp_potential_build(otp_builder *b, const otp_arch *a, otp_node *y)
{
	return (a->vectors ? otp_mlp_potential_build : otp_convnet_build)(b, a, y);
}

static bool check_halvings(const otp_arch *a, int levels, const char *key, otp_error *err)
{
	int step = a->patch << (levels - 1);
	if (a->h % step || a->w % step)
		return otp_fail(err, key,
				"%d levels of patches of %d need sizes that are multiples of %d, not %dx%d",
				levels, a->patch, step, a->w, a->h);
	return true;
}

bool otp_arch_check(const otp_arch *a, otp_error *err)
{
	if (a->vectors)
		return true;
	int cell = 1 << a->noise_halvings;
	if (a->h % cell || a->w % cell)
		return otp_fail(err, "--noise-scale", "%d needs sizes that are multiples of it, not %dx%d",
				cell, a->w, a->h);
	return check_halvings(a, a->levels, "--multipliers", err) &&
	       check_halvings(a, a->potential_levels, "--potential-multipliers", err);
}
