/* archive: a zip of files, readable by several threads. */
#ifndef OTP_ARCHIVE_H
#define OTP_ARCHIVE_H

#include "core/base.h"

struct zip; /* libzip's */
struct zip_error;

typedef struct otp_archive otp_archive;

typedef struct otp_archived {
	const char *name; /* with folders; the archive's own */
	uint64_t bytes;	  /* unpacked, as the archive says */
	bool encrypted;
	int method; /* by which it is packed, and */
	bool can_unpack;
} otp_archived;

/* libzip's own handle, for who reads a zip by himself; NULL with err set. zip_discard it. */
struct zip *otp_archive_open_zip(const char *path, otp_error *err);
/* A call of the system that failed is no damage of the zip: then err says so, and true comes back. */
bool otp_archive_refused(struct zip_error *why, const char *where, otp_error *err);

otp_archive *otp_archive_open(const char *path, otp_error *err);
void otp_archive_close(otp_archive *a);
uint64_t otp_archive_count(const otp_archive *a);
/* false: the entry was removed, or is a folder. */
bool otp_archive_entry(otp_archive *a, uint64_t i, otp_archived *out);
/* The first `bytes` of entry i into `to`; where these are all, its checksum is compared. A read that the
 * system refuses is a failure of the machine. */
bool otp_archive_read(otp_archive *a, uint64_t i, void *to, size_t bytes, const char *where, otp_error *err);

#endif
