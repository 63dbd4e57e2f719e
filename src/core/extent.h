/* extent: the size of a picture as people write it: 64, or 96x64 (width x height). */
#ifndef OTP_EXTENT_H
#define OTP_EXTENT_H

#include "core/base.h"

typedef struct otp_extent {
	int h, w; /* pixels; 0, 0: not said */
} otp_extent;

static inline bool otp_extent_equal(otp_extent a, otp_extent b) { return a.h == b.h && a.w == b.w; }

/* "64", "96x64" or "0"; sides from 1 to `most`. False where it is none of these. */
bool otp_extent_parse(const char *text, int most, otp_extent *out);

enum { OTP_EXTENT_TEXT = 32 };
/* The same text from an extent; `text` holds it. */
const char *otp_extent_text(otp_extent e, char text[OTP_EXTENT_TEXT]);

#endif
