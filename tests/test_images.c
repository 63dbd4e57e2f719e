/* images, and folders and zip archives of them, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "common/data_files.h"
#include "core/file.h"
#include "pictures/image.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ---- images -------------------------------------------------------------------- */

static void bytes_round_half_to_even(void **state)
{
	(void)state;
	for (int b = 0; b < 256; b++)
		assert_int_equal(otp_image_byte((float)b / 127.5f - 1), b);
	assert_int_equal(otp_image_byte(-1.0f), 0);
	assert_int_equal(otp_image_byte(-7.0f), 0);
	assert_int_equal(otp_image_byte(1.0f), 255);
	assert_int_equal(otp_image_byte(1e30f), 255);
	assert_int_equal(otp_image_byte(NAN), 0);
	assert_int_equal(otp_image_byte(0.0f), 128); /* 127.5 */
	assert_int_equal(otp_image_byte(1.0f / 255 * 1e-6f), 128);
	assert_int_equal(otp_image_byte(-1.0f / 255 * 1e-3f), 127);
}

static void channels_convert(void **state)
{
	(void)state;
	uint8_t rgba[] = {255, 0, 0, 255, 10, 20, 30, 0};
	otp_image image = {.h = 1, .w = 2, .c = 4, .u8 = rgba};
	otp_image_to_channels(&image, 3);
	otp_image_to_bytes(&image);
	const uint8_t over_white[] = {255, 0, 0, 255, 255, 255};
	assert_memory_equal(image.u8, over_white, sizeof over_white);
	otp_image_to_channels(&image, 1);
	otp_image_to_bytes(&image);
	assert_int_equal(image.u8[0], 76); /* 0.299 * 255 */
	assert_int_equal(image.u8[1], 255);
	otp_image_to_channels(&image, 4);
	otp_image_to_bytes(&image);
	const uint8_t opaque[] = {76, 76, 76, 255, 255, 255, 255, 255};
	assert_memory_equal(image.u8, opaque, sizeof opaque);
	otp_image_free(&image);
}

static void to_square(otp_image *image, int size)
{
	otp_preprocessing how = otp_preprocessing_square(size);
	otp_preprocessing_apply(&how, image);
}

static void resize_keeps_means_and_centre(void **state)
{
	(void)state;
	/* A constant stays constant at any ratio; a wide image loses its two ends alike. */
	static const int shapes[][3] = {{7, 13, 5}, {64, 48, 16}, {3, 3, 8},
					{1, 9, 4},  {33, 32, 32}, {500, 20, 8}};
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int h = shapes[s][0], w = shapes[s][1], size = shapes[s][2];
		uint8_t *flat = otp_calloc((size_t)(h * w * 3), 1);
		memset(flat, 77, (size_t)(h * w * 3));
		otp_image image = {.h = h, .w = w, .c = 3, .u8 = flat};
		to_square(&image, size);
		otp_image_to_bytes(&image);
		for (int i = 0; i < size * size * 3; i++)
			assert_int_equal(image.u8[i], 77);
		otp_image_free(&image);
		otp_free(flat);
	}
	uint8_t wide[4 * 12];
	for (int i = 0; i < 48; i++)
		wide[i] = (uint8_t)(20 * (i % 12));
	otp_image image = {.h = 4, .w = 12, .c = 1, .u8 = wide};
	to_square(&image, 4);
	otp_image_to_bytes(&image);
	for (int x = 0; x < 4; x++)
		assert_int_equal(image.u8[x], 20 * (x + 4));
	otp_image_free(&image);

	/* Antialiased: a fine checkerboard shrinks to its mean, not to one of its colours. */
	uint8_t board[64 * 64];
	for (int i = 0; i < 64 * 64; i++)
		board[i] = (i + i / 64) % 2 ? 255 : 0;
	image = (otp_image){.h = 64, .w = 64, .c = 1, .u8 = board};
	to_square(&image, 8);
	for (int i = 0; i < 64; i++)
		assert_close((double)image.f32[i], 0, 0.02);
	otp_image_free(&image);
}

/* ---- folders --------------------------------------------------------------------- */

static void png_chunk(gzFile out, const char *type, const uint8_t *data, uint32_t bytes)
{
	uint8_t frame[4] = {(uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8),
			    (uint8_t)bytes};
	gzwrite(out, frame, 4);
	gzwrite(out, type, 4);
	if (bytes)
		gzwrite(out, data, bytes);
	uLong crc = crc32(0, (const Bytef *)type, 4);
	if (bytes)
		crc = crc32(crc, data, bytes);
	uint8_t tail[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
	gzwrite(out, tail, 4);
}

/* A grey PNG of 16 bits, 2 x 2, top bytes 0, 85, 170, 255. */
static void put_png16(const char *name)
{
	const uint8_t head[13] = {0, 0, 0, 2, 0, 0, 0, 2, 16, 0, 0, 0, 0};
	const uint8_t rows[] = {0, 0, 0, 85, 9, 0, 170, 200, 255, 255};
	uint8_t packed[64];
	uLongf bytes = sizeof packed;
	assert_int_equal(compress(packed, &bytes, rows, sizeof rows), Z_OK);
	gzFile out = gzopen(at(name), "wbT"); /* T: no compression, a plain file */
	gzwrite(out, "\x89PNG\r\n\x1a\n", 8);
	png_chunk(out, "IHDR", head, sizeof head);
	png_chunk(out, "IDAT", packed, (uint32_t)bytes);
	png_chunk(out, "IEND", NULL, 0);
	gzclose(out);
}

/* Counts, channels, sizes and what is left out are those of the samples that are taken. */
static void parts_are_told_of_alone(void **state)
{
	(void)state;
	static const struct {
		const char *set;
		int64_t grey, colour, alpha, skipped;
		int h, c;
	} PARTS[] = {
	    {"told?limit=1", 1, 0, 0, 0, 6, 1},
	    {"told?limit=2", 2, 0, 1, 1, 6, 1}, /* 0, 1 and the link between; 2 stands behind them */
	    {"told?limit=3", 2, 1, 2, 2, 0, 3},
	    {"told?limit=4", 2, 2, 2, 2, 0, 3}, /* all; 5 is beyond the limit */
	    {"told", 2, 2, 2, 3, 0, 3},
	};
	folder("told");
	put_png("told/0.png", 1, 6, 6, 1);
	put_png("told/1.png", 2, 6, 6, 2);
	put("told/2.png", "no picture", 10);
	put_png("told/3.png", 3, 8, 8, 4);
	put_png("told/4.png", 4, 6, 6, 3);
	put("told/5.png", "no picture", 10);
	assert_int_equal(symlink("/no/such/place.png", at("told/0a.png")), 0);
	for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
		otp_dataset *d = open_set(at(PARTS[i].set));
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.survey.grey, PARTS[i].grey);
		assert_int_equal(info.survey.colour, PARTS[i].colour);
		assert_int_equal(info.survey.alpha, PARTS[i].alpha);
		assert_int_equal(info.skipped, PARTS[i].skipped);
		assert_int_equal(info.h, PARTS[i].h);
		assert_int_equal(info.c, PARTS[i].c);
		otp_dataset_close(d);
	}
	int64_t grey = 0, colour = 0, skipped = 0;
	for (int part = 1; part <= 2; part++) {
		otp_dataset *d = open_set(at(part == 1 ? "told?part=1/2" : "told?part=2/2"));
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.count, 2);
		grey += info.survey.grey;
		colour += info.survey.colour;
		skipped += info.skipped;
		otp_dataset_close(d);
	}
	assert_int_equal(grey, 2);
	assert_int_equal(colour, 2);
	assert_int_equal(skipped, 3); /* each by one part alone */
}

static void folder_finds_names_and_skips(void **state)
{
	(void)state;
	folder("f/sub/deep");
	put_png("f/b.png", 10, 6, 6, 3);
	put_png("f/a.png", 20, 6, 6, 1);
	put_png("f/sub/c.png", 30, 6, 6, 4);
	put_png("f/sub/deep/d.PNG", 40, 6, 6, 2);
	put("f/notes.txt", "x", 1);
	put("f/.hidden.png", "x", 1);
	put("f/broken.png", "not a picture", 13);
	put_png("f/.whole.png", 50, 40, 40, 3);
	cut("f/.whole.png", "f/cut.png", 6); /* head whole, body not */
	assert_int_equal(symlink("..", at("f/sub/loop")), 0);
	assert_int_equal(symlink("/no/such/place.png", at("f/gone.png")), 0);

	otp_dataset *d = open_set(at("f"));
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(info.count, 5);
	assert_int_equal(info.skipped, 2);
	assert_int_equal(info.c, 3);
	assert_false(info.one_size);
	assert_int_equal(info.survey.alpha, 2);
	assert_int_equal(info.survey.grey, 2);
	assert_int_equal(info.survey.h_max, 40);
	otp_error err = {0};
	assert_false(otp_dataset_prepare(d, &(otp_preprocessing){0}, 0, 1, &err));
	assert_non_null(strstr(err.text, "--image-size"));

	err = (otp_error){0};
	assert_true(otp_dataset_prepare(d, &(otp_preprocessing){.size = {6, 6}}, 3, 2, &err));
	info = otp_dataset_describe(d);
	assert_int_equal(info.count, 4);
	assert_int_equal(info.skipped, 3);
	assert_non_null(strstr(otp_dataset_skipped(d, 2), "cut.png"));
	static const char *names[] = {"a", "b", "sub/c", "sub/deep/d"};
	char buffer[256];
	float x[6 * 6 * 3];
	for (uint64_t i = 0; i < 4; i++)
		assert_string_equal(otp_dataset_name(d, i, buffer, sizeof buffer), names[i]);
	get(d, 0, 0, x);
	assert_close((double)x[0], 20 / 127.5 - 1, 1e-6);
	assert_close((double)x[1], 20 / 127.5 - 1, 1e-6);
	get(d, 1, 0, x);
	for (int i = 0; i < 108; i++)
		assert_int_equal(otp_image_byte(x[i]), 10 + i / 18 + 2 * (i / 3 % 6) + 3 * (i % 3));
	otp_dataset_close(d);
}

static void folder_on_demand_equals_memory(void **state)
{
	(void)state;
	folder("od");
	for (int i = 0; i < 5; i++) {
		char name[32];
		snprintf(name, sizeof name, "od/%d.png", i);
		put_png(name, 30 * i, 20 + i, 31 - i, i % 2 ? 3 : 1);
	}
	put_png("od-whole.png", 0, 40, 40, 3);
	cut("od-whole.png", "od/2b.png", 6);
	otp_dataset *kept = ready(at("od"), 16, 3), *fresh = ready(at("od?keep=off"), 16, 3);
	assert_true(otp_dataset_describe(kept).memory_bytes > otp_dataset_describe(fresh).memory_bytes);
	assert_int_equal(otp_dataset_describe(kept).count, 5);
	assert_int_equal(otp_dataset_describe(fresh).count, 6);
	float a[16 * 16 * 3], b[16 * 16 * 3];
	for (uint64_t i = 0; i < 6; i++) {
		/* The next good one stands in for the broken fourth. */
		get(kept, i <= 3 ? i : i - 1, 0, a);
		get(fresh, i, 0, b);
		if (i != 3)
			assert_memory_equal(a, b, sizeof a);
	}
	get(kept, 3, 0, a);
	get(fresh, 3, 0, b);
	assert_memory_equal(a, b, sizeof a);
	assert_int_equal(otp_dataset_describe(fresh).skipped, 1);
	otp_dataset_close(kept);
	otp_dataset_close(fresh);
}

/* In inference none does: rows and names are those of the pictures that can be decoded. */
static void sieved_sets_have_no_stand_ins(void **state)
{
	(void)state;
	otp_error err = {0};
	float a[16 * 16 * 3], b[16 * 16 * 3];
	char buffer[64];
	static const char *const NAMES[] = {"0", "1", "2", "3", "4"};
	for (int way = 0; way < 3; way++) {
		otp_dataset *d = ready(at(way ? "od?keep=off" : "od"), 16, 3);
		assert_true(otp_dataset_sieve(d, way + 1, &err));
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.count, 5);
		assert_int_equal(info.skipped, 1);
		assert_string_equal(otp_dataset_skipped_picture(d, 0), "2b");
		for (uint64_t i = 0; i < 5; i++) {
			assert_string_equal(otp_dataset_name(d, i, buffer, sizeof buffer), NAMES[i]);
			char *path = otp_format("od/%s", otp_dataset_file(d, i));
			otp_dataset *alone = ready(at(path), 16, 3);
			get(alone, 0, 0, a);
			get(d, i, 0, b);
			assert_memory_equal(a, b, sizeof a);
			otp_dataset_close(alone);
			otp_free(path);
		}
		otp_dataset_close(d);
	}
	/* What breaks later is an error. */
	otp_dataset *d = ready(at("od?keep=off"), 16, 3);
	assert_true(otp_dataset_sieve(d, 2, &err));
	cut("od-whole.png", "od/3.png", 6);
	assert_true(otp_dataset_get(d, 2, 0, a, &err));
	assert_false(otp_dataset_get(d, 3, 0, a, &err));
	assert_non_null(strstr(err.text, "od/3.png"));
	otp_dataset_close(d);
}

static void folder_knows_jpeg_and_16_bits(void **state)
{
	(void)state;
	folder("j");
	uint8_t *p = ramp(60, 32, 32, 3);
	otp_error err = {0};
	size_t bytes;
	char *jpeg = otp_file_read(OTPLAN_SOURCE_DIR "/datasets/samples/ramp.jpg", &bytes, &err);
	assert_non_null(jpeg);
	put("j/whole.jpg", jpeg, bytes);
	put("j/short.jpg", jpeg, bytes * 2 / 3);
	otp_dataset *d = ready(at("j"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).count, 1);
	assert_non_null(
	    strstr(otp_dataset_skipped(d, 0), "short.jpg: damaged: ends before its picture does"));
	float x[32 * 32 * 3];
	get(d, 0, 0, x);
	for (int i = 0; i < 32 * 32 * 3; i++)
		assert_close((double)x[i], p[i] / 127.5 - 1, 0.12);
	otp_dataset_close(d);
	otp_free(p);

	folder("deep");
	put_png16("deep/d.png");
	d = ready(at("deep"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).survey.deep, 1);
	assert_int_equal(otp_dataset_describe(d).c, 1);
	get(d, 0, 0, x);
	assert_int_equal(otp_image_byte(x[1]), 85);
	assert_int_equal(otp_image_byte(x[3]), 255);
	otp_dataset_close(d);

	folder("twins");
	put_png("twins/a.png", 1, 4, 4, 1);
	put("twins/a.jpg", jpeg, bytes);
	otp_free(jpeg);
	put_png("twins/a-b.png", 1, 4, 4, 1);
	d = ready(at("twins"), 4, 1);
	char buffer[256];
	assert_string_equal(otp_dataset_name(d, 0, buffer, sizeof buffer), "a.jpg");
	assert_string_equal(otp_dataset_name(d, 1, buffer, sizeof buffer), "a.png");
	assert_string_equal(otp_dataset_name(d, 2, buffer, sizeof buffer), "a-b");
	otp_dataset_close(d);
}

static void folder_refusals(void **state)
{
	(void)state;
	folder("empty");
	folder("text");
	folder("bad");
	put("text/a.txt", "x", 1);
	put("text/b.txt", "x", 1);
	put("bad/a.png", "x", 1);
	put("unknown.bin", "x", 1);
	refuses(at("empty"), 0, 0, "holds no files", "png");
	refuses(at("text"), 0, 0, "found 2 text", "webp");
	refuses(at("bad"), 0, 0, "no usable image", "a.png");
	refuses(at("nowhere"), 0, 0, "no such file", "");
	refuses(at("nowhere.npy"), 0, 0, "no such file", "");
	refuses(at("unknown.bin"), 0, 0, "format", "synth:NAME");
	folder("onlycut");
	put_png("onlycut.png", 0, 40, 40, 3);
	cut("onlycut.png", "onlycut/a.png", 6);
	refuses(at("onlycut"), 0, 0, "none of its images can be decoded", "a.png");
}

static void zip_is_a_folder(void **state)
{
	(void)state;
	put_png("z1.png", 5, 8, 8, 3);
	put_png("z2.png", 9, 8, 8, 3);
	otp_error err = {0};
	size_t bytes[3];
	const void *data[3] = {otp_file_read(at("z2.png"), &bytes[0], &err),
			       otp_file_read(at("z1.png"), &bytes[1], &err), "hello"};
	bytes[2] = 5;
	put_zip("s.zip", (const char *const[]){"k/two.png", "k/one.png", "k/read.me"}, data, bytes, 3);
	otp_dataset *d = ready(at("s.zip"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).count, 2);
	assert_string_equal(otp_dataset_describe(d).format, "zip");
	char buffer[64];
	assert_string_equal(otp_dataset_name(d, 0, buffer, sizeof buffer), "k/one");
	float x[8 * 8 * 3];
	get(d, 0, 0, x);
	assert_int_equal(otp_image_byte(x[0]), 5);
	otp_dataset_close(d);
	otp_free((void *)data[0]);
	otp_free((void *)data[1]);
	cut("s.zip", "cut.zip", 6);
	refuses(at("cut.zip"), 0, 0, "cannot be opened as a zip", "");
}

/* ---- what is no picture, or no file ------------------------------------------------- */

static void whatever_is_not_read_is_counted(void **state)
{
	(void)state;
	folder("mixed");
	put_png("mixed/a.png", 1, 8, 8, 3);
	put("mixed/b.tiff", "II*\0\x08\0\0\0", 8);
	put("mixed/c.tif", "MM\0*\0\0\0\x08", 8);
	put("mixed/read.me", "hello", 5);
	assert_int_equal(mkfifo(at("mixed/x.png"), 0600), 0);
	otp_dataset *d = ready(at("mixed"), 0, 0);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(info.count, 1);
	assert_int_equal(info.skipped, 3); /* the pipe and the pictures; a text is none */
	int named = 0;
	for (int64_t i = 0; i < info.skipped; i++) {
		const char *text = otp_dataset_skipped(d, i);
		named += strstr(text, "b.tiff") || strstr(text, "c.tif") ||
			 (strstr(text, "x.png") && strstr(text, "pipe"));
	}
	assert_int_equal(named, 3);
	otp_dataset_close(d);
	folder("tiff");
	put("tiff/b.tiff", "II*\0\x08\0\0\0", 8);
	refuses(at("tiff"), 0, 0, "no usable image", "b.tiff");
}

static void every_folder_is_walked_once(void **state)
{
	(void)state;
	/* Ten levels of two links to the next: 2^10 ways to the last folder. */
	char name[64], to[64];
	folder("ways/0");
	for (int i = 0; i < 10; i++) {
		snprintf(to, sizeof to, "../%d", i + 1);
		snprintf(name, sizeof name, "ways/%d", i + 1);
		folder(name);
		for (int k = 0; k < 2; k++) {
			snprintf(name, sizeof name, "ways/%d/%c", i, 'a' + k);
			assert_int_equal(symlink(to, at(name)), 0);
		}
	}
	put_png("ways/10/p.png", 1, 8, 8, 3);
	otp_dataset *d = ready(at("ways/0"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).count, 1);
	otp_dataset_close(d);
	/* A folder that lies there goes by its own name, whatever the link to it is called. */
	folder("own/z");
	put_png("own/z/p.png", 1, 8, 8, 3);
	assert_int_equal(symlink("z", at("own/a")), 0);
	assert_int_equal(symlink("..", at("own/z/up")), 0);
	d = ready(at("own"), 0, 0);
	char buffer[64];
	assert_int_equal(otp_dataset_describe(d).count, 1);
	assert_string_equal(otp_dataset_name(d, 0, buffer, sizeof buffer), "z/p");
	otp_dataset_close(d);
}

static void a_closed_folder_is_left_out(void **state)
{
	(void)state;
	folder("open/closed");
	put_png("open/p.png", 1, 8, 8, 3);
	assert_int_equal(chmod(at("open/closed"), 0), 0);
	assert_int_equal(chmod(at(""), 0755), 0);
	bool root = geteuid() == 0;
	if (root) /* which may read everything */
		assert_int_equal(seteuid(65534), 0);
	otp_error err = {0};
	otp_dataset *d = otp_dataset_open(at("open"), 7, &err);
	assert_non_null(d);
	assert_int_equal(otp_dataset_describe(d).count, 1);
	assert_int_equal(otp_dataset_describe(d).skipped, 1);
	assert_non_null(strstr(otp_dataset_skipped(d, 0), "open/closed: this folder may not be listed"));
	otp_dataset_close(d);
	assert_null(otp_dataset_open(at("open/closed"), 7, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	assert_non_null(strstr(err.text, "open/closed: this folder cannot be listed"));
	if (root)
		assert_int_equal(seteuid(0), 0);
	chmod(at("open/closed"), 0700);
}

static void a_zip_hides_locks_and_checks(void **state)
{
	(void)state;
	put_png("z.png", 5, 8, 8, 3);
	otp_error err = {0};
	enum { ENTRIES = 7 };
	size_t one, bytes[ENTRIES];
	void *png = otp_file_read(at("z.png"), &one, &err);
	const void *data[ENTRIES];
	for (int i = 0; i < ENTRIES; i++) {
		data[i] = png;
		bytes[i] = one;
	}
	const char *const names[ENTRIES] = {"a/x.png",	 "a/.thumbs/x.png", "__MACOSX/a/x.png", "../x.png",
					    "./b/y.png", "/abs.png",	    "a/../z.png"};
	put_zip("hidden.zip", names, data, bytes, ENTRIES);
	otp_dataset *d = ready(at("hidden.zip"), 0, 0);
	char buffer[64];
	assert_int_equal(otp_dataset_describe(d).count, 2);
	assert_int_equal(otp_dataset_describe(d).skipped, 3); /* those that lead out */
	assert_non_null(strstr(otp_dataset_skipped(d, 0), "leads out of the archive"));
	assert_string_equal(otp_dataset_name(d, 0, buffer, sizeof buffer), "a/x");
	assert_string_equal(otp_dataset_name(d, 1, buffer, sizeof buffer), "b/y");
	otp_dataset_close(d);

	const char *const plain[] = {"a.png", "b.png", "c.png", "d.png"};
	put_locked_zip("locked.zip", plain, data, bytes, 4);
	refuses(at("locked.zip"), 0, 0, "locked.zip: 4 of its pictures are encrypted", "no others");

	/* One entry whose method, in both of its heads, is none that there is. */
	put_zip("packed.zip", plain, data, bytes, 1);
	size_t all;
	uint8_t *zip = otp_file_read(at("packed.zip"), &all, &err);
	for (size_t i = 0; i + 12 < all; i++)
		if (memcmp(zip + i, "PK\3\4", 4) == 0 || memcmp(zip + i, "PK\1\2", 4) == 0)
			zip[i + (zip[i + 2] == 3 ? 8 : 10)] = 97;
	put("packed.zip", zip, all);
	otp_free(zip);
	refuses(at("packed.zip"), 0, 0, "method 97", "cannot be unpacked");

	/* A byte of a stored BMP, which has no checksum of its own. */
	uint8_t bmp[58] = {'B', 'M', [10] = 54, [14] = 40, [18] = 1, [22] = 1, [26] = 1, [28] = 24, [54] = 7};
	put_zip("flip.zip", (const char *const[]){"a.bmp"}, (const void *const[]){bmp}, (const size_t[]){58},
		1);
	zip = otp_file_read(at("flip.zip"), &all, &err);
	for (size_t i = 0; i + 58 < all; i++)
		if (memcmp(zip + i, bmp, 58) == 0)
			zip[i + 54] = 8;
	put("flip.zip", zip, all);
	otp_free(zip);
	refuses(at("flip.zip"), 0, 0, "a.bmp", "checksum");
	otp_free(png);
}

static void a_limit_on_pixels_is_kept(void **state)
{
	(void)state;
	folder("large");
	put_png("large/a.png", 1, 8, 8, 3);
	put_png("large/b.png", 1, 8, 9, 3);
	otp_dataset *d = ready(at("large?max-pixels=64"), 8, 0);
	assert_int_equal(otp_dataset_describe(d).count, 1);
	assert_non_null(strstr(otp_dataset_skipped(d, 0), "b.png: is 9 x 8 (width x height), 72 pixels"));
	otp_dataset_close(d);
	otp_error err = {0};
	d = otp_dataset_open_up_to(at("large"), 1, 64, &err);
	assert_int_equal(otp_dataset_describe(d).count, 1);
	otp_dataset_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_round_half_to_even),
	    cmocka_unit_test(channels_convert),
	    cmocka_unit_test(resize_keeps_means_and_centre),
	    cmocka_unit_test(parts_are_told_of_alone),
	    cmocka_unit_test(folder_finds_names_and_skips),
	    cmocka_unit_test(folder_on_demand_equals_memory),
	    cmocka_unit_test(sieved_sets_have_no_stand_ins),
	    cmocka_unit_test(folder_knows_jpeg_and_16_bits),
	    cmocka_unit_test(folder_refusals),
	    cmocka_unit_test(zip_is_a_folder),
	    cmocka_unit_test(whatever_is_not_read_is_counted),
	    cmocka_unit_test(every_folder_is_walked_once),
	    cmocka_unit_test(a_closed_folder_is_left_out),
	    cmocka_unit_test(a_zip_hides_locks_and_checks),
	    cmocka_unit_test(a_limit_on_pixels_is_kept),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
