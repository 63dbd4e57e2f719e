/* safetensors: a length, a JSON header, the tensors one behind the other, little-endian. */
#include "exchange/exchange.h"

#include <cjson/cJSON.h>
#include <endian.h>
#include <string.h>

enum { ALIGNMENT = 8 }; /* of the tensors' beginning; the header is filled up with spaces */

static void add_fact(void *to, const char *key, const char *value)
{
	cJSON_AddStringToObject(to, key, value);
}

/* As PyTorch has it: (c), (out, in) or (out, in, kh, kw). */
static cJSON *dims_of(otp_shape s)
{
	bool matrix = s.n == 1 && s.h == 1;
	int dims[] = {s.n, s.c, s.h, s.w}, rows[] = {s.w, s.c};
	return matrix ? cJSON_CreateIntArray(s.w == 1 ? rows + 1 : rows, s.w == 1 ? 1 : 2)
		      : cJSON_CreateIntArray(dims, 4);
}

static char *header_of(const otp_generator *g)
{
	cJSON *header = cJSON_CreateObject();
	otp_exchange_facts(g, add_fact, cJSON_AddObjectToObject(header, "__metadata__"));
	double at = 0;
	for (int i = 0; i < g->params->count; i++) {
		const otp_param_info *p = &g->params->info[i];
		cJSON *one = cJSON_AddObjectToObject(header, p->name);
		cJSON_AddStringToObject(one, "dtype", "F32");
		cJSON_AddItemToObject(one, "shape", dims_of(p->shape));
		cJSON *place = cJSON_AddArrayToObject(one, "data_offsets");
		cJSON_AddItemToArray(place, cJSON_CreateNumber(at));
		at += (double)otp_shape_count(p->shape) * sizeof(float);
		cJSON_AddItemToArray(place, cJSON_CreateNumber(at));
	}
	char *text = cJSON_PrintUnformatted(header);
	cJSON_Delete(header);
	OTP_ASSERT(text, "no memory for a header");
	return text;
}

uint8_t *otp_exchange_safetensors(const otp_generator *g, size_t *bytes, otp_error *err)
{
	(void)err; /* there is no bound */
	char *header = header_of(g);
	size_t said = strlen(header), length = (said + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, values = 0;
	for (int i = 0; i < g->params->count; i++)
		values += (size_t)otp_shape_count(g->params->info[i].shape);
	uint64_t first = htole64(length);
	*bytes = sizeof first + length + values * sizeof(float);
	uint8_t *file = otp_calloc(*bytes, 1);
	memcpy(file, &first, sizeof first);
	memset(file + sizeof first, ' ', length);
	memcpy(file + sizeof first, header, said);
	float *to = (float *)(void *)(file + sizeof first + length);
	for (int i = 0; i < g->params->count; i++) {
		const otp_param_info *p = &g->params->info[i];
		otp_exchange_turn(g->row + p->offset, p->shape, to);
		to += otp_shape_count(p->shape);
	}
	cJSON_free(header);
	return file;
}
