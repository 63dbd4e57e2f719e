/* kinds: what a file is that is not read, from its first bytes, for people. */
#ifndef OTP_KINDS_H
#define OTP_KINDS_H

#include "core/base.h"

enum { OTP_KIND_BYTES = 64 }; /* so many tell */

/* "TIFF", "text" ...; *picture: whether it is one, of whatever format. */
const char *otp_kind_of(const uint8_t *head, size_t count, bool *picture);

/* A count of files by kind. */
typedef struct otp_kinds {
	struct {
		const char *name;
		int64_t count;
	} kinds[32];
	int64_t files;
} otp_kinds;

void otp_kinds_add(otp_kinds *k, const char *name);
/* "2 TIFF, 1 text", most first. otp_free it. */
char *otp_kinds_text(const otp_kinds *k);

#endif
