/* size: that of a picture as people write it: 64, or 96x64 (width x height). */
#ifndef OTP_SIZE_H
#define OTP_SIZE_H

#include "core/base.h"

typedef struct otp_size {
	int h, w; /* pixels; 0, 0: not said */
} otp_size;

static inline bool otp_size_equal(otp_size a, otp_size b) { return a.h == b.h && a.w == b.w; }

/* "64", "96x64" or "0"; sides from 1 to `most`. False where it is none of these. */
bool otp_size_parse(const char *text, int most, otp_size *out);

enum { OTP_SIZE_TEXT = 32 };
/* The same text from a size; `text` holds it. */
const char *otp_size_text(otp_size e, char text[OTP_SIZE_TEXT]);

#endif
