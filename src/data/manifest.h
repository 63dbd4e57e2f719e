/* manifest: what otplan made in a folder: .otplan-outputs.jsonl, a line for each file (docs/file-formats.md).
 */
#ifndef OTP_MANIFEST_H
#define OTP_MANIFEST_H

#include "core/base.h"

/* One output: planned, or a line of the manifest. */
typedef struct otp_made {
	char *name, *series;
	bool done; /* planned: written; of the manifest: removed */
	uint64_t bytes, digest;
} otp_made;

typedef struct otp_made_list {
	otp_made *each;
	size_t count, room;
} otp_made_list;

void otp_made_add(otp_made_list *l, otp_made one);
/* With its texts. */
void otp_made_free(otp_made_list *l);
int otp_made_by_name(const void *a, const void *b);
/* In a list that is sorted by name; NULL: there is none. */
otp_made *otp_made_find(const otp_made_list *l, const char *name);
/* Whether a name leads out of its folder. */
bool otp_made_leads_out(const char *name);

/* Size and XXH3 of what a file holds; false, with errno, where it is no file that can be read. */
bool otp_made_digest(const char *path, uint64_t *bytes, uint64_t *digest);
/* Whether a file still is what otplan made. One that cannot be read now may be either: a failure of the
 * machine. */
bool otp_made_compare(const char *path, const otp_made *known, bool *unchanged, otp_error *err);

/* A folder's manifest, sorted by name; empty where there is none. */
bool otp_manifest_read(const char *folder, otp_made_list *out, otp_error *err);
bool otp_manifest_write(const char *folder, const otp_made_list *lines, otp_error *err);

#endif
