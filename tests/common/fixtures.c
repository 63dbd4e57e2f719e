#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/fixtures.h"
#include "common/places.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double FIXTURE_UNIT = 0x1p-32, ALLOWANCE = 4, BF16_ALLOWANCE = 1.5;

/* ---- fixtures ---- */

fixture fixture_open(const char *file, const char *group)
{
	fixture f = {.name = group};
	const char *folder = getenv("OTPLAN_GOLDEN");
	char *path = otp_format("%s/%s", folder ? folder : OTPLAN_SOURCE_DIR "/tests/golden", file);
	f.file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
	if (f.file < 0)
		fail_msg("%s cannot be opened", path);
	f.group = H5Gopen2(f.file, group, H5P_DEFAULT);
	if (f.group < 0)
		fail_msg("%s has no group %s", path, group);
	otp_free(path);
	return f;
}

void fixture_close(fixture *f)
{
	H5Gclose(f->group);
	H5Fclose(f->file);
}

values read_values(const fixture *f, const char *name)
{
	hid_t set = H5Dopen2(f->group, name, H5P_DEFAULT);
	if (set < 0)
		fail_msg("%s has no %s", f->name, name);
	hid_t space = H5Dget_space(set);
	values x = {.count = H5Sget_simple_extent_npoints(space)};
	x.v = otp_calloc((size_t)x.count, sizeof *x.v);
	assert_true(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x.v) >= 0);
	H5Sclose(space);
	H5Dclose(set);
	return x;
}

float *read_floats(const fixture *f, const char *name, int64_t count)
{
	values x = read_values(f, name);
	if (x.count != count)
		fail_msg("%s/%s holds %lld values, not %lld", f->name, name, (long long)x.count,
			 (long long)count);
	float *floats = otp_calloc((size_t)count, sizeof *floats);
	for (int64_t i = 0; i < count; i++)
		floats[i] = (float)x.v[i];
	otp_free(x.v);
	return floats;
}

static char *read_text(const fixture *f, const char *name)
{
	hid_t attribute = H5Aopen(f->group, name, H5P_DEFAULT);
	assert_true(attribute >= 0);
	hid_t type = H5Aget_type(attribute);
	char *text = otp_calloc(H5Tget_size(type) + 1, 1);
	assert_true(H5Aread(attribute, type, text) >= 0);
	H5Tclose(type);
	H5Aclose(attribute);
	return text;
}

double read_number(const fixture *f, const char *name)
{
	hid_t attribute = H5Aopen(f->group, name, H5P_DEFAULT);
	double number = 0;
	assert_true(attribute >= 0 && H5Aread(attribute, H5T_NATIVE_DOUBLE, &number) >= 0);
	H5Aclose(attribute);
	return number;
}

/* ---- parameters: the fixture's order and ours ---- */

static const otp_param_info *find_param(const otp_params *p, const char *name)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0)
			return &p->info[k];
	fail_msg("the fixture's parameter %s is none of ours", name);
	return NULL;
}

piece_list match_params(const fixture *f, const char *names_attribute, const otp_params *p)
{
	piece_list list = {.pieces = otp_calloc((size_t)p->count, sizeof *list.pieces)};
	char *text = read_text(f, names_attribute), name[96];
	otp_shape s;
	int length = 0;
	for (char *line = text;
	     sscanf(line, "%95s %d %d %d %d\n%n", name, &s.n, &s.h, &s.w, &s.c, &length) == 5;
	     line += length) {
		const otp_param_info *info = find_param(p, name);
		if (!otp_shape_equal(info->shape, s))
			fail_msg("%s is %dx%dx%dx%d, in the fixture %dx%dx%dx%d", name, info->shape.n,
				 info->shape.h, info->shape.w, info->shape.c, s.n, s.h, s.w, s.c);
		assert_true(list.count < p->count);
		list.pieces[list.count++] =
		    (piece){info->name, list.elements, info->offset, otp_shape_count(s)};
		list.elements += otp_shape_count(s);
	}
	assert_int_equal(list.count, p->count);
	otp_free(text);
	return list;
}

void read_params(const fixture *f, const char *name, const piece_list *list, float *row)
{
	float *flat = read_floats(f, name, list->elements);
	for (int k = 0; k < list->count; k++)
		memcpy(row + list->pieces[k].to, flat + list->pieces[k].from,
		       (size_t)list->pieces[k].count * sizeof *row);
	otp_free(flat);
}

void pack(double *row, const piece_list *list)
{
	double *flat = otp_calloc((size_t)list->elements, sizeof *flat);
	for (int k = 0; k < list->count; k++)
		memcpy(flat + list->pieces[k].from, row + list->pieces[k].to,
		       (size_t)list->pieces[k].count * sizeof *row);
	memcpy(row, flat, (size_t)list->elements * sizeof *row);
	otp_free(flat);
}

/* ---- comparing ---- */

void compare(judge *j, const char *what, const double *got, const double *want, int64_t count,
	     double float_error, double unit)
{
	for (int64_t i = 0; i < count; i++) {
		double allowed = ALLOWANCE * float_error * unit / FLOAT_UNIT + FIXTURE_UNIT * fabs(want[i]);
		double error = fabs(got[i] - want[i]);
		if (!(error <= allowed))
			fail_msg("%s on %s, %s[%lld]: %.12g, PyTorch has %.12g, %.3g off, %.3g allowed",
				 j->test, j->backend, what, (long long)i, got[i], want[i], error, allowed);
		if (allowed > 0 && error / allowed > j->worst)
			j->worst = error / allowed;
		j->compared++;
	}
}

void compare_bf16(judge *j, const fixture *f, const char *what, const double *got, const double *want,
		  int64_t count)
{
	char name[64];
	snprintf(name, sizeof name, "%s_bf16_error", what);
	double sum = 0, allowed = BF16_ALLOWANCE * read_number(f, name);
	for (int64_t i = 0; i < count; i++)
		sum += (got[i] - want[i]) * (got[i] - want[i]);
	double error = sqrt(sum / (double)count);
	if (!(error <= allowed))
		fail_msg("%s on %s, %s: %.3g off in the mean, %.3g allowed", j->test, j->backend, what, error,
			 allowed);
	if (error / allowed > j->worst)
		j->worst = error / allowed;
	j->compared += (int)count;
}

void compare_pieces(judge *j, const char *what, const double *row, const double *want,
		    const double *float_error, const piece_list *list)
{
	for (int k = 0; k < list->count; k++) {
		const piece *at = &list->pieces[k];
		char label[160];
		snprintf(label, sizeof label, "%s %s", what, at->name);
		compare(j, label, row + at->to, want + at->from, at->count, float_error[k], j->unit);
	}
}

void say(const judge *j)
{
	print_message("             %s on %s: %d values, at worst %.2f of what is allowed\n", j->test,
		      j->backend, j->compared, j->worst);
}
