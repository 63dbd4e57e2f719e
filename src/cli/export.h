/* export: what the command `export` makes beside evaluation samples. */
#ifndef OTP_CLI_EXPORT_H
#define OTP_CLI_EXPORT_H

#include "core/base.h"

/* Whether --for PURPOSE means a file of the model itself: onnx, safetensors. */
bool otp_export_takes(const char *purpose);
/* Writes it; the exit code. */
int otp_export_model(const char *model, const char *out, const char *purpose, bool overwrite, otp_error *err);

#endif
