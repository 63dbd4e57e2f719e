#include "nn/networks.h"
#include "core/size.h"

otp_node *otp_transport_build(otp_builder *b, const otp_arch *a, otp_transport_input in)
{
	return (a->vectors ? otp_mlp_transport_build : otp_unet_build)(b, a, in);
}

otp_node *otp_potential_build(otp_builder *b, const otp_arch *a, otp_node *y)
{
	return (a->vectors ? otp_mlp_potential_build : otp_convnet_build)(b, a, y);
}

static int least_multiple(int a, int b)
{
	int multiple = a;
	while (multiple % b)
		multiple += a;
	return multiple;
}

bool otp_arch_check(const otp_arch *a, const char *where, otp_error *err)
{
	if (a->vectors)
		return true;
	int step = least_multiple(a->patch << (a->levels - 1), a->patch << (a->potential_levels - 1));
	step = least_multiple(step, 1 << a->noise_halvings);
	if (a->h % step == 0 && a->w % step == 0)
		return true;
	otp_size less = {a->h / step * step, a->w / step * step};
	otp_size more = {less.h + step * (a->h > less.h), less.w + step * (a->w > less.w)};
	char text[2][OTP_SIZE_TEXT];
	bool both = less.h && less.w;
	return otp_fail(err, where,
			"%dx%d does not fit networks that need multiples of %d (--multipliers, "
			"--potential-multipliers, --patch, --noise-scale); the nearest %s %s%s%s",
			a->w, a->h, step, both ? "are" : "is", both ? otp_size_text(less, text[0]) : "",
			both ? " and " : "", otp_size_text(more, text[1]));
}
