/* figures: what was measured, each beside what it should be. */
#ifndef OTP_FIGURES_H
#define OTP_FIGURES_H

typedef struct otp_figure {
	const char *key;  /* as in --json */
	const char *name; /* for a person */
	double value;
	char truth[48]; /* what would be right, or "" */
} otp_figure;

enum { OTP_MAX_FIGURES = 16 };

/* Figures as they are added to somebody's array of OTP_MAX_FIGURES. */
typedef struct otp_figures {
	otp_figure *each;
	int count;
} otp_figures;

void otp_figures_add(otp_figures *f, const char *key, const char *name, double value, const char *truth);

#endif
