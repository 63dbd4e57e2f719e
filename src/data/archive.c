#include "data/archive.h"

#include "core/file.h"

#include <pthread.h>
#include <string.h>
#include <zip.h>

struct otp_archive {
	zip_t *zip;
	pthread_mutex_t lock; /* libzip serves one thread */
};

bool otp_archive_refused(zip_error_t *why, const char *where, otp_error *err)
{
	int code = zip_error_code_system(why);
	if (zip_error_system_type(why) != ZIP_ET_SYS || !code)
		return false;
	otp_file_fail_read(err, where, code);
	return true;
}

zip_t *otp_archive_open_zip(const char *path, otp_error *err)
{
	zip_error_t why;
	zip_error_init(&why);
	zip_source_t *source = zip_source_file_create(path, 0, -1, &why);
	zip_t *zip = source ? zip_open_from_source(source, ZIP_RDONLY, &why) : NULL;
	if (!zip && source)
		zip_source_free(source);
	if (!zip && !otp_archive_refused(&why, path, err))
		otp_fail(err, path, "cannot be opened as a zip: damaged or cut short (%s)",
			 zip_error_strerror(&why));
	zip_error_fini(&why);
	return zip;
}

otp_archive *otp_archive_open(const char *path, otp_error *err)
{
	zip_t *zip = otp_archive_open_zip(path, err);
	if (!zip)
		return NULL;
	otp_archive *a = otp_calloc(1, sizeof *a);
	a->zip = zip;
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

void otp_archive_close(otp_archive *a)
{
	if (!a)
		return;
	zip_discard(a->zip);
	pthread_mutex_destroy(&a->lock);
	otp_free(a);
}

uint64_t otp_archive_count(const otp_archive *a)
{
	zip_int64_t count = zip_get_num_entries(a->zip, 0);
	return count > 0 ? (uint64_t)count : 0;
}

bool otp_archive_entry(otp_archive *a, uint64_t i, otp_archived *out)
{
	zip_stat_t info;
	zip_stat_init(&info);
	if (zip_stat_index(a->zip, i, 0, &info) != 0 || !info.name || !*info.name ||
	    info.name[strlen(info.name) - 1] == '/')
		return false;
	while (strncmp(info.name, "./", 2) == 0) /* as some programs write them */
		info.name += 2;
	if (!*info.name)
		return false;
	bool encrypted = (info.valid & ZIP_STAT_ENCRYPTION_METHOD) && info.encryption_method != ZIP_EM_NONE;
	*out = (otp_archived){.name = info.name,
			      .bytes = info.size,
			      .encrypted = encrypted,
			      .method = info.comp_method,
			      .can_unpack = zip_compression_method_supported(info.comp_method, 0) != 0};
	return true;
}

/* Deflate makes at most 1032 bytes of one; other methods make more. */
static bool may_hold(const zip_stat_t *info)
{
	return info->comp_method == ZIP_CM_STORE     ? info->size <= info->comp_size
	       : info->comp_method == ZIP_CM_DEFLATE ? info->size / 1032 <= info->comp_size
						     : true;
}

/* Called with the lock held. */
static bool read_entry(otp_archive *a, uint64_t i, uint8_t *to, size_t bytes, const char *where,
		       otp_error *err)
{
	zip_stat_t info;
	if (zip_stat_index(a->zip, i, 0, &info) != 0 || !may_hold(&info))
		return otp_fail(err, where, "damaged: says more than the archive can hold");
	zip_file_t *file = zip_fopen_index(a->zip, i, 0);
	if (!file)
		return !otp_archive_refused(zip_get_error(a->zip), where, err) &&
		       otp_fail(err, where, "cannot be read: %s", zip_strerror(a->zip));
	size_t done = 0;
	zip_int64_t got = 1;
	while (done < bytes && (got = zip_fread(file, to + done, bytes - done)) > 0)
		done += (size_t)got;
	/* The checksum is compared where the end is met. */
	char beyond;
	bool whole = bytes == info.size;
	if (whole && done == bytes)
		got = zip_fread(file, &beyond, 1);
	bool ok = done == bytes && (!whole || got == 0);
	if (!ok && !(got < 0 && otp_archive_refused(zip_file_get_error(file), where, err)))
		otp_fail(err, where, "damaged: %s",
			 done < bytes ? "ends before it should" : "its checksum in the archive is wrong");
	zip_fclose(file);
	return ok;
}

bool otp_archive_read(otp_archive *a, uint64_t i, void *to, size_t bytes, const char *where, otp_error *err)
{
	pthread_mutex_lock(&a->lock);
	bool ok = read_entry(a, i, to, bytes, where, err);
	pthread_mutex_unlock(&a->lock);
	return ok;
}
