#include "exchange/exchange.h"

#include <stdio.h>

static void add_number(otp_exchange_add *add, void *to, const char *key, double value)
{
	char text[40];
	snprintf(text, sizeof text, "%.9g", value);
	add(to, key, text);
}

void otp_exchange_facts(const otp_generator *g, otp_exchange_add *add, void *to)
{
	const otp_stored *f = &g->facts;
	char text[64];
	add(to, "program", "otplan " OTPLAN_VERSION);
	add(to, "network", f->arch.vectors ? "residual-mlp" : "unet");
	snprintf(text, sizeof text, "%lld", (long long)f->step);
	add(to, "step", text);
	add(to, "smoothing", OTP_CHOICE_NAME(otp_smoothing, f->smoothing));
	add_number(add, to, "sigma", f->sigma);
	add_number(add, to, "latent", f->arch.latent);
	if (f->arch.vectors)
		return;
	otp_preprocessing how = otp_stored_preprocessing(f);
	char *said = otp_preprocessing_text(&how);
	add(to, "preprocessing", said);
	otp_free(said);
	add(to, "grey_source", f->grey ? "rec601-luminance" : "no");
	add(to, "values", "black -1, white 1");
}

void otp_exchange_turn(const float *from, otp_shape s, float *to)
{
	size_t plane = (size_t)s.h * (size_t)s.w, channels = (size_t)s.c;
	for (size_t n = 0; n < (size_t)s.n; n++)
		for (size_t p = 0; p < plane; p++)
			for (size_t c = 0; c < channels; c++)
				to[(n * channels + c) * plane + p] = from[(n * plane + p) * channels + c];
}
