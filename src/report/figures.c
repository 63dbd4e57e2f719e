#include "report/figures.h"
#include "core/base.h"

#include <stdio.h>

void otp_figures_add(otp_figures *f, const char *key, const char *name, double value, const char *truth)
{
	OTP_ASSERT(f->count < OTP_MAX_FIGURES, "%d figures", f->count);
	otp_figure *figure = &f->each[f->count++];
	figure->key = key;
	figure->name = name;
	figure->value = value;
	snprintf(figure->truth, sizeof figure->truth, "%s", truth);
}
