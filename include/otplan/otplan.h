/* otplan: use a trained translator from C or C++. Training is the program's;
 * this is `otplan translate` as a library. Link with libotplan.
 */
#ifndef OTPLAN_H
#define OTPLAN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
const char *otplan_version(void);

typedef struct otplan_model otplan_model;

/* Load a model.h5 or the folder of a run. device: "auto", "cpu" or "cuda[:i]";
 * threads: CPU threads, 0 for one a core. NULL on failure, with one line of at
 * most `bytes` - 1 characters in `message`. */
otplan_model *otplan_model_open(const char *path, const char *device, int threads, char *message,
				size_t bytes);
void otplan_model_close(otplan_model *model);

/* What the model takes and gives: height x width x channels floats in [-1, 1]
 * for images; 1 x 1 x d for vectors. */
void otplan_model_shape(const otplan_model *model, int *height, int *width, int *channels);

/* Draw from the plan: count inputs x (count, h, w, c) -> y (count, samples, h, w, c).
 * Sample k of an input is a function of (model, seed, the input's content, k). */
void otplan_model_translate(otplan_model *model, const float *x, int64_t count, int samples, uint64_t seed,
			    float *y);

#ifdef __cplusplus
}
#endif
#endif
