/* A program that uses the installed library; C11 and C++11.
 *   consumer MODEL IN OUT SAMPLES SEED   floats of the .npy file IN, translated, as bytes in OUT
 *   consumer --error DEVICE MODEL        prints the status and the message of opening
 */
#include <otplan/otplan.h>

#include <stb_image.h> /* implemented in own_stb.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain(const char *what)
{
	fprintf(stderr, "consumer: %s\n", what);
	return 1;
}

/* What follows an .npy file's header; *bytes: how much. */
static float *read_array(const char *path, size_t *bytes)
{
	unsigned char head[10];
	FILE *f = fopen(path, "rb");
	if (!f || fread(head, 1, sizeof head, f) != sizeof head)
		return NULL;
	long start = (long)sizeof head + head[8] + 256 * head[9];
	fseek(f, 0, SEEK_END);
	*bytes = (size_t)(ftell(f) - start);
	fseek(f, start, SEEK_SET);
	float *values = (float *)malloc(*bytes);
	if (!values || fread(values, 1, *bytes, f) != *bytes)
		return NULL;
	fclose(f);
	return values;
}

static int translate(otplan_model *model, const char *in, const char *out, int samples, uint64_t seed)
{
	int h, w, c;
	size_t bytes = 0;
	otplan_model_shape(model, &h, &w, &c);
	size_t floats = (size_t)h * (size_t)w * (size_t)c;
	float *x = read_array(in, &bytes);
	float *y = x ? (float *)malloc(bytes * (size_t)samples) : NULL;
	if (!y)
		return complain("the input cannot be read");
	int64_t count = (int64_t)(bytes / sizeof *x / floats);
	if (otplan_model_translate(model, x, count, samples, seed, y) != OTPLAN_OK)
		return complain("not translated");
	FILE *f = fopen(out, "wb");
	if (!f || fwrite(y, 1, bytes * (size_t)samples, f) != bytes * (size_t)samples || fclose(f) != 0)
		return complain("the output cannot be written");
	free(x);
	free(y);
	return 0;
}

int main(int argc, char **argv)
{
	char message[OTPLAN_MESSAGE_BYTES];
	otplan_model *model;
	otplan_options options;
	otplan_options_init(&options, sizeof options);
	options.device = argc == 4 ? argv[2] : "cpu";
	options.threads = 2;
	if (argc == 4) {
		otplan_status status = otplan_model_open(argv[3], &options, &model, message);
		printf("%s: %s\n", otplan_status_text(status), message);
		return 0;
	}
	int x, y, channels;
	if (argc != 6 || stbi_info_from_memory((const stbi_uc *)"no picture", 10, &x, &y, &channels))
		return complain("expected MODEL IN OUT SAMPLES SEED");
	if (otplan_model_open(argv[1], &options, &model, message) != OTPLAN_OK)
		return complain(message);
	int code = translate(model, argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 10));
	otplan_model_close(model);
	return code;
}
