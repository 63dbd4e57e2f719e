/* probe: what the command-line tests cannot do in a shell: make small data sets,
 * and look into what the program wrote. Exit 0: as expected; 1: not, with a line. */
#include "core/file.h"
#include "core/rng.h"
#include "data/loader.h"
#include "data/write.h"
#include "model/store.h"
#include "model/tiling.h"
#include "pictures/luminance.h"
#include "pictures/resample.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

static OTP_NORETURN OTP_PRINTF(1, 2) void fail(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

static void need(bool ok, const otp_error *err)
{
	if (!ok)
		fail("%s", err->text);
}

/* ---- making data ------------------------------------------------------------ */

/* Blobs of different places and hues, so that no two pictures of a set are equal. */
static uint8_t *picture(int which, int h, int w, int c)
{
	uint8_t *pixels = otp_calloc((size_t)(h * w * c), 1);
	for (int i = 0; i < h * w; i++) {
		int dy = i / w - h / 2 + which % 5 - 2, dx = i % w - w / 2 + which / 5 % 5 - 2;
		int near = dy * dy + dx * dx < h * w / 9;
		for (int k = 0; k < c; k++)
			pixels[i * c + k] = (uint8_t)(near ? 255 - (50 * k + 7 * which) % 200 : 10 * k);
	}
	return pixels;
}

/* FILE W H C [WHICH] */
static int make_png(int argc, char **argv)
{
	otp_error err = {0};
	int w = atoi(argv[1]), h = atoi(argv[2]), c = atoi(argv[3]);
	uint8_t *pixels = picture(argc > 4 ? atoi(argv[4]) : 0, h, w, c);
	need(otp_image_write_png(argv[0], pixels, h, w, c, &err), &err);
	otp_free(pixels);
	return 0;
}

/* FILE.zip FILE...: under their own paths, stored and deflated in turn. */
static int make_zip(int argc, char **argv)
{
	zip_t *z = zip_open(argv[0], ZIP_CREATE | ZIP_TRUNCATE, NULL);
	for (int i = 1; z && i < argc; i++) {
		zip_source_t *source = zip_source_file(z, argv[i], 0, -1);
		zip_int64_t n = source ? zip_file_add(z, argv[i], source, 0) : -1;
		if (n < 0)
			fail("%s: %s", argv[i], zip_strerror(z));
		zip_set_file_compression(z, (zip_uint64_t)n, i % 2 ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
	}
	if (!z || zip_close(z) != 0)
		fail("%s cannot be written", argv[0]);
	return 0;
}

/* FILE W H: colours that change slowly. */
static int make_smooth(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	int w = atoi(argv[1]), h = atoi(argv[2]);
	uint8_t *pixels = otp_calloc((size_t)(h * w), 3);
	for (int i = 0; i < h * w; i++)
		for (int k = 0; k < 3; k++)
			pixels[i * 3 + k] =
			    (uint8_t)(128 + 90 * sin((i % w + 20 * k) / 23.0) * cos(i / w / 17.0));
	need(otp_image_write_png(argv[0], pixels, h, w, 3, &err), &err);
	otp_free(pixels);
	return 0;
}

/* FILE N H W C: bytes, a blob each. */
static int make_images(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	int64_t dims[4];
	for (int i = 0; i < 4; i++)
		dims[i] = atoi(argv[1 + i]);
	otp_array_file *f = otp_array_file_new(argv[0], true, 4, dims, &err);
	need(f, &err);
	for (int i = 0; i < dims[0]; i++) {
		uint8_t *pixels = picture(i, (int)dims[1], (int)dims[2], (int)dims[3]);
		need(otp_array_file_append(f, pixels, 1, &err), &err);
		otp_free(pixels);
	}
	need(otp_array_file_finish(f, &err), &err);
	return 0;
}

/* FILE N D */
static int make_vectors(int argc, char **argv)
{
	double scale = argc > 3 ? atof(argv[3]) : 1, centre = argc > 4 ? atof(argv[4]) : 0;
	otp_error err = {0};
	int64_t dims[2] = {atoi(argv[1]), atoi(argv[2])};
	otp_array_file *f = otp_array_file_new(argv[0], false, 2, dims, &err);
	need(f, &err);
	size_t count = (size_t)(dims[0] * dims[1]);
	float *values = otp_calloc(count, sizeof *values);
	for (size_t i = 0; i < count; i++)
		values[i] = (float)centre + (float)scale * ((float)(i * 37 % 101) / 50 - 1);
	need(otp_array_file_append(f, values, dims[0], &err) && otp_array_file_finish(f, &err), &err);
	otp_free(values);
	return 0;
}

/* FILE N [ODD]: three columns, of which one is constant and one a thousand times as wide as the first; in row
 * ODD the first is NaN. */
static int make_columns(int argc, char **argv)
{
	otp_error err = {0};
	int64_t dims[2] = {atoi(argv[1]), 3}, odd = argc > 2 ? atoi(argv[2]) : -1;
	otp_array_file *f = otp_array_file_new(argv[0], false, 2, dims, &err);
	need(f, &err);
	for (int64_t i = 0; i < dims[0]; i++) {
		float row[3] = {(float)(i * i % 997) / 500 - 1, 0.5f,
				1000 * ((float)(i * 37 % 991) / 500 - 1)};
		row[0] = i == odd ? NAN : row[0];
		need(otp_array_file_append(f, row, 1, &err), &err);
	}
	need(otp_array_file_finish(f, &err), &err);
	return 0;
}

/* FILE: HDF5 that holds a number and nothing to train on. */
static int make_scalar(int argc, char **argv)
{
	(void)argc;
	hid_t file = H5Fcreate(argv[0], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
	      space = H5Screate(H5S_SCALAR);
	hid_t set = H5Dcreate2(file, "alone", H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	H5Dclose(set);
	H5Sclose(space);
	return H5Fclose(file) < 0;
}

/* FROM TO BIT */
static int flip(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	size_t bytes;
	uint8_t *data = otp_file_read(argv[0], &bytes, &err);
	need(data, &err);
	size_t bit = (size_t)strtoull(argv[2], NULL, 10) % (8 * bytes);
	data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	need(otp_file_write(argv[1], data, bytes, &err), &err);
	otp_free(data);
	return 0;
}

/* FILE SEED: moves every value of a checkpoint's states by up to one unit roundoff of float32, in place. */
static int nudge(int argc, char **argv)
{
	(void)argc;
	hid_t file = H5Fopen(argv[0], H5F_ACC_RDWR, H5P_DEFAULT);
	for (uint32_t n = 0; n < 2; n++) {
		hid_t set = H5Dopen2(file, n ? "potential/state" : "transport/state", H5P_DEFAULT),
		      space = H5Dget_space(set), digest = H5Aopen(set, "xxh3", H5P_DEFAULT);
		size_t count = (size_t)H5Sget_simple_extent_npoints(space);
		float *v = otp_calloc(count, sizeof *v);
		H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
		otp_stream stream = otp_stream_make(strtoull(argv[1], NULL, 10), n, 0);
		for (size_t i = 0; i < count; i++) {
			double u = (double)otp_random_uniform(stream, OTP_PURPOSE_INIT, (uint32_t)i);
			v[i] = (float)((double)v[i] * (1 + (2 * u - 1) * ldexp(1, -23)));
		}
		int64_t sum = (int64_t)XXH3_64bits(v, count * sizeof *v);
		H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
		H5Awrite(digest, H5T_NATIVE_INT64, &sum);
		otp_free(v);
		H5Aclose(digest);
		H5Sclose(space);
		H5Dclose(set);
	}
	return H5Fclose(file) < 0;
}

/* ---- looking ------------------------------------------------------------------ */

/* FILE KEY...: every line an object that has the keys; KEY=TEXT: with that value. */
static int check_json(int argc, char **argv)
{
	otp_error err = {0};
	size_t bytes;
	char *text = otp_file_read(argv[0], &bytes, &err), *rest = NULL;
	need(text, &err);
	int lines = 0;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++) {
		cJSON *object = cJSON_Parse(line);
		if (!cJSON_IsObject(object))
			fail("%s: no JSON object: %s", argv[0], line);
		for (int i = 1; i < argc; i++) {
			char key[64];
			size_t length = strcspn(argv[i], "=");
			snprintf(key, sizeof key, "%.*s", (int)length, argv[i]);
			cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
			if (!item)
				fail("%s: no key %s in %s", argv[0], key, line);
			char *value = cJSON_IsString(item) ? otp_strdup(item->valuestring)
							   : cJSON_PrintUnformatted(item);
			if (argv[i][length] && strcmp(value, argv[i] + length + 1) != 0)
				fail("%s: %s is %s", argv[0], argv[i], value);
			free(value);
		}
		cJSON_Delete(object);
	}
	otp_free(text);
	if (!lines)
		fail("%s: empty", argv[0]);
	return 0;
}

/* W H C FILE... */
static int check_size(int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		otp_error err = {0};
		otp_image image;
		need(otp_image_read(argv[i], &image, &err), &err);
		if (image.w != atoi(argv[0]) || image.h != atoi(argv[1]) || image.c != atoi(argv[2]))
			fail("%s: %dx%dx%d", argv[i], image.w, image.h, image.c);
		otp_image_free(&image);
	}
	return 0;
}

/* A B: pictures of one size whose last channels, their alpha, are equal. */
static int check_alpha(int argc, char **argv)
{
	(void)argc;
	otp_image image[2];
	for (int i = 0; i < 2; i++) {
		otp_error err = {0};
		need(otp_image_read(argv[i], &image[i], &err), &err);
		if (image[i].c % 2)
			fail("%s: has no alpha", argv[i]);
	}
	if (image[0].h != image[1].h || image[0].w != image[1].w)
		fail("other sizes");
	for (int i = 0; i < image[0].h * image[0].w; i++) {
		int a = image[0].u8[(i + 1) * image[0].c - 1], b = image[1].u8[(i + 1) * image[1].c - 1];
		if (a != b)
			fail("pixel %d: alpha %d and %d", i, a, b);
	}
	otp_image_free(&image[0]);
	otp_image_free(&image[1]);
	return 0;
}

/* The places where a seam between tiles i and i + 1 would be seen. */
enum { ELSEWHERE, BEGINS, ENDS, HALFWAY, PLACES };

static int place_of(const otp_tiling *t, int at)
{
	for (int i = 0; i + 1 < t->count; i++) {
		int begins = otp_tiling_start(t, i + 1), ends = otp_tiling_start(t, i) + t->tile;
		if (at == begins || at == ends || at == (begins + ends) / 2)
			return at == begins ? BEGINS : at == ends ? ENDS : HALFWAY;
	}
	return ELSEWHERE;
}

/* OUT IN SIZE STRIDE BOUND: of what was changed, OUT - IN, the mean step between neighbours at each kind of
 * border of tiles, across and down; the largest of these over the mean step elsewhere. */
static int check_seams(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	otp_image out, in;
	double sum[PLACES] = {0}, count[PLACES] = {0}, most = 0;
	need(otp_image_read(argv[0], &out, &err) && otp_image_read(argv[1], &in, &err), &err);
	int c = out.c, side[2] = {out.w, out.h};
	for (int way = 0; way < 2; way++) {
		otp_tiling t = otp_tiling_of(side[way], atoi(argv[2]), atoi(argv[3]));
		for (int i = 0; i < out.h * out.w * c; i++) {
			int at = way ? i / (out.w * c) : i / c % out.w, before = i - (way ? out.w * c : c);
			if (at == 0)
				continue;
			int place = place_of(&t, at);
			sum[place] += abs((out.u8[i] - in.u8[i]) - (out.u8[before] - in.u8[before]));
			count[place] += 1;
		}
	}
	otp_image_free(&out);
	otp_image_free(&in);
	for (int place = BEGINS; place < PLACES; place++)
		most = fmax(most, sum[place] / count[place]);
	double ratio = most / (sum[ELSEWHERE] / count[ELSEWHERE]);
	printf("%.3f\n", ratio);
	return !(ratio <= atof(argv[4]));
}

/* FILE...: of each a line, "H W C" with the pixels' bytes after it, or what is wrong. */
static int write_pixels(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		otp_error err = {0};
		otp_image image;
		if (!otp_image_read(argv[i], &image, &err)) {
			printf("refused %s\n", err.text);
			continue;
		}
		printf("%d %d %d\n", image.h, image.w, image.c);
		if (fwrite(image.u8, 1, otp_image_values(&image), stdout) != otp_image_values(&image))
			fail("stdout: cannot be written");
		otp_image_free(&image);
	}
	return 0;
}

/* A B: checkpoints of the same step with the same weights, moments and average. */
static int check_state(int argc, char **argv)
{
	(void)argc;
	static const size_t rows[] = {4, 3};
	otp_error err = {0};
	otp_stored a, b;
	need(otp_checkpoint_read(argv[0], &a, &err) && otp_checkpoint_read(argv[1], &b, &err), &err);
	if (a.step != b.step)
		fail("steps %lld and %lld", (long long)a.step, (long long)b.step);
	for (int i = 0; i < 2; i++)
		if (a.elements[i] != b.elements[i] ||
		    memcmp(a.state[i], b.state[i], rows[i] * (size_t)a.elements[i] * sizeof(float)) != 0)
			fail("network %d differs", i);
	otp_stored_free(&a);
	otp_stored_free(&b);
	return 0;
}

/* FILE: a checkpoint whose weights, moments, average and losses are numbers. */
static int check_finite(int argc, char **argv)
{
	(void)argc;
	static const int rows[] = {4, 3};
	otp_error err = {0};
	otp_stored s;
	need(otp_checkpoint_read(argv[0], &s, &err), &err);
	for (int n = 0; n < 2; n++)
		for (int64_t i = 0; i < rows[n] * s.elements[n]; i++)
			if (!isfinite(s.state[n][i]))
				fail("network %d: value %lld is %g", n, (long long)i, (double)s.state[n][i]);
	for (int kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (int k = 0; k < OTP_REPORT_COUNT; k++)
			if (!isfinite(s.losses.sum[kind][k]))
				fail("a loss is %g", s.losses.sum[kind][k]);
	otp_stored_free(&s);
	return 0;
}

/* The largest difference of two rows, in root mean squares of the second. */
static double row_distance(const float *a, const float *b, int64_t count)
{
	double most = 0, squares = 0;
	for (int64_t i = 0; i < count; i++) {
		most = fmax(most, fabs((double)a[i] - (double)b[i]));
		squares += (double)b[i] * (double)b[i];
	}
	return most > 0 ? most / sqrt(squares / (double)count) : 0;
}

/* A B BOUND: checkpoints of the same step, the largest difference in each row of state at most BOUND times
 * the row's root mean square. BOUND 0 only prints the difference. */
static int check_near(int argc, char **argv)
{
	(void)argc;
	static const int rows[] = {4, 3};
	otp_error err = {0};
	otp_stored a, b;
	need(otp_checkpoint_read(argv[0], &a, &err) && otp_checkpoint_read(argv[1], &b, &err), &err);
	double most = 0, bound = atof(argv[2]);
	for (int n = 0; n < 2; n++) {
		int64_t count = a.elements[n];
		if (a.step != b.step || count != b.elements[n])
			fail("other steps or sizes");
		for (int64_t r = 0; r < rows[n]; r++)
			most =
			    fmax(most, row_distance(a.state[n] + r * count, b.state[n] + r * count, count));
	}
	otp_stored_free(&a);
	otp_stored_free(&b);
	printf("%.3g\n", most);
	return bound > 0 && !(most <= bound);
}

/* A B BOUND: .npy files of one shape whose values, bytes or float32, differ by BOUND at most. */
static int check_arrays(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	uint8_t *data[2];
	size_t bytes[2];
	for (int i = 0; i < 2; i++)
		need((data[i] = otp_file_read(argv[i], &bytes[i], &err)), &err);
	/* Version 1.0 of the format: the header's length is in bytes 8 and 9. */
	size_t start = bytes[0] > 10 ? 10 + data[0][8] + 256 * (size_t)data[0][9] : 0;
	if (bytes[0] != bytes[1] || bytes[0] <= start || memcmp(data[0], data[1], start) != 0)
		fail("other types or shapes");
	bool floats = memmem(data[0], start, "<f4", 3) != NULL;
	double most = 0;
	for (size_t i = start; i < bytes[0]; i += floats ? sizeof(float) : 1) {
		float x[2];
		for (int k = 0; k < 2; k++) {
			x[k] = data[k][i];
			if (floats)
				memcpy(&x[k], data[k] + i, sizeof x[k]);
		}
		most = fmax(most, fabs((double)x[0] - (double)x[1]));
	}
	otp_free(data[0]);
	otp_free(data[1]);
	printf("%.3g\n", most);
	return !(most <= atof(argv[2]));
}

/* FILE NAME...: the set `names` of an HDF5 file holds exactly these. */
static int check_names(int argc, char **argv)
{
	hid_t file = H5Fopen(argv[0], H5F_ACC_RDONLY, H5P_DEFAULT),
	      set = file < 0 ? -1 : H5Dopen2(file, "names", H5P_DEFAULT);
	if (set < 0)
		fail("%s: no set of names", argv[0]);
	hid_t type = H5Dget_type(set), space = H5Dget_space(set);
	size_t each = H5Tget_size(type), count = (size_t)H5Sget_simple_extent_npoints(space);
	char *texts = otp_calloc(count + 1, each);
	if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) < 0 || count != (size_t)argc - 1)
		fail("%s: %zu names", argv[0], count);
	for (size_t i = 0; i < count; i++)
		if (strlen(argv[i + 1]) > each || strncmp(texts + i * each, argv[i + 1], each) != 0)
			fail("%s: name %zu is %.*s", argv[0], i, (int)each, texts + i * each);
	otp_free(texts);
	H5Sclose(space);
	H5Tclose(type);
	H5Dclose(set);
	return H5Fclose(file) < 0;
}

/* A B [MOST]: two pictures of one size have the same luminance in every pixel, and B has colour (MOST: at
 * most so much of it, as a mean difference of channels). */
static int check_luminance(int argc, char **argv)
{
	otp_error err = {0};
	otp_image a, b;
	need(otp_image_read(argv[0], &a, &err) && otp_image_read(argv[1], &b, &err), &err);
	if (a.h != b.h || a.w != b.w || b.c < 3 || !a.u8 || !b.u8)
		fail("%s: %dx%dx%d beside %dx%dx%d", argv[1], b.w, b.h, b.c, a.w, a.h, a.c);
	uint8_t *x = otp_luminance_of(&a), *y = otp_luminance_of(&b);
	double colour = 0, pixels = (double)a.h * a.w;
	for (int i = 0; i < a.h * a.w; i++) {
		const uint8_t *p = b.u8 + i * b.c;
		if (x[i] != y[i])
			fail("%s: luminance %d in pixel %d, %d expected", argv[1], y[i], i, x[i]);
		colour += (abs(p[0] - p[1]) + abs(p[1] - p[2])) / pixels;
	}
	if (colour <= 0 || (argc > 2 && colour > strtod(argv[2], NULL)))
		fail("%s: channels differ by %g", argv[1], colour);
	otp_free(x);
	otp_free(y);
	otp_image_free(&a);
	otp_image_free(&b);
	return 0;
}

/* The largest set of an HDF5 file: where its values lie. */
typedef struct largest {
	haddr_t at;
	hsize_t bytes;
} largest;

static herr_t look_at_set(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
	(void)info;
	largest *l = context;
	hid_t object = H5Oopen(group, name, H5P_DEFAULT);
	if (H5Iget_type(object) == H5I_DATASET && H5Dget_storage_size(object) > l->bytes)
		*l = (largest){H5Dget_offset(object), H5Dget_storage_size(object)};
	H5Oclose(object);
	return 0;
}

/* FROM TO: a copy of a checkpoint or model in which one bit of its largest set is turned over, whatever its
 * size. */
static int spoil(int argc, char **argv)
{
	(void)argc;
	char bit[32], *words[] = {argv[0], argv[1], bit};
	largest l = {0};
	hid_t file = H5Fopen(argv[0], H5F_ACC_RDONLY, H5P_DEFAULT);
	if (H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, look_at_set, &l) < 0 || !l.bytes)
		fail("%s: no set", argv[0]);
	H5Fclose(file);
	snprintf(bit, sizeof bit, "%llu", 8 * (unsigned long long)(l.at + l.bytes / 2));
	return flip(3, words);
}

/* ---- measuring -------------------------------------------------------------- */

/* peak PROGRAM ARGUMENTS...: the most KiB that the program kept in memory, on stdout; its own output goes to
 * stderr. */
static int peak(int argc, char **argv)
{
	(void)argc;
	int status;
	struct rusage usage;
	pid_t child = fork();
	if (child < 0)
		fail("fork: %s", strerror(errno));
	if (child == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	if (wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("%s failed", argv[0]);
	printf("%ld\n", usage.ru_maxrss);
	return 0;
}

/* FILE W H FILTER: the picture resized, like pixels. */
static int write_resized(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	otp_image in = {0};
	int filter = 0;
	while (filter < 4 && strcmp(argv[3], OTP_CHOICE_NAME(otp_resize, filter)) != 0)
		filter++;
	if (filter == 4)
		fail("no filter %s", argv[3]);
	need(otp_image_read(argv[0], &in, &err), &err);
	otp_image out = otp_image_resize(&in, in.c, atoi(argv[2]), atoi(argv[1]), (otp_resize)filter, true);
	printf("%d %d %d\n", out.h, out.w, out.c);
	fwrite(out.u8, 1, otp_image_values(&out), stdout);
	otp_image_free(&in);
	otp_image_free(&out);
	return 0;
}

static otp_dataset *open_resized(const char *spec, int size, int threads)
{
	otp_error err = {0};
	otp_preprocessing how = otp_preprocessing_square(size);
	otp_dataset *d = otp_dataset_open(spec, 1, &err);
	if (!d || !otp_dataset_prepare(d, &how, 3, threads, &err))
		fail("%s", err.text);
	return d;
}

/* deliver SPEC SIZE BATCH THREADS SECONDS: seconds until the set is ready, and pictures a second that the
 * loader then hands to a trainer that waits for nothing else. */
static int deliver(int argc, char **argv)
{
	(void)argc;
	int size = atoi(argv[1]), batch = atoi(argv[2]), threads = atoi(argv[3]);
	otp_error err = {0};
	double started = otp_seconds(), ready, now;
	otp_dataset *d = open_resized(argv[0], size, threads);
	otp_loader *loader =
	    otp_loader_new(d, (otp_walk){.seed = 1, .batch = batch, .copies = 1, .flip = true}, threads, 0);
	int64_t pictures = 0;
	if (!otp_loader_next(loader, &err))
		fail("%s", err.text);
	ready = now = otp_seconds();
	for (; now - ready < atof(argv[4]); now = otp_seconds(), pictures += batch)
		if (!otp_loader_next(loader, &err))
			fail("%s", err.text);
	printf("%.3f %.0f\n", ready - started, (double)pictures / (now - ready));
	otp_loader_free(loader);
	otp_dataset_close(d);
	return 0;
}

/* npy SPEC SIZE FILE.npy: its pictures as bytes. */
static int write_npy(int argc, char **argv)
{
	(void)argc;
	otp_error err = {0};
	otp_dataset *d = open_resized(argv[0], atoi(argv[1]), 1);
	otp_dataset_info i = otp_dataset_describe(d);
	const int64_t dims[] = {i.count, i.h, i.w, i.c};
	otp_array_file *file = otp_array_file_new(argv[2], true, 4, dims, &err);
	uint8_t *row = otp_calloc((size_t)i.h * (size_t)i.w, (size_t)i.c);
	bool ok = file && otp_dataset_stored_channels(d) == i.c;
	for (int64_t k = 0; ok && k < i.count; k++)
		ok = otp_dataset_get_bytes(d, (uint64_t)k, row, &err) &&
		     otp_array_file_append(file, row, 1, &err);
	if (!ok || !otp_array_file_finish(file, &err))
		fail("%s", err.text);
	otp_free(row);
	otp_dataset_close(d);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int least;
		int (*run)(int argc, char **argv);
	} COMMANDS[] = {
	    {"png", 4, make_png},
	    {"images", 5, make_images},
	    {"vectors", 3, make_vectors},
	    {"scalar", 1, make_scalar},
	    {"flip", 3, flip},
	    {"json", 1, check_json},
	    {"size", 4, check_size},
	    {"pixels", 1, write_pixels},
	    {"state", 2, check_state},
	    {"nudge", 2, nudge},
	    {"near", 3, check_near},
	    {"arrays", 3, check_arrays},
	    {"smooth", 3, make_smooth},
	    {"alpha", 2, check_alpha},
	    {"seams", 5, check_seams},
	    {"luminance", 2, check_luminance},
	    {"peak", 1, peak},
	    {"names", 1, check_names},
	    {"finite", 1, check_finite},
	    {"resize", 4, write_resized},
	    {"columns", 2, make_columns},
	    {"zip", 2, make_zip},
	    {"spoil", 2, spoil},
	    {"deliver", 5, deliver},
	    {"npy", 3, write_npy},
	};
	for (size_t i = 0; argc > 1 && i < sizeof COMMANDS / sizeof *COMMANDS; i++)
		if (strcmp(argv[1], COMMANDS[i].name) == 0 && argc - 2 >= COMMANDS[i].least)
			return COMMANDS[i].run(argc - 2, argv + 2);
	fail("probe: unknown words");
}
