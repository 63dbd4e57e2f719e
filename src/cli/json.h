/* json: results for other programs, one object a line on stdout. */
#ifndef OTP_CLI_JSON_H
#define OTP_CLI_JSON_H

#include "report/figures.h"

#include <cjson/cJSON.h>

/* Each figure's value under its key. */
void otp_json_add_figures(cJSON *object, const otp_figure *figures, int count);

/* Names of files may be any bytes, JSON is UTF-8: bytes that are none become U+FFFD. */
void otp_json_mend(cJSON *object);

/* Prints the object as one line, so that a reader sees it at once, and frees it. */
void otp_json_print(cJSON *object);

#endif
