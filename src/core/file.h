/* file: files appear whole. Written under a temporary name beside the target,
 * synced, read back, renamed. */
#ifndef OTP_FILE_H
#define OTP_FILE_H

#include "core/base.h"

#include <dirent.h>

/* "<path>.tmp-<pid>", of a long name a hash instead: where a library is to write before
 * otp_file_commit. otp_free it. */
char *otp_file_temporary(const char *path);
/* Reads a temporary back: whether it holds what was meant. If not, err says what differs. */
typedef bool otp_file_check(const char *temporary, const void *meant, otp_error *err);
/* The one way to a final name, after every write and close succeeded: sync the temporary, read it back,
 * rename it to path, sync the folder. Where it fails, the temporary is gone and what path named is as it was.
 */
bool otp_file_commit(const char *temporary, const char *path, otp_file_check *check, const void *meant,
		     otp_error *err);
bool otp_file_write(const char *path, const void *data, size_t bytes, otp_error *err);
/* All the bytes, whatever a single write takes. `path` is for the error. */
bool otp_file_put(int fd, const char *path, const void *data, size_t bytes, otp_error *err);
/* To the disk, where the file system can say so. */
bool otp_file_sync(int fd, const char *path, otp_error *err);
/* Reads on until `bytes` are there or the file ends; how many, or -1 with errno set. */
int64_t otp_file_get(int fd, void *data, size_t bytes);
/* The XXH3 of `bytes` bytes of a file, `at` and after, or of all up to its end (OTP_FILE_REST). */
#define OTP_FILE_REST UINT64_MAX
bool otp_file_digest(const char *path, uint64_t at, uint64_t bytes, uint64_t *digest, otp_error *err);
/* The whole file, no pipe or device, with a zero byte after it. otp_free it. */
void *otp_file_read(const char *path, size_t *bytes, otp_error *err);
/* "cannot be read: WHY": bad input where there is no such file, else a failure of the machine, which may
 * pass. */
bool otp_file_fail_read(otp_error *err, const char *path, int why);
bool otp_file_exists(const char *path);
bool otp_file_is_folder(const char *path);
/* A plain file, or a link to one: no pipe, device or folder, which may never end or never begin. */
bool otp_file_is_regular(const char *path);
/* What a folder holds but "." and "..", by name in the order of bytes; nothing where there is no such folder.
 * otp_file_list_free it, also where it fails. */
typedef struct otp_file_names {
	struct dirent **each;
	int count;
} otp_file_names;
bool otp_file_list(const char *folder, otp_file_names *names, otp_error *err);
void otp_file_list_free(otp_file_names *names);
/* Like mkdir -p. */
bool otp_file_make_folder(const char *path, otp_error *err);
/* The same for the folder that a file lies in. */
bool otp_file_make_folder_of(const char *path, otp_error *err);

#endif
