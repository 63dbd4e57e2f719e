#include "cli/json.h"
#include "core/words.h"

#include <stdio.h>
#include <string.h>

void otp_json_add_figures(cJSON *object, const otp_figure *figures, int count)
{
	for (int i = 0; i < count; i++)
		cJSON_AddNumberToObject(object, figures[i].key, figures[i].value);
}

void otp_json_mend(cJSON *object)
{
	for (cJSON *one = object; one; one = one->next) {
		otp_json_mend(one->child);
		if (!cJSON_IsString(one))
			continue;
		char *text = otp_utf8(one->valuestring);
		if (strcmp(text, one->valuestring) != 0)
			cJSON_SetValuestring(one, text);
		otp_free(text);
	}
}

void otp_json_print(cJSON *object)
{
	otp_json_mend(object);
	char *line = cJSON_PrintUnformatted(object);
	OTP_ASSERT(line, "no memory for a line of JSON");
	puts(line);
	fflush(stdout);
	cJSON_free(line);
	cJSON_Delete(object);
}
