#include "nn/networks.h"

otp_node *otp_transport_build(otp_builder *b, const otp_arch *a, otp_node *x, otp_node *eps, otp_node *z)
{
	return (a->vectors ? otp_mlp_transport_build : otp_unet_build)(b, a, x, eps, z);
}

otp_node *otp_potential_build(otp_builder *b, const otp_arch *a, otp_node *y)
{
	return (a->vectors ? otp_mlp_potential_build : otp_convnet_build)(b, a, y);
}

static bool check_halvings(const otp_arch *a, int levels, const char *key, otp_error *err)
{
	int step = 1 << (levels - 1);
	if (a->h % step || a->w % step)
		return otp_fail(err, key, "%d levels halve the image %d times, but %dx%d is no multiple of %d", levels,
				levels - 1, a->w, a->h, step);
	return true;
}

bool otp_arch_check(const otp_arch *a, otp_error *err)
{
	if (a->vectors)
		return true;
	return check_halvings(a, a->levels, "--multipliers", err) &&
	       check_halvings(a, a->potential_levels, "--potential-multipliers", err);
}
