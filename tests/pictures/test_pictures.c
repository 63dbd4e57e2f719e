/* decoding: every format right, turned the right way, and refused where it is
 * damaged. The inputs are made here, byte by byte or by the formats' own encoders. */
#include "pictures/pictures.h"
#include "pictures/kinds.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void kinds_are_told_and_counted(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t count;
		const char *kind;
		bool picture;
	} files[] = {{"", 0, "empty", false},
		     {"II*\0\x08", 5, "TIFF", true},
		     {"hello\n", 6, "text", false},
		     {"\0\1\2", 3, "other", false},
		     {"\xff\xd8\xff\xe0", 4, "JPEG", true},
		     {"\0\0\0\x1c"
		      "ftypavif",
		      12, "AVIF", true},
		     {"%PDF-1.4", 8, "PDF", false}};
	otp_kinds kinds = {0};
	bool picture;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		const char *kind = otp_kind_of((const uint8_t *)files[i].bytes, files[i].count, &picture);
		assert_string_equal(kind, files[i].kind);
		assert_int_equal(picture, files[i].picture);
	}
	for (int i = 0; i < 3; i++)
		otp_kinds_add(&kinds, i == 1 ? "text" : "TIFF");
	char *text = otp_kinds_text(&kinds);
	assert_string_equal(text, "2 TIFF, 1 text");
	otp_free(text);
	bytes *p = calloc(1, sizeof *p);
	add(p, "II*\0\x08\0\0\0", 8);
	is_refused(p, p->n, "is TIFF, expected JPEG, PNG, WebP");
	free(p);
}

typedef struct task {
	const bytes *in;
	const uint8_t *expected;
	bool ok;
} task;

static void *decode_many(void *argument)
{
	task *t = argument;
	t->ok = true;
	for (int i = 0; i < 50; i++) {
		otp_image image;
		otp_error err = {0};
		/* Every second one is cut, so that refusals go on beside. */
		bool ok = otp_image_decode(t->in->b, t->in->n - (size_t)(i % 2) * 9, "x",
					   OTP_IMAGE_MOST_PIXELS, &image, &err);
		t->ok = t->ok && ok == (i % 2 == 0) &&
			(!ok || memcmp(image.u8, t->expected, otp_image_values(&image)) == 0);
		if (ok)
			otp_image_free(&image);
	}
	return NULL;
}

void threads_do_not_meet(void **state)
{
	(void)state;
	enum { FORMATS = 4, THREADS = 8 };
	bytes *in = calloc(FORMATS, sizeof *in);
	uint8_t *rgb = ramp(30, 16, 16, 3);
	otp_image images[FORMATS];
	put_jpeg(&in[0], rgb, 16, 16, (jpeg_options){.c = 3, .orientation = 6});
	start_png(&in[1], 16, 16, 8, 2);
	add_picture(&in[1], rgb, 16, 48);
	add_chunk(&in[1], "IEND", "", 0);
	put_webp(&in[2], rgb, 16, 16, 3, 6);
	put_gif(&in[3], true, 0);
	pthread_t threads[THREADS];
	task tasks[THREADS];
	for (int i = 0; i < FORMATS; i++)
		images[i] = decoded(&in[i]);
	for (int i = 0; i < THREADS; i++) {
		tasks[i] = (task){&in[i % FORMATS], images[i % FORMATS].u8, false};
		assert_int_equal(pthread_create(&threads[i], NULL, decode_many, &tasks[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(tasks[i].ok);
	}
	for (int i = 0; i < FORMATS; i++)
		otp_image_free(&images[i]);
	otp_free(rgb);
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name),
	    PICTURE_TESTS(TEST)
#undef TEST
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
