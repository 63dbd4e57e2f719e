#include "data/hdf5_library.h"
#include "core/file.h"
#include "data/hdf5_driver.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_SLOTS = 12421, CHUNK_CACHE = 64 << 20 }; /* a prime, as HDF5 asks for; bytes, taken as needed */

static _Thread_local int failed_call;

/* HDF5 tells its caller that something failed; only the text of its error stack has the errno. */
static herr_t look_for_errno(unsigned depth, const H5E_error2_t *entry, void *context)
{
	static const char MARK[] = "errno = ";
	const char *at = entry->desc ? strstr(entry->desc, MARK) : NULL;
	(void)depth;
	(void)context;
	if (at && !failed_call)
		failed_call = (int)strtol(at + strlen(MARK), NULL, 10);
	return 0;
}

/* The stack is cleared by the next call, so it is read as soon as a call fails. */
static herr_t on_error(hid_t stack, void *context)
{
	return H5Ewalk2(stack, H5E_WALK_UPWARD, look_for_errno, context);
}

void otp_hdf5_start(void)
{
	/* Its clean-up at exit crashes after a write that failed (a full disk); every file is closed by then.
	 */
	H5dont_atexit();
	H5Eset_auto2(H5E_DEFAULT, on_error, NULL);
	failed_call = 0;
}

int otp_hdf5_errno(void) { return failed_call; }

void otp_hdf5_note_failed(int why)
{
	if (!failed_call)
		failed_call = why;
}

bool otp_hdf5_fail(const char *path, otp_error *err)
{
	if (failed_call) {
		*err = (otp_error){0};
		otp_file_fail_read(err, path, failed_call);
	}
	return false;
}

hid_t otp_hdf5_access(void)
{
	hid_t access = H5Pcreate(H5P_FILE_ACCESS);
	H5Pset_file_locking(access, 0, 1);
	return access;
}

bool otp_hdf5_close_written(hid_t file)
{
	bool flushed = H5Fflush(file, H5F_SCOPE_LOCAL) >= 0;
	return H5Fclose(file) >= 0 && flushed;
}

hid_t otp_hdf5_open_file(const char *path)
{
	otp_hdf5_start();
	hid_t driver = otp_hdf5_driver(), access = H5Pcreate(H5P_FILE_ACCESS), file = -1;
	/* Room for a chunk of many samples: each would be unpacked again for every sample of it. */
	H5Pset_cache(access, 0, CHUNK_SLOTS, CHUNK_CACHE, 1);
	if (driver >= 0 && H5Pset_driver(access, driver, NULL) >= 0)
		file = H5Fopen(path, H5F_ACC_RDONLY, access);
	H5Pclose(access);
	return file;
}
