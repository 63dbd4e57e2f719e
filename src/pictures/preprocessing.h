/* preprocessing: how a picture becomes a sample. It is brought to a size by a filter, and what it lacks or
 * has too much of for that size's aspect is cut off, filled up or given up; of that, training may take
 * windows. A model carries it (docs/file-formats.md), so that others prepare pictures as its training did. */
#ifndef OTP_PREPROCESSING_H
#define OTP_PREPROCESSING_H

#include "core/size.h"
#include "pictures/resample.h"

/* crop: the picture covers the size, and its middle is cut out. pad: all of the picture lies in the middle,
 * between white bars. stretch: both sides are brought to the size, each by a factor of its own. */
#define OTP_CHOICES_otp_aspect(X)                                                                            \
	X(OTP_ASPECT_CROP, "crop") X(OTP_ASPECT_PAD, "pad") X(OTP_ASPECT_STRETCH, "stretch")
OTP_CHOICE(otp_aspect);

/* All zero: pictures stay as they are. */
typedef struct otp_preprocessing {
	otp_size size; /* that pictures are brought to; 0: they keep theirs */
	otp_size crop; /* samples are windows of this size: anywhere in training, else the middle; 0: all.
			* Where pictures keep their size, smaller ones are enlarged to it. */
	otp_aspect aspect;
	otp_resize filter;
	bool grey; /* of a source: colours become their luminance, since training saw sources in grey */
} otp_preprocessing;

/* size x size, and nothing else said; 0: as they are. */
otp_preprocessing otp_preprocessing_square(int size);

/* The same for a target, which keeps its colours. */
otp_preprocessing otp_preprocessing_of_target(const otp_preprocessing *p);

/* The size that a picture of this one is brought to. */
otp_size otp_preprocessing_size(const otp_preprocessing *p, otp_size picture);
/* Brings it there: floats, where it changes. Its channels are 1, 3 or 4. */
void otp_preprocessing_apply(const otp_preprocessing *p, otp_image *image);

/* In words, for people. otp_free it. */
char *otp_preprocessing_text(const otp_preprocessing *p);

/* A picture scaled to cover `size`, one side equal to it, the other in proportion; pixels of the result. */
otp_size otp_size_covering(otp_size size, otp_size picture);
/* The same to lie within it. */
otp_size otp_size_within(otp_size size, otp_size picture);

/* `image` on white of a size that has room for it, in the middle; replaces its pixels. */
void otp_image_pad(otp_image *image, otp_size size);

#endif
