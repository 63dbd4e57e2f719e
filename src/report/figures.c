#include "report/figures.h"
#include "core/base.h"

#include <stdio.h>
#include <string.h>

static const otp_figure_kind KINDS[] = {
#define FIGURE(key, name, unit, sliced) {#key, name, unit, sliced},
#include "report/figures.def"
};

const otp_figure_kind *otp_figure_find(const char *key)
{
	for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
		if (strcmp(KINDS[i].key, key) == 0)
			return &KINDS[i];
	return NULL;
}

const char *otp_figure_unit(const otp_figure_kind *kind, bool sliced)
{
	return sliced && kind->sliced[0] ? kind->sliced : kind->unit;
}

void otp_figures_add_as(otp_figures *f, const char *json_key, const char *key, double value,
			const char *truth)
{
	const otp_figure_kind *kind = otp_figure_find(key);
	OTP_ASSERT(f->count < OTP_MAX_FIGURES, "%d figures", f->count);
	OTP_ASSERT(kind, "figures.def has no %s", key);
	otp_figure *figure = &f->each[f->count++];
	*figure = (otp_figure){
	    .key = json_key, .kind = kind, .unit = otp_figure_unit(kind, f->sliced), .value = value};
	snprintf(figure->truth, sizeof figure->truth, "%s", truth);
}

void otp_figures_add(otp_figures *f, const char *key, double value, const char *truth)
{
	otp_figures_add_as(f, key, key, value, truth);
}

char *otp_figure_label(const otp_figure *figure)
{
	return figure->unit[0] ? otp_format("%s, %s", figure->kind->name, figure->unit)
			       : otp_strdup(figure->kind->name);
}

void otp_figures_print(const otp_figure *list, int count, const char *indent)
{
	for (int i = 0; i < count; i++) {
		if (i > 0 && list[i].kind == list[i - 1].kind)
			continue;
		char *label = otp_figure_label(&list[i]);
		printf("%s%-*s %10.4g%s%s\n", indent, OTP_FIGURE_LABEL, label, list[i].value,
		       list[i].truth[0] ? "   " : "", list[i].truth);
		otp_free(label);
	}
}
