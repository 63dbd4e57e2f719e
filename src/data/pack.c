/* pack: rows, journal, and the HDF5 file around them.
 *
 * HDF5 files can be damaged by a process that ends in the middle, and a set in one piece must know its size
 * when it is made. So rows are written by plain calls, from the byte on where HDF5 would put them: `shell`
 * makes a file of the same structure whose rows are a hole, and tells. At the end all that stands outside the
 * rows in such a file is copied around ours. That can be done again as often as it is interrupted.
 *
 * The journal is JSON lines. First what is packed, then a line for each piece, written when its rows are on
 * the disk. A line that is cut short, and what follows it, does not count.
 */
#include "data/pack.h"

#include "core/file.h"
#include "core/lock.h"
#include "data/hdf5_library.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { FORMAT = 1, COPIED = 1 << 20, NAMED = 1 << 16, NAME_BYTES = 4096 };

typedef struct piece {
	int64_t rows;
	uint64_t digest; /* of their bytes */
} piece;

struct otp_pack {
	char *path, *partial, *journal;
	otp_pack_form form;
	size_t row_bytes;
	uint64_t rows_at; /* byte of the first row */
	int fd, journal_fd;
	otp_lock *lock;
	int64_t seen, rows;
	piece *pieces;
	size_t piece_count, piece_room;
	otp_pack_left *left;
	size_t left_count, left_room;
};

int64_t otp_pack_seen(const otp_pack *p) { return p->seen; }
int64_t otp_pack_rows(const otp_pack *p) { return p->rows; }

const otp_pack_left *otp_pack_left_out(const otp_pack *p, int64_t *count)
{
	*count = (int64_t)p->left_count;
	return p->left;
}

static uint64_t rows_end(const otp_pack *p) { return p->rows_at + (uint64_t)p->rows * p->row_bytes; }

static bool failed(const otp_pack *p, const char *path, int why, otp_error *err)
{
	(void)p;
	return otp_fail_machine(err, path, "cannot be written: %s", why ? strerror(why) : "HDF5 failed");
}

/* ---- HDF5 ---------------------------------------------------------------------- */

static bool put_attribute(hid_t set, const otp_pack_attribute *a)
{
	hid_t type = H5Tcopy(a->text ? H5T_C_S1 : H5T_NATIVE_INT64), space = H5Screate(H5S_SCALAR);
	if (a->text) {
		H5Tset_size(type, *a->text ? strlen(a->text) : 1);
		H5Tset_strpad(type, H5T_STR_NULLPAD);
		H5Tset_cset(type, H5T_CSET_UTF8);
	}
	hid_t attribute = H5Acreate2(set, a->name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	bool ok =
	    attribute >= 0 && H5Awrite(attribute, type, a->text ? (const void *)a->text : &a->number) >= 0;
	if (attribute >= 0)
		ok = H5Aclose(attribute) >= 0 && ok;
	H5Sclose(space);
	H5Tclose(type);
	return ok;
}

/* The sample of each row, one after the other. */
typedef struct row_walk {
	const otp_pack *pack;
	int64_t sample;
	size_t left;
} row_walk;

static int64_t next_sample(row_walk *w)
{
	while (w->left < w->pack->left_count && w->pack->left[w->left].sample == w->sample) {
		w->left++;
		w->sample++;
	}
	return w->sample++;
}

static size_t longest_name(const otp_pack *p, const otp_pack_words *words)
{
	char buffer[NAME_BYTES];
	size_t most = 1;
	row_walk walk = {.pack = p};
	for (int64_t i = 0; i < p->rows; i++) {
		size_t length =
		    strlen(words->name(words->context, next_sample(&walk), buffer, sizeof buffer));
		most = length > most ? length : most;
	}
	return most;
}

static bool write_names(const otp_pack *p, hid_t set, hid_t type, hid_t space, const otp_pack_words *words)
{
	size_t bytes = H5Tget_size(type);
	char *texts = otp_calloc(NAMED, bytes), buffer[NAME_BYTES];
	row_walk walk = {.pack = p};
	bool ok = true;
	for (int64_t first = 0; ok && first < p->rows; first += NAMED) {
		hsize_t start = (hsize_t)first,
			count = (hsize_t)(p->rows - first < NAMED ? p->rows - first : NAMED);
		memset(texts, 0, count * bytes);
		for (hsize_t i = 0; i < count; i++) {
			const char *name =
			    words->name(words->context, next_sample(&walk), buffer, sizeof buffer);
			memcpy(texts + i * bytes, name, strlen(name));
		}
		hid_t memory = H5Screate_simple(1, &count, NULL);
		ok = H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &count, NULL) >= 0 &&
		     H5Dwrite(set, type, memory, space, H5P_DEFAULT, texts) >= 0;
		H5Sclose(memory);
	}
	otp_free(texts);
	return ok;
}

/* Texts of one length, filled up with zeros, as in all files of ours. */
static bool put_names(const otp_pack *p, hid_t file, const otp_pack_words *words)
{
	hsize_t count = (hsize_t)p->rows;
	hid_t space = H5Screate_simple(1, &count, NULL), type = H5Tcopy(H5T_C_S1),
	      create = H5Pcreate(H5P_DATASET_CREATE);
	H5Tset_size(type, longest_name(p, words));
	H5Tset_strpad(type, H5T_STR_NULLPAD);
	H5Tset_cset(type, H5T_CSET_UTF8);
	H5Pset_obj_track_times(create, 0);
	hid_t set = H5Dcreate2(file, "names", type, space, H5P_DEFAULT, create, H5P_DEFAULT);
	bool ok = set >= 0 && write_names(p, set, type, space, words);
	if (set >= 0)
		ok = H5Dclose(set) >= 0 && ok;
	H5Pclose(create);
	H5Tclose(type);
	H5Sclose(space);
	return ok;
}

static hid_t make_set(const otp_pack *p, hid_t file)
{
	const otp_pack_form *form = &p->form;
	hsize_t rows = (hsize_t)(p->rows ? p->rows : 1);
	hsize_t images[4] = {rows, (hsize_t)form->h, (hsize_t)form->w, (hsize_t)form->c},
		vectors[2] = {rows, (hsize_t)form->c};
	hid_t space = H5Screate_simple(form->vectors ? 2 : 4, form->vectors ? vectors : images, NULL),
	      create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_obj_track_times(create, 0);
	H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
	H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
	hid_t set = H5Dcreate2(file, form->vectors ? "vectors" : "images",
			       form->vectors ? H5T_IEEE_F32LE : H5T_STD_U8LE, space, H5P_DEFAULT, create,
			       H5P_DEFAULT);
	H5Pclose(create);
	H5Sclose(space);
	return set;
}

/* A file with room for the rows, one at least, and, with words, all else. The rows come before names and
 * attributes, so that their place depends on none of them. */
static bool shell(const otp_pack *p, const char *path, const otp_pack_words *words, uint64_t *rows_at)
{
	otp_hdf5_start();
	hid_t access = otp_hdf5_access();
	H5Pset_small_data_block_size(access, 0); /* few rows lie where many would */
	hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
	H5Pclose(access);
	hid_t set = file >= 0 ? make_set(p, file) : -1;
	haddr_t at = set >= 0 ? H5Dget_offset(set) : HADDR_UNDEF;
	bool ok = at != HADDR_UNDEF;
	for (int i = 0; ok && words && i < words->attribute_count; i++)
		ok = put_attribute(set, &words->attributes[i]);
	ok = ok && (!words || put_names(p, file, words));
	if (set >= 0)
		ok = H5Dclose(set) >= 0 && ok;
	if (file >= 0)
		ok = otp_hdf5_close_written(file) && ok;
	*rows_at = at;
	return ok;
}

/* ---- the journal ----------------------------------------------------------------- */

static void note_left(otp_pack *p, int64_t sample, const char *why)
{
	p->left = otp_grown(p->left, p->left_count, &p->left_room, sizeof *p->left);
	p->left[p->left_count++] = (otp_pack_left){sample, otp_strdup(why)};
}

static void note_piece(otp_pack *p, int64_t rows, uint64_t digest)
{
	p->pieces = otp_grown(p->pieces, p->piece_count, &p->piece_room, sizeof *p->pieces);
	p->pieces[p->piece_count++] = (piece){rows, digest};
	p->rows += rows;
}

static uint64_t hex_of(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));
	return text ? strtoull(text, NULL, 16) : 0;
}

static int64_t number_of(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItem(object, key);
	return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 1e15
		   ? (int64_t)item->valuedouble
		   : -1;
}

static void add_hex(cJSON *object, const char *key, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof text, "%016" PRIx64, value);
	cJSON_AddStringToObject(object, key, text);
}

static bool put_line(const otp_pack *p, cJSON *object, otp_error *err)
{
	char *text = cJSON_PrintUnformatted(object), *line = text ? otp_format("%s\n", text) : NULL;
	bool ok = (line || otp_fail_machine(err, p->journal, "no memory for a line")) &&
		  otp_file_put(p->journal_fd, p->journal, line, strlen(line), err) &&
		  otp_file_sync(p->journal_fd, p->journal, err);
	otp_free(line);
	cJSON_free(text);
	cJSON_Delete(object);
	return ok;
}

static bool put_head(const otp_pack *p, otp_error *err)
{
	cJSON *head = cJSON_CreateObject();
	cJSON_AddNumberToObject(head, "journal", FORMAT);
	add_hex(head, "identity", p->form.identity);
	cJSON_AddNumberToObject(head, "row_bytes", (double)p->row_bytes);
	cJSON_AddNumberToObject(head, "rows_at", (double)p->rows_at);
	return put_line(p, head, err);
}

static bool is_head(const otp_pack *p, const cJSON *head)
{
	return number_of(head, "journal") == FORMAT && hex_of(head, "identity") == p->form.identity &&
	       number_of(head, "row_bytes") == (int64_t)p->row_bytes &&
	       number_of(head, "rows_at") == (int64_t)p->rows_at;
}

/* A piece, if its rows are there. */
static bool take_piece(otp_pack *p, const cJSON *line, int64_t rows_there)
{
	int64_t seen = number_of(line, "seen"), rows = number_of(line, "rows");
	const cJSON *left = cJSON_GetObjectItem(line, "left_out"), *one;
	if (seen <= 0 || rows < 0 || rows > rows_there - p->rows || rows + cJSON_GetArraySize(left) != seen)
		return false;
	cJSON_ArrayForEach(one, left)
	{
		const char *why = cJSON_GetStringValue(cJSON_GetObjectItem(one, "why"));
		note_left(p, number_of(one, "sample"), why ? why : "");
	}
	note_piece(p, rows, hex_of(line, "xxh3"));
	p->seen += seen;
	return true;
}

/* All lines that count. Returns how many bytes they are, 0: the journal is of something else. */
static size_t read_journal(otp_pack *p, const char *text, int64_t rows_there)
{
	const char *at = text, *end;
	for (bool good = true; good && (end = strchr(at, '\n')); at = good ? end + 1 : at) {
		cJSON *line = cJSON_ParseWithLength(at, (size_t)(end - at));
		good = line && (at == text ? is_head(p, line) : take_piece(p, line, rows_there));
		cJSON_Delete(line);
	}
	return (size_t)(at - text);
}

/* Goes on with what lies there, or begins anew; what lies beyond the last line that counts is cut off. */
static bool take_up(otp_pack *p, otp_error *err)
{
	otp_error ignored = {0};
	struct stat info;
	size_t bytes, kept = 0;
	char *text = otp_file_read(p->journal, &bytes, &ignored);
	if (text && stat(p->partial, &info) == 0 && (uint64_t)info.st_size >= p->rows_at)
		kept = read_journal(p, text, (int64_t)(((uint64_t)info.st_size - p->rows_at) / p->row_bytes));
	otp_free(text);
	p->fd = open(p->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (p->fd < 0 || ftruncate(p->fd, (off_t)rows_end(p)) != 0)
		return failed(p, p->partial, errno, err);
	p->journal_fd = open(p->journal, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (p->journal_fd < 0 || ftruncate(p->journal_fd, (off_t)kept) != 0 ||
	    lseek(p->journal_fd, 0, SEEK_END) < 0)
		return failed(p, p->journal, errno, err);
	return kept || put_head(p, err);
}

/* ---- rows ------------------------------------------------------------------------ */

otp_pack *otp_pack_open(const char *path, otp_pack_form form, otp_error *err)
{
	otp_pack *p = otp_calloc(1, sizeof *p);
	char *lock = otp_format("%s.lock", path), *temporary = otp_file_temporary(path);
	p->path = otp_strdup(path);
	p->partial = otp_format("%s.partial", path);
	p->journal = otp_format("%s.partial.journal", path);
	p->form = form;
	p->row_bytes = otp_mul_size(otp_mul_size((size_t)form.h, (size_t)form.w), (size_t)form.c) *
		       (form.vectors ? sizeof(float) : 1);
	p->fd = p->journal_fd = -1;
	p->lock = otp_lock_take(lock, err);
	bool ok =
	    p->lock && (shell(p, temporary, NULL, &p->rows_at) || failed(p, path, otp_hdf5_errno(), err));
	unlink(temporary);
	ok = ok && take_up(p, err);
	otp_free(lock);
	otp_free(temporary);
	if (ok)
		return p;
	otp_pack_close(p);
	return NULL;
}

bool otp_pack_add(otp_pack *p, const void *rows, int64_t seen, const otp_pack_left *left, int64_t left_count,
		  otp_error *err)
{
	int64_t count = seen - left_count;
	size_t bytes = otp_mul_size((size_t)count, p->row_bytes);
	uint64_t digest = XXH3_64bits(rows, bytes);
	if (lseek(p->fd, (off_t)rows_end(p), SEEK_SET) < 0)
		return failed(p, p->partial, errno, err);
	if (!otp_file_put(p->fd, p->partial, rows, bytes, err) || !otp_file_sync(p->fd, p->partial, err))
		return false;
	cJSON *line = cJSON_CreateObject(), *list;
	cJSON_AddNumberToObject(line, "seen", (double)seen);
	cJSON_AddNumberToObject(line, "rows", (double)count);
	add_hex(line, "xxh3", digest);
	list = left_count ? cJSON_AddArrayToObject(line, "left_out") : NULL;
	for (int64_t i = 0; i < left_count; i++) {
		cJSON *one = cJSON_CreateObject();
		cJSON_AddNumberToObject(one, "sample", (double)left[i].sample);
		cJSON_AddStringToObject(one, "why", left[i].why);
		cJSON_AddItemToArray(list, one);
		note_left(p, left[i].sample, left[i].why);
	}
	note_piece(p, count, digest);
	p->seen += seen;
	return put_line(p, line, err);
}

/* ---- the finished file ------------------------------------------------------------- */

/* Bytes from `at` up to `end` of one file to the same place in the other. */
static bool copy(const otp_pack *p, int from, const char *from_path, uint64_t at, uint64_t end,
		 otp_error *err)
{
	char *block = otp_calloc(COPIED, 1);
	bool ok = true;
	while (ok && at < end) {
		size_t bytes = end - at < COPIED ? (size_t)(end - at) : COPIED;
		ok = (lseek(from, (off_t)at, SEEK_SET) >= 0 &&
		      otp_file_get(from, block, bytes) == (int64_t)bytes) ||
		     failed(p, from_path, errno, err);
		ok = ok && (lseek(p->fd, (off_t)at, SEEK_SET) >= 0 || failed(p, p->partial, errno, err)) &&
		     otp_file_put(p->fd, p->partial, block, bytes, err);
		at += bytes;
	}
	otp_free(block);
	return ok;
}

static bool put_around(const otp_pack *p, const char *made, otp_error *err)
{
	struct stat info;
	int from = open(made, O_RDONLY | O_CLOEXEC);
	bool ok = (from >= 0 && fstat(from, &info) == 0) || failed(p, made, errno, err);
	ok = ok && copy(p, from, made, 0, p->rows_at, err) &&
	     copy(p, from, made, rows_end(p), (uint64_t)info.st_size, err);
	ok = ok && (ftruncate(p->fd, info.st_size) == 0 || failed(p, p->partial, errno, err));
	if (from >= 0)
		close(from);
	return ok;
}

/* Whether HDF5 finds the set in the file, where we wrote it, and every piece is as it was. */
static bool reads_back(const char *temporary, const void *meant, otp_error *err)
{
	const otp_pack *p = meant;
	otp_hdf5_start();
	hid_t file = otp_hdf5_open_file(temporary);
	hid_t set = file >= 0 ? H5Dopen2(file, p->form.vectors ? "vectors" : "images", H5P_DEFAULT) : -1;
	bool ok = (set >= 0 && H5Dget_offset(set) == p->rows_at &&
		   H5Dget_storage_size(set) == (hsize_t)p->rows * p->row_bytes) ||
		  otp_fail(err, temporary, "its rows cannot be found");
	if (set >= 0)
		H5Dclose(set);
	if (file >= 0)
		H5Fclose(file);
	uint64_t at = p->rows_at, digest;
	for (size_t i = 0; ok && i < p->piece_count; i++) {
		uint64_t bytes = (uint64_t)p->pieces[i].rows * p->row_bytes;
		ok = otp_file_digest(temporary, at, bytes, &digest, err) &&
		     (digest == p->pieces[i].digest || otp_fail(err, temporary, "its digest differs"));
		at += bytes;
	}
	return ok;
}

bool otp_pack_finish(otp_pack *p, const otp_pack_words *words, otp_error *err)
{
	uint64_t rows_at;
	char *temporary = otp_file_temporary(p->path);
	bool ok = shell(p, temporary, words, &rows_at) || failed(p, p->path, otp_hdf5_errno(), err);
	OTP_ASSERT(!ok || rows_at == p->rows_at, "HDF5 puts rows at byte %llu, before at %llu",
		   (unsigned long long)rows_at, (unsigned long long)p->rows_at);
	ok = ok && put_around(p, temporary, err);
	unlink(temporary);
	otp_free(temporary);
	/* Names and all else are read again on use; a damaged one is refused then. */
	if (ok)
		ok = otp_file_commit(p->partial, p->path, reads_back, p, err);
	if (ok)
		unlink(p->journal);
	return ok;
}

void otp_pack_discard(const otp_pack *p)
{
	unlink(p->journal);
	unlink(p->partial);
}

void otp_pack_close(otp_pack *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	if (p->journal_fd >= 0)
		close(p->journal_fd);
	otp_lock_release(p->lock);
	for (size_t i = 0; i < p->left_count; i++)
		otp_free(p->left[i].why);
	otp_free(p->left);
	otp_free(p->pieces);
	otp_free(p->path);
	otp_free(p->partial);
	otp_free(p->journal);
	otp_free(p);
}
