/* spec: what a user wrote as a data set, taken apart: PLACE?modifier&key=value... */
#ifndef OTP_SPEC_H
#define OTP_SPEC_H

#include "core/base.h"
#include "laws/colour.h"

typedef enum otp_layout { OTP_LAYOUT_GUESSED, OTP_LAYOUT_NHWC, OTP_LAYOUT_NCHW } otp_layout;

typedef struct otp_spec {
	char *text;  /* as written */
	char *place; /* before the question mark */
	bool grey;
	otp_colour_law colour;
	double hue;	     /* fixed, in [0, 1) of a turn; below 0: drawn for each image */
	double brightness;   /* factor on brightness in [0, 1]; below 0: the set's own */
	int64_t part, parts; /* the part-th of `parts`, from 1; 1 of 1: all */
	int64_t limit;	     /* 0: none */
	double low, high;    /* stored values that stand for -1 and 1; equal: found out */
	otp_layout layout;   /* order of an array's axes */
	bool keep;	     /* decoded images may stay in memory */
	int64_t most_pixels; /* larger pictures are refused; 0: not said */
	bool look;	     /* only kind and size are asked for: read headers, say nothing */
	bool odd_allowed;    /* vectors with values that are not finite are not refused */
	/* synth: */
	int size, d, m, strata;
	double cond, noise;
} otp_spec;

bool otp_spec_parse(const char *text, otp_spec *spec, otp_error *err);
void otp_spec_free(otp_spec *spec);
/* The same set as it is named from any folder: a relative path gets the working folder before it, synth:
 * stays. otp_free it. */
char *otp_spec_absolute(const char *text);
/* What to write to say `more` too. otp_free it. */
char *otp_spec_with(const otp_spec *spec, const char *more);
/* The modifiers in one fixed spelling, for digests. otp_free it. */
char *otp_spec_modifiers(const otp_spec *spec);

#endif
