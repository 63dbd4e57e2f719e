/* writer: an ONNX graph under construction. Nodes and constants are put one after another; what they are
 * called is the writer's, and lives as long as it. */
#ifndef OTP_EXCHANGE_WRITER_H
#define OTP_EXCHANGE_WRITER_H

#include "exchange/exchange.h"
#include "onnx.pb-c.h"

typedef struct otp_onnx otp_onnx;

otp_onnx *otp_onnx_new(void);
void otp_onnx_free(otp_onnx *o);
/* The whole as a file's bytes. `name` is the graph's. */
uint8_t *otp_onnx_pack(otp_onnx *o, const char *name, size_t *bytes);

/* A node of one output, whose name is returned. Its inputs by name, then NULL. */
const char *otp_onnx_put(otp_onnx *o, const char *type, ...) __attribute__((sentinel));
/* Attributes of the node that was put last. */
void otp_onnx_int(otp_onnx *o, const char *name, int64_t value);
void otp_onnx_ints(otp_onnx *o, const char *name, int count, const int64_t *values);
void otp_onnx_float(otp_onnx *o, const char *name, float value);
/* Its output takes this name in place of its own. */
const char *otp_onnx_call(otp_onnx *o, const char *name);

/* Constants. dims 0: a single number. name NULL: one is made up. */
const char *otp_onnx_floats(otp_onnx *o, const char *name, int dims, const int64_t *dim, const float *values);
const char *otp_onnx_number(otp_onnx *o, float value);
const char *otp_onnx_list(otp_onnx *o, int count, const int64_t *values);

/* What the graph takes and gives; the first dimension is N, any number. */
const char *otp_onnx_input(otp_onnx *o, const char *name, int dims, const int64_t *dim);
void otp_onnx_output(otp_onnx *o, const char *name, int dims, const int64_t *dim);
/* A line about the model. */
void otp_onnx_fact(void *o, const char *key, const char *value);

#endif
