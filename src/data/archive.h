/* archive: a zip of files, readable by several threads. */
#ifndef OTP_ARCHIVE_H
#define OTP_ARCHIVE_H

#include "core/base.h"

typedef struct otp_archive otp_archive;

typedef struct otp_archived {
	const char *name; /* with folders; the archive's own */
	uint64_t bytes;	  /* unpacked, as the archive says */
	bool encrypted;
	int method; /* by which it is packed, and */
	bool can_unpack;
} otp_archived;

otp_archive *otp_archive_open(const char *path, otp_error *err);
void otp_archive_close(otp_archive *a);
uint64_t otp_archive_count(const otp_archive *a);
/* false: the entry was removed, or is a folder. */
bool otp_archive_entry(otp_archive *a, uint64_t i, otp_archived *out);
/* The first `bytes` of entry i into `to`; where these are all, its checksum is compared. */
bool otp_archive_read(otp_archive *a, uint64_t i, void *to, size_t bytes, const char *where, otp_error *err);

#endif
