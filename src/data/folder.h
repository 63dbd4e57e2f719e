/* folder: a set of picture files, between finding them (folder_files.c) and handing out their samples
 * (folder.c).
 */
#ifndef OTP_FOLDER_H
#define OTP_FOLDER_H

#include "data/archive.h"
#include "data/source.h"
#include "pictures/kinds.h"

#include <stdatomic.h>
#include <sys/stat.h>

typedef struct file_entry {   /* <search.h> has a struct entry */
	char *name;	      /* below the folder, with extension */
	size_t stem;	      /* length without extension */
	bool keeps_extension; /* in the names of outputs: a.jpg beside a.png */
	uint64_t in_zip;      /* its number there */
	uint64_t bytes;
	int64_t changed_ns; /* when; of files alone */
	otp_image_facts is; /* once its head was read */
} otp_file_entry;

typedef struct otp_folder {
	otp_source base;
	char *root;
	int64_t most_pixels;
	otp_archive *archive; /* NULL: a otp_folder */
	uint64_t former;      /* digest of kind OTP_DIGEST_HEADS */
	otp_file_entry *entries;
	size_t count, room;
	atomic_uint_fast64_t *content; /* (count) hash of each file's bytes; 0: not read yet */
	void *seen;		       /* tsearch: folders that were listed */
	char **links;		       /* to folders, still to be followed */
	size_t link_count;
	otp_error refused;    /* the first thing that the machine would not list or tell of */
	otp_kinds unread;     /* what else lies there */
	char *unread_picture; /* the first of these that is one; NULL: none is */
} otp_folder;

/* "ROOT/NAME". otp_free it. */
char *otp_folder_path(const otp_folder *f, const char *name);
/* An entry's bytes, `most` at most. otp_free it. */
void *otp_folder_read(const otp_folder *f, const otp_file_entry *e, size_t most, size_t *bytes,
		      otp_error *err);
/* Finds all files below f->root. What the system refuses to list is noted in f->refused. */
void otp_folder_walk(otp_folder *f);
/* The same in f->archive. `below`: the folder of the zip that is the set, NULL: all of it. */
bool otp_folder_walk_zip(otp_folder *f, const char *below, otp_error *err);
/* One file more. Takes `name` over. */
void otp_folder_note_file(otp_folder *f, char *name, const struct stat *info);
/* Says what is not read, by kind. */
void otp_folder_say_unread(const otp_folder *f);

#endif
