/* figures: what was measured, each under its one name, with its unit (figures.def), beside what it should be.
 */
#ifndef OTP_FIGURES_H
#define OTP_FIGURES_H

#include <stdbool.h>
#include <stddef.h>

/* A row of figures.def. */
typedef struct otp_figure_kind {
	const char *key, *name;
	const char *unit, *sliced; /* "": none; "": the same */
} otp_figure_kind;

/* The row of a key; NULL where there is none. */
const otp_figure_kind *otp_figure_find(const char *key);
/* Its unit, of distances by slices or not; "" where it has none. */
const char *otp_figure_unit(const otp_figure_kind *kind, bool sliced);

typedef struct otp_figure {
	const char *key; /* in JSON; elsewhere figures may be known by another key than their kind's */
	const otp_figure_kind *kind;
	const char *unit;
	double value;
	char truth[48]; /* what would be right, or "" */
} otp_figure;

enum { OTP_MAX_FIGURES = 24 };

/* Figures as they are added to somebody's array of OTP_MAX_FIGURES. */
typedef struct otp_figures {
	otp_figure *each;
	int count;
	bool sliced; /* distances to the target are by slices */
} otp_figures;

/* key: of figures.def. */
void otp_figures_add(otp_figures *f, const char *key, double value, const char *truth);
/* The figure `key` under another key in JSON. */
void otp_figures_add_as(otp_figures *f, const char *json_key, const char *key, double value,
			const char *truth);

/* "transport cost, |x - T|^2, per sample": name and unit in one, usually no longer than OTP_FIGURE_LABEL.
 * otp_free it. */
enum { OTP_FIGURE_LABEL = 54 };
char *otp_figure_label(const otp_figure *figure);

/* A table on stdout, each line after `indent`: labels, values, truths. What stands under two keys is printed
 * once. */
void otp_figures_print(const otp_figure *list, int count, const char *indent);

#endif
