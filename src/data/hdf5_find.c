#include "data/hdf5_find.h"

#include <stdio.h>
#include <string.h>

/* A file may have groups within groups without end, and links that lead round. */
enum {
	MOST_DEPTH = 16,
	MOST_LINKS = 10000,
	MOST_SOFT_LINKS = 16,
	MOST_TARGET_BYTES = 4096,
	LIST_BYTES = 480
};

bool otp_hdf5_usable(hid_t set, otp_array *array)
{
	hid_t space = H5Dget_space(set), type = H5Dget_type(set);
	hsize_t dim[4] = {0};
	int rank = H5Sget_simple_extent_ndims(space);
	H5T_class_t class = H5Tget_class(type);
	size_t bytes = H5Tget_size(type);
	bool whole = class == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE && (bytes == 1 || bytes == 2);
	if (rank >= 1 && rank <= 4)
		H5Sget_simple_extent_dims(space, dim, NULL);
	array->rank = rank;
	for (int i = 0; i < 4; i++)
		array->dim[i] = dim[i] <= INT64_MAX ? (int64_t)dim[i] : INT64_MAX;
	array->type = whole && bytes == 1 ? OTP_ARRAY_U8 : whole ? OTP_ARRAY_U16 : OTP_ARRAY_F32;
	H5Sclose(space);
	H5Tclose(type);
	return rank >= 2 && rank <= 4 && ((class == H5T_FLOAT && bytes <= 16) || (whole && rank > 2));
}

/* "6 x 4 x 5 x 3 int32" */
static void describe(hid_t set, const otp_array *a, char *text, size_t room)
{
	hid_t type = H5Dget_type(set);
	H5T_class_t class = H5Tget_class(type);
	size_t bits = 8 * H5Tget_size(type), used = 0;
	*text = 0;
	for (int i = 0; i < a->rank && i < 4; i++, used = strlen(text))
		snprintf(text + used, room - used, "%s%lld", i ? " x " : "", (long long)a->dim[i]);
	const char *gap = a->rank > 0 ? " " : "";
	if (class == H5T_INTEGER)
		snprintf(text + used, room - used, "%s%sint%zu", gap,
			 H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
	else if (class == H5T_FLOAT)
		snprintf(text + used, room - used, "%sfloat%zu", gap, bits);
	else
		snprintf(text + used, room - used, "%sof no numbers", gap);
	H5Tclose(type);
}

bool otp_hdf5_refuse(hid_t set, const char *where, otp_error *err)
{
	otp_array a = {0};
	char what[128];
	otp_hdf5_usable(set, &a);
	describe(set, &a, what, sizeof what);
	return otp_fail(
	    err, where,
	    "is %s, expected N x H x W[ x C] uint8, uint16 or float, or N x d float: save it so, for "
	    "example a.astype(\"float32\")",
	    what);
}

/* ---- by name --------------------------------------------------------------------- */

/* The text that a link holds; NULL where it is none. otp_free it. */
static char *link_value(hid_t group, const char *name, const H5L_info_t *link)
{
	size_t bytes = link->u.val_size;
	if (bytes == 0 || bytes > MOST_TARGET_BYTES)
		return NULL;
	char *value = otp_calloc(bytes + 1, 1);
	if (H5Lget_val(group, name, value, bytes, H5P_DEFAULT) >= 0)
		return value;
	otp_free(value);
	return NULL;
}

static bool refuse_link(hid_t group, const char *name, const H5L_info_t *link, const char *path,
			otp_error *err)
{
	const char *file = NULL, *object = NULL;
	char *value = link->type == H5L_TYPE_EXTERNAL ? link_value(group, name, link) : NULL;
	if (value && H5Lunpack_elink_val(value, link->u.val_size, NULL, &file, &object) >= 0)
		otp_fail(
		    err, path,
		    "`%s' is a link into another file, which is not followed; name that set itself: '%s:%s'",
		    name, file, object);
	else
		otp_fail(err, path, "`%s' is a link of a kind that is not followed", name);
	otp_free(value);
	return false;
}

/* Where a walk along a path stands. */
typedef struct walk {
	hid_t root, here;
	char *rest; /* of the path, from `here` */
	int soft_links;
	const char *path; /* of the file */
	otp_error *err;
} walk;

static void stand_at(walk *w, hid_t object)
{
	H5Oclose(w->here);
	w->here = object;
}

/* Replaces the link `name` in what is left of the path by where it points. */
static bool follow_soft(walk *w, const char *name, const H5L_info_t *link, const char *after)
{
	char *target = ++w->soft_links <= MOST_SOFT_LINKS ? link_value(w->here, name, link) : NULL;
	if (!target)
		return otp_fail(w->err, w->path, "`%s' is a link that leads nowhere or round", name);
	if (target[0] == '/')
		stand_at(w, H5Oopen(w->root, "/", H5P_DEFAULT));
	char *rest = otp_format("%s/%s", target, after);
	otp_free(target);
	otp_free(w->rest);
	w->rest = rest;
	return true;
}

/* One component further. False with err set, or, where there is no such name, without. */
static bool step(walk *w)
{
	char *start = w->rest + strspn(w->rest, "/");
	size_t length = strcspn(start, "/");
	char *name = otp_format("%.*s", (int)length, start), *after = otp_strdup(start + length);
	H5L_info_t link;
	hid_t next = -1;
	bool ok = false;
	if (strcmp(name, ".") == 0) {
		ok = true;
	} else if (H5Iget_type(w->here) != H5I_GROUP || H5Lget_info(w->here, name, &link, H5P_DEFAULT) < 0) {
		goto out;
	} else if (link.type == H5L_TYPE_SOFT) {
		ok = follow_soft(w, name, &link, after);
		goto out;
	} else if (link.type != H5L_TYPE_HARD) {
		refuse_link(w->here, name, &link, w->path, w->err);
		goto out;
	} else {
		next = H5Oopen(w->here, name, H5P_DEFAULT);
		ok = next >= 0;
		if (ok)
			stand_at(w, next);
	}
	memmove(w->rest, after, strlen(after) + 1);
out:
	otp_free(name);
	otp_free(after);
	return ok;
}

/* The set that NAME leads to without leaving the file; negative where there is none, or, with err set, where
 * it leads elsewhere. */
static hid_t open_named(hid_t file, const char *path, const char *name, otp_error *err)
{
	walk w = {.root = file,
		  .here = H5Oopen(file, "/", H5P_DEFAULT),
		  .rest = otp_strdup(name),
		  .path = path,
		  .err = err};
	bool ok = w.here >= 0;
	while (ok && w.rest[strspn(w.rest, "/")])
		ok = step(&w);
	otp_free(w.rest);
	if (ok && H5Iget_type(w.here) == H5I_DATASET)
		return w.here;
	if (w.here >= 0)
		H5Oclose(w.here);
	return -1;
}

/* ---- what there is ----------------------------------------------------------------- */

typedef struct search {
	char *found;		 /* the first usable set, or NULL */
	char beside[LIST_BYTES]; /* the other usable ones */
	char list[LIST_BYTES];	 /* everything, for the message */
	char *group;		 /* that is being looked at: "" or "/a/b" */
	int depth, links;
} search;

static void append(char *list, const char *text)
{
	if (strlen(list) + strlen(text) + 3 < LIST_BYTES)
		strcat(strcat(list, *list ? ", " : ""), text);
}

static void note_set(search *s, hid_t set, const char *name)
{
	otp_array a = {0};
	if (otp_hdf5_usable(set, &a) && s->found)
		append(s->beside, name);
	else if (otp_hdf5_usable(set, &a))
		s->found = otp_strdup(name);
	char what[128];
	describe(set, &a, what, sizeof what);
	char *entry = otp_format("%s (%s)", name, what);
	append(s->list, entry);
	otp_free(entry);
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
	search *s = context;
	if (++s->links > MOST_LINKS)
		return 1;
	char *full = otp_format("%s/%s", s->group, name);
	hid_t object = link->type == H5L_TYPE_HARD ? H5Oopen(group, name, H5P_DEFAULT) : -1;
	H5I_type_t type = object >= 0 ? H5Iget_type(object) : H5I_BADID;
	if (type == H5I_DATASET) {
		note_set(s, object, full);
	} else if (type == H5I_GROUP && s->depth < MOST_DEPTH) {
		char *above = s->group;
		s->group = full;
		s->depth++;
		H5Literate(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit, s);
		s->depth--;
		s->group = above;
	} else if (link->type == H5L_TYPE_EXTERNAL) {
		char *entry = otp_format("%s (a link into another file)", full);
		append(s->list, entry);
		otp_free(entry);
	}
	if (object >= 0)
		H5Oclose(object);
	otp_free(full);
	return 0;
}

static hid_t open_first(hid_t file, const search *s, const char *path, otp_error *err)
{
	if (s->found)
		return H5Dopen2(file, s->found, H5P_DEFAULT);
	otp_fail(err, path,
		 "holds no N x H x W[ x C] uint8, uint16 or float set and no N x d float set, found: %s",
		 *s->list ? s->list : "no data sets");
	return -1;
}

hid_t otp_hdf5_find(hid_t file, const char *path, const char *name, char **found, char **beside,
		    otp_error *err)
{
	search s = {.group = ""};
	hid_t set = name ? open_named(file, path, name, err) : -1;
	*found = *beside = NULL;
	if (set >= 0) {
		*found = otp_format("%s%s", name[0] == '/' ? "" : "/", name);
		return set;
	}
	if (err->exit_code)
		return -1;
	H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, NULL, visit, &s);
	if (name) {
		otp_fail(err, path, "holds no data set `%s', found: %s", name, *s.list ? s.list : "none");
		otp_free(s.found);
		return -1;
	}
	set = open_first(file, &s, path, err);
	*found = s.found;
	*beside = *s.beside ? otp_strdup(s.beside) : NULL;
	return set;
}

/* ---- what lies in the file ------------------------------------------------------------ */

/* Whether all filters are ones that pack no tighter than about 1032:1; `packs`: whether there are any. */
static bool packs_like_deflate(hid_t create, bool *packs)
{
	int count = H5Pget_nfilters(create);
	*packs = count > 0;
	for (int i = 0; i < count; i++) {
		unsigned flags, config;
		size_t values = 0;
		H5Z_filter_t filter =
		    H5Pget_filter2(create, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
		if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
		    filter != H5Z_FILTER_FLETCHER32 && filter != H5Z_FILTER_SZIP)
			return false;
	}
	return true;
}

/* How many chunks the set consists of; 0: not to be told. */
static uint64_t chunks_of(hid_t set, hid_t create)
{
	hsize_t dim[H5S_MAX_RANK], chunk[H5S_MAX_RANK];
	hid_t space = H5Dget_space(set);
	int rank = H5Sget_simple_extent_dims(space, dim, NULL);
	H5Sclose(space);
	uint64_t chunks = H5Pget_chunk(create, H5S_MAX_RANK, chunk) == rank && rank > 0;
	for (int i = 0; chunks && i < rank; i++) {
		uint64_t along = chunk[i] ? dim[i] / chunk[i] + (dim[i] % chunk[i] != 0) : 0;
		chunks = along && chunks <= UINT64_MAX / along ? chunks * along : 0;
	}
	return chunks;
}

static bool check_chunks(hid_t set, hid_t create, uint64_t claimed, uint64_t stored, const char *where,
			 otp_error *err)
{
	bool packs, like_deflate = packs_like_deflate(create, &packs);
	uint64_t chunks = chunks_of(set, create);
	hsize_t there = 0;
	hid_t space = H5Dget_space(set);
	bool counted = H5Dget_num_chunks(set, space, &there) >= 0;
	H5Sclose(space);
	if (!counted || there < chunks || !chunks)
		return otp_fail(
		    err, where, "claims %llu bytes, but only %llu of their %llu chunks were ever written",
		    (unsigned long long)claimed, (unsigned long long)there, (unsigned long long)chunks);
	uint64_t most = !packs ? 1 : like_deflate ? 1040 : UINT64_MAX;
	return claimed / most <= stored ||
	       otp_fail(err, where, "claims %llu bytes, but %llu are stored for them",
			(unsigned long long)claimed, (unsigned long long)stored);
}

static bool refuse_external(hid_t create, const char *where, otp_error *err)
{
	char name[256] = "";
	off_t offset;
	hsize_t bytes;
	H5Pget_external(create, 0, sizeof name - 1, name, &offset, &bytes);
	return otp_fail(err, where,
			"keeps its values in another file (%s), which is not read; make one file of them: "
			"h5repack -l CONTI IN.h5 OUT.h5",
			name);
}

bool otp_hdf5_check_storage(hid_t file, hid_t set, uint64_t claimed, const char *where, otp_error *err)
{
	hid_t create = H5Dget_create_plist(set);
	H5D_layout_t layout = H5Pget_layout(create);
	hsize_t file_bytes = 0;
	bool ok = false;
	if (layout == H5D_VIRTUAL) {
		otp_fail(
		    err, where,
		    "is a virtual set, put together from other sets, which are not read; make one of them: "
		    "h5repack -l CONTI IN.h5 OUT.h5");
	} else if (H5Pget_external_count(create) != 0) {
		refuse_external(create, where, err);
	} else {
		uint64_t stored = H5Dget_storage_size(set);
		H5Fget_filesize(file, &file_bytes);
		if (stored > file_bytes)
			otp_fail(err, where, "claims %llu stored bytes in a file of %llu",
				 (unsigned long long)stored, (unsigned long long)file_bytes);
		else if (layout == H5D_CHUNKED)
			ok = check_chunks(set, create, claimed, stored, where, err);
		else if (layout == H5D_CONTIGUOUS && H5Dget_offset(set) == HADDR_UNDEF)
			otp_fail(err, where, "claims %llu bytes, but none was ever written",
				 (unsigned long long)claimed);
		else
			ok = claimed <= stored ||
			     otp_fail(err, where, "claims %llu bytes, but %llu are stored for them",
				      (unsigned long long)claimed, (unsigned long long)stored);
	}
	H5Pclose(create);
	return ok;
}
