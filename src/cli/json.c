#include "cli/json.h"
#include "core/base.h"

#include <stdio.h>

void otp_json_add_figures(cJSON *object, const otp_figure *figures, int count)
{
	for (int i = 0; i < count; i++)
		cJSON_AddNumberToObject(object, figures[i].key, figures[i].value);
}

void otp_json_print(cJSON *object)
{
	char *line = cJSON_PrintUnformatted(object);
	OTP_ASSERT(line, "no memory for a line of JSON");
	puts(line);
	fflush(stdout);
	cJSON_free(line);
	cJSON_Delete(object);
}
