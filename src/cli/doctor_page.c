/* doctor_page: the findings as one page that needs nothing else, with small pictures of each case. */
#include "cli/doctor.h"
#include "core/file.h"
#include "core/words.h"
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { THUMB = 112 }; /* longer side in pixels */

static const char style[] =
    "body{margin:0 auto;max-width:1000px;padding:32px 20px 60px;background:#fff;color:#222;"
    "font:15px/1.5 system-ui,'DejaVu Sans',Arial,sans-serif}h1{font-size:26px;margin:0 0 8px}"
    "h2{font-size:18px;margin:36px 0 6px;overflow-wrap:anywhere}.facts{color:#666;margin:0}"
    ".case{margin:14px 0;padding:2px 0 2px 14px;border-left:4px solid #ccc}.warning{border-color:#d98a00}"
    ".wrong{border-color:#b8400a}.case p{margin:0}.done{color:#666}"
    ".row{display:flex;flex-wrap:wrap;gap:12px;margin:8px 0}figure{margin:0;max-width:240px}"
    "figure img{height:auto;max-height:112px;background:#eee;vertical-align:bottom}"
    "figure img+img{margin-left:3px}"
    "figcaption{font-size:12px;color:#666;overflow-wrap:anywhere}\n";

static void print(FILE *f, const char *before, const char *text, const char *after)
{
	char *escaped = otp_html_escape(text);
	fprintf(f, "%s%s%s", before, escaped, after);
	otp_free(escaped);
}

/* A sample as a PNG in the page; "" where it cannot be read any more. */
static void print_image(FILE *f, const otp_examinee *e, int64_t sample)
{
	otp_image image = {0};
	otp_error ignored = {0};
	size_t bytes = 0;
	if (!otp_dataset_take(e->set, (uint64_t)sample, &image, &ignored))
		return;
	otp_image_to_bytes(&image);
	double scale = fmin(1, (double)THUMB / (image.h > image.w ? image.h : image.w));
	int h = (int)fmax(1, round(image.h * scale)), w = (int)fmax(1, round(image.w * scale));
	uint8_t *small = otp_calloc((size_t)h * (size_t)w, 3);
	otp_examine_shrink(&image, h, w, small);
	uint8_t *png = otp_image_png(small, h, w, 3, &bytes);
	char *text = png ? otp_base64(png, bytes) : NULL;
	if (text)
		fprintf(f, "<img alt=\"\" src=\"data:image/png;base64,%s\">", text);
	otp_free(text);
	otp_free(png);
	otp_free(small);
	otp_image_free(&image);
}

static void print_examples(FILE *f, const otp_doctor *d, const otp_case *c)
{
	char buffer[4096];
	const otp_examinee *e = &d->sets[c->set];
	fputs("<div class=\"row\">", f);
	for (int i = 0; i < c->example_count; i++) {
		const otp_print *p = &e->pictures.prints[c->examples[i]];
		int64_t sample = 0;
		const otp_examinee *other = otp_doctor_partner(d, c, i, &sample);
		fputs("<figure>", f);
		if (!(p->flags & OTP_PRINT_BROKEN))
			print_image(f, e, c->examples[i]);
		if (other)
			print_image(f, other, sample);
		print(f, "<figcaption>",
		      otp_dataset_name(e->set, (uint64_t)c->examples[i], buffer, sizeof buffer), "");
		if (other)
			print(f,
			      "<br>= ", otp_dataset_name(other->set, (uint64_t)sample, buffer, sizeof buffer),
			      "");
		fputs("</figcaption></figure>\n", f);
	}
	fputs("</div>\n", f);
}

static bool has_cases(const otp_doctor *d, int place)
{
	for (int i = 0; i < d->case_count; i++)
		if (otp_doctor_place(&d->cases[i]) == place)
			return true;
	return false;
}

static void print_cases(FILE *f, const otp_doctor *d, int place)
{
	static const char *const classes[] = {"note", "warning", "wrong"};
	for (int i = 0; i < d->case_count; i++) {
		const otp_case *c = &d->cases[i];
		if (otp_doctor_place(c) != place)
			continue;
		fprintf(f, "<div class=\"case %s\">", classes[c->gravity]);
		print(f, "<p>", c->found, "</p>");
		print(f, "<p class=\"done\">", c->done, "</p>\n");
		if (c->example_count)
			print_examples(f, d, c);
		fputs("</div>\n", f);
	}
}

static void print_facts(FILE *f, const otp_examinee *e)
{
	const otp_data_survey *s = &e->info.survey;
	otp_doctor_counts n = otp_doctor_count(e);
	fprintf(f, "<p class=\"facts\">%lld %s%s, ", (long long)e->usable,
		e->info.kind == OTP_DATA_IMAGES ? "picture" : "vector", otp_plural(e->usable));
	if (e->info.kind == OTP_DATA_VECTORS)
		fprintf(f, "%d value%s each", e->info.c, otp_plural(e->info.c));
	else if (s->w_min == s->w_max && s->h_min == s->h_max)
		fprintf(f, "%d x %d (width x height)", s->w_max, s->h_max);
	else
		fprintf(f, "widths %d to %d, heights %d to %d", s->w_min, s->w_max, s->h_min, s->h_max);
	if (e->info.kind == OTP_DATA_IMAGES)
		fprintf(f, ", %lld in grey, %lld in colour", (long long)n.grey, (long long)n.colour);
	fprintf(f, "; %s</p>\n", e->info.format);
}

bool otp_doctor_write_page(const otp_doctor *d, const char *path, otp_error *err)
{
	char *page = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&page, &bytes);
	OTP_ASSERT(f, "no memory for a page");
	fprintf(f,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
		"<meta name=\"viewport\" content=\"width=device-width\">\n" OTP_DOCTOR_TITLE "\n"
		"<style>\n%s</style></head><body>\n<h1>otplan doctor</h1>\n",
		style);
	for (int s = 0; s < d->set_count; s++) {
		print(f, "<h2>", d->sets[s].name, "</h2>\n");
		print_facts(f, &d->sets[s]);
		print_cases(f, d, s);
	}
	if (has_cases(d, OTP_BETWEEN)) {
		fputs("<h2>Between them</h2>\n", f);
		print_cases(f, d, OTP_BETWEEN);
	}
	fputs("</body></html>\n", f);
	fclose(f);
	bool ok = otp_file_write(path, page, bytes, err);
	otp_free(page);
	return ok;
}
