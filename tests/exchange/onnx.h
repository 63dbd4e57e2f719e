/* onnx: works an ONNX file through, in double, by plain loops: the operators that otplan writes, as their
 * definitions at github.com/onnx/onnx say, and no others. Anything else fails the test. */
#ifndef OTP_EXCHANGE_ONNX_H
#define OTP_EXCHANGE_ONNX_H

#include "core/base.h"

enum { ONNX_RANK = 4 };

typedef struct onnx_tensor {
	const char *name;
	int rank;
	int64_t dims[ONNX_RANK];
	double *values;
} onnx_tensor;

typedef struct onnx_run onnx_run;

onnx_run *onnx_open(const uint8_t *file, size_t bytes);
void onnx_close(onnx_run *r);
bool onnx_takes(const onnx_run *r, const char *name);
void onnx_give(onnx_run *r, const char *name, const double *values, int rank, const int64_t *dims);
void onnx_work(onnx_run *r);
const onnx_tensor *onnx_result(const onnx_run *r, const char *name);
int64_t onnx_count(const onnx_tensor *t);

#endif
