/* otplan: use a trained translator from C or C++. Training is the program's;
 * this is `otplan translate` as a library.
 *
 *     #include <otplan/otplan.h>
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     int main(int argc, char **argv)
 *     {
 *         char message[OTPLAN_MESSAGE_BYTES];
 *         otplan_model *model;
 *         if (argc < 2 || otplan_model_open(argv[1], NULL, &model, message) != OTPLAN_OK) {
 *             fprintf(stderr, "%s\n", argc < 2 ? "usage: example MODEL" : message);
 *             return 1;
 *         }
 *         int height, width, channels;
 *         otplan_model_shape(model, &height, &width, &channels);
 *         size_t values = (size_t)height * width * channels;
 *         float *x = calloc(values, sizeof *x);        // one grey picture: all values 0
 *         float *y = malloc(4 * values * sizeof *y);   // four draws for it
 *         otplan_status status = otplan_model_translate(model, x, 1, 4, 7, y);
 *         if (status == OTPLAN_OK)
 *             printf("the first value of the first draw is %g\n", y[0]);
 *         free(y);
 *         free(x);
 *         otplan_model_close(model);
 *         return status != OTPLAN_OK;
 *     }
 *
 *     cc example.c $(pkg-config --cflags --libs otplan)
 *     find_package(otplan REQUIRED)                                        # CMake
 *     target_link_libraries(example PRIVATE otplan::otplan)                # or otplan::static
 *
 * The library writes nothing to stdout or stderr, and does not end the process
 * because of a file, a device or memory that is missing at opening. Only a mistake
 * inside the library, or a GPU that fails while it computes, ends the process.
 */
#ifndef OTPLAN_H
#define OTPLAN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OTPLAN_API __attribute__((visibility("default")))
#else
#define OTPLAN_API
#endif

/* Rises with every addition to this header. What was declared once keeps its meaning. */
#define OTPLAN_API_VERSION 1

/* The version of the library that was linked: "0.1.0", and its OTPLAN_API_VERSION.
 * Callable from any thread. */
OTPLAN_API const char *otplan_version(void);
OTPLAN_API int otplan_api_version(void);

typedef enum otplan_status {
	OTPLAN_OK = 0,
	OTPLAN_BAD_ARGUMENT = 1, /* a pointer that is NULL, a number out of its range */
	OTPLAN_BAD_FILE = 2,	 /* missing, unreadable, damaged, or no model that this version reads */
	OTPLAN_NO_DEVICE = 3,	 /* an unknown device, or one that is not here or cannot be used */
	OTPLAN_NO_MEMORY = 4	 /* memory is out, or no more threads can be started */
} otplan_status;

/* "out of memory" and the like: a constant string, never NULL. Callable from any thread. */
OTPLAN_API const char *otplan_status_text(otplan_status status);

/* How convolutions and matrix products are computed. Memory and results are float32 in each. */
typedef enum otplan_precision {
	OTPLAN_F32 = 0,
	OTPLAN_TF32 = 1, /* on GPUs; as OTPLAN_F32 on a CPU */
	OTPLAN_BF16 = 2	 /* where the device computes in bfloat16 */
} otplan_precision;

/* One line without newline, valid during the call. Called while a model is
 * opened, from any thread, never by two at once. It must not call this library. */
typedef void otplan_log(void *context, const char *line);

typedef struct otplan_options {
	size_t size;	    /* of this struct, as the caller was compiled */
	const char *device; /* "auto" (a GPU where one can be used), "cpu", "cuda" or "cuda:1" */
	int threads;	    /* of the CPU, at most 1024; 0: one for each core that the process may use */
	otplan_precision precision; /* OTPLAN_F32 */
	otplan_log *log;	    /* what is worth knowing but is no error; NULL: nobody listens */
	void *log_context;
} otplan_options;

/* Sets the defaults: "auto", 0, OTPLAN_F32, NULL. size: sizeof(otplan_options).
 *     otplan_options options;
 *     otplan_options_init(&options, sizeof options);
 *     options.device = "cpu"; */
OTPLAN_API void otplan_options_init(otplan_options *options, size_t size);

typedef struct otplan_model otplan_model;

/* What an error's message takes at most, with its terminating zero. */
#define OTPLAN_MESSAGE_BYTES 1024

/* Opens a model.h5, the folder of a run, or a checkpoint (its moving average, and sigma at its step). All
 * memory that translation needs is taken here, on the CPU about as much for each thread. options   NULL: the
 * defaults *model    the model, or NULL on failure message   OTPLAN_MESSAGE_BYTES for one line that says what
 * was wrong with what, "" on success; or NULL Returns OTPLAN_OK, OTPLAN_BAD_ARGUMENT, OTPLAN_BAD_FILE,
 * OTPLAN_NO_DEVICE or OTPLAN_NO_MEMORY; after a failure nothing is left open, and another model can be
 * opened. Callable from any thread; opening happens one at a time. It uses HDF5: a program that calls a
 * serial HDF5 itself must not do so from another thread meanwhile. */
OTPLAN_API otplan_status otplan_model_open(const char *path, const otplan_options *options,
					   otplan_model **model, char *message);

/* model may be NULL. No other call on the model may be under way, or follow. */
OTPLAN_API void otplan_model_close(otplan_model *model);

/* What the model takes and gives: pictures of height x width pixels with `channels` values each,
 * from -1 (byte 0) to 1 (byte 255); vectors are 1 x 1 x d. Callable from any thread. */
OTPLAN_API void otplan_model_shape(const otplan_model *model, int *height, int *width, int *channels);

/* The standard deviation of the noise that smooths inputs, in the inputs' units. */
OTPLAN_API double otplan_model_sigma(const otplan_model *model);

/* Draws from the plan: `samples` results for each of `count` inputs. A model that learned from grey pictures
 * sees the luminance of colours (0.299 R + 0.587 G + 0.114 B; of 8-bit values rounded to 8 bits).
 *   x      (count, height, width, channels) floats, dense, the last index fastest
 *   seed   another seed, another draw
 *   y      (count, samples, height, width, channels) floats; must not overlap x
 * Draw k of an input is a function of (model, seed, the input's values, k), on one kind of device:
 * it does not depend on the other inputs, on `samples` or on the number of threads.
 * Returns OTPLAN_OK (also for count 0), or OTPLAN_BAD_ARGUMENT: a NULL pointer, count < 0, samples < 1,
 * or more values than memory can hold; y is untouched then. Allocates nothing on the CPU.
 * Callable from any thread; calls on one model are served one after another, those on
 * different models at once. */
OTPLAN_API otplan_status otplan_model_translate(otplan_model *model, const float *x, int64_t count,
						int samples, uint64_t seed, float *y);

#ifdef __cplusplus
}
#endif
#endif
