/* html: the page of a run. All text from outside goes through otp_html_escape. */
#include "report/html.h"
#include "core/file.h"
#include "report/plot.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A page stays small enough to mail: of a long run's pictures so many are shown, evenly spread. */
enum { MOST_PICTURES = 24 };

static const char style[] =
    "body{margin:0 auto;max-width:920px;padding:32px 20px 60px;background:#fff;color:#222;"
    "font:15px/1.5 system-ui,'DejaVu Sans',Arial,sans-serif}\n"
    "h1{font-size:26px;margin:0}h2{font-size:18px;margin:40px 0 10px}\n"
    ".sub{color:#666;margin:4px 0 0;overflow-wrap:anywhere}\n"
    "table{border-collapse:collapse}td{padding:5px 24px 5px 0;border-bottom:1px solid "
    "#eee;vertical-align:top}\n"
    "td:first-child{color:#666;white-space:nowrap}.verdicts "
    "td:nth-child(2){white-space:nowrap}.good{color:#00734f;font-weight:600}"
    ".bad,td.bad:first-child{color:#b8400a;font-weight:600}\n"
    ".note{color:#666;margin:0 0 12px}svg{max-width:100%;height:auto}\n"
    "figure{margin:0 0 20px}figure img{max-width:100%;display:block}figcaption{color:#666;margin-top:6px}\n"
    "#at{width:100%;max-width:620px;margin:0 0 12px;accent-color:#0072b2}\n"
    "pre{background:#f6f6f6;padding:14px 16px;overflow:auto;font:13px/1.45 ui-monospace,'DejaVu Sans Mono',"
    "monospace}summary{cursor:pointer;font-size:18px;font-weight:600;margin:40px 0 10px}\n";

/* Without script every picture is simply shown, the slider is not. */
static const char script[] =
    "var f=document.querySelectorAll('figure'),r=document.getElementById('at');\n"
    "function show(){f.forEach(function(e,i){e.style.display=i==r.value?'':'none'})}\n"
    "r.hidden=false;r.max=f.length-1;r.value=f.length-1;r.oninput=show;show();\n";

char *otp_html_escape(const char *text)
{
	static const char special[] = "&<>\"'";
	static const char *const harmless[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
	char *escaped = otp_calloc(6 * strlen(text) + 1, 1), *to = escaped;
	for (; *text; text++) {
		const char *at = strchr(special, *text);
		if (at)
			to = stpcpy(to, harmless[at - special]);
		else
			*to++ = *text;
	}
	return escaped;
}

char *otp_base64(const void *data, size_t bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *from = data;
	char *text = otp_calloc(bytes / 3 * 4 + 5, 1), *to = text;
	for (size_t i = 0; i < bytes; i += 3) {
		size_t left = bytes - i;
		uint32_t three = (uint32_t)from[i] << 16;
		if (left > 1)
			three |= (uint32_t)from[i + 1] << 8;
		if (left > 2)
			three |= from[i + 2];
		*to++ = digits[three >> 18];
		*to++ = digits[three >> 12 & 63];
		*to++ = left > 1 ? digits[three >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[three & 63] : '=';
	}
	return text;
}

static void print_escaped(FILE *f, const char *before, const char *text, const char *after)
{
	char *escaped = otp_html_escape(text);
	fprintf(f, "%s%s%s", before, escaped, after);
	otp_free(escaped);
}

static void print_head(FILE *f, const otp_report *r)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width\">\n",
	      f);
	print_escaped(f, "<title>", r->title, "</title>\n");
	fprintf(f, "<style>\n%s</style></head><body>\n", style);
	print_escaped(f, "<h1>", r->title, "</h1>\n");
	if (r->subtitle)
		print_escaped(f, "<p class=\"sub\">", r->subtitle, "</p>\n");
}

static void print_rows(FILE *f, const otp_report *r)
{
	static const char *const cells[] = {"<td>", "<td class=\"good\">", "<td class=\"bad\">"};
	if (r->row_count == 0)
		return;
	fputs("<h2>Summary</h2>\n<table>\n", f);
	for (int i = 0; i < r->row_count; i++) {
		print_escaped(f, "<tr><td>", r->rows[i].name, "</td>");
		print_escaped(f, cells[r->rows[i].mood], r->rows[i].value, "</td></tr>\n");
	}
	fputs("</table>\n", f);
}

static void print_findings(FILE *f, const otp_report_findings *found)
{
	if (!found)
		return;
	print_escaped(f, "<h2>Verdicts</h2>\n<p class=\"note\">", found->note, "</p>\n");
	if (found->count == 0)
		return;
	fputs("<table class=\"verdicts\">\n", f);
	for (int i = 0; i < found->count; i++) {
		const otp_report_finding *v = &found->each[i];
		print_escaped(f, "<tr><td class=\"bad\">", v->name, "</td>");
		print_escaped(f, "<td>", v->when, "</td>");
		print_escaped(f, "<td>", v->figures, "<br>");
		print_escaped(f, "Try ", v->advice, "</td></tr>\n");
	}
	fputs("</table>\n", f);
}

static bool print_picture(FILE *f, const otp_report_picture *p, otp_error *err)
{
	size_t bytes = 0;
	void *png = otp_file_read(p->path, &bytes, err);
	if (!png)
		return false;
	char *text = otp_base64(png, bytes);
	fprintf(f, "<figure><img alt=\"\" src=\"data:image/png;base64,%s\">", text);
	print_escaped(f, "<figcaption>", p->caption, "</figcaption></figure>\n");
	otp_free(text);
	otp_free(png);
	return true;
}

static bool print_pictures(FILE *f, const otp_report *r, otp_error *err)
{
	if (r->picture_count == 0)
		return true;
	fputs("<h2>Samples</h2>\n", f);
	if (r->pictures_note)
		print_escaped(f, "<p class=\"note\">", r->pictures_note, "</p>\n");
	bool several = r->picture_count > 1;
	if (several)
		fputs(
		    "<input id=\"at\" type=\"range\" min=\"0\" aria-label=\"step of the pictures\" hidden>\n",
		    f);
	int shown = r->picture_count < MOST_PICTURES ? r->picture_count : MOST_PICTURES;
	for (int i = 0; i < shown; i++) {
		/* the first and the last among them */
		int at = shown > 1 ? (int)((int64_t)i * (r->picture_count - 1) / (shown - 1)) : 0;
		if (!print_picture(f, &r->pictures[at], err))
			return false;
	}
	if (several)
		fprintf(f, "<script>\n%s</script>\n", script);
	return true;
}

bool otp_report_write(const char *path, const otp_report *r, otp_error *err)
{
	char *page = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&page, &bytes);
	OTP_ASSERT(f, "no memory for a page");
	print_head(f, r);
	print_rows(f, r);
	print_findings(f, r->findings);
	bool ok = print_pictures(f, r, err);
	if (r->metric_count > 0) {
		char *curves = otp_plot_training(r->metrics, r->metric_count);
		fprintf(f, "<h2>Curves over the steps</h2>\n%s", curves);
		otp_free(curves);
	}
	if (r->settings)
		print_escaped(f, "<details><summary>Settings</summary>\n<pre>", r->settings,
			      "</pre></details>\n");
	fputs("</body></html>\n", f);
	fclose(f);
	ok = ok && otp_file_write(path, page, bytes, err);
	otp_free(page);
	return ok;
}

/* ---- a run's folder ------------------------------------------------------ */

/* ".../step-0000500.png" to "step 500". */
static char *caption_of(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	int64_t step = 0;
	if (sscanf(name, "step-%" SCNd64, &step) == 1)
		return otp_format("step %" PRId64, step);
	return otp_strdup(name);
}

/* The folder's own name: where it lies is nobody's business who is sent the page. */
static char *title_of(const char *run)
{
	size_t end = strlen(run), start;
	while (end > 1 && run[end - 1] == '/')
		end--;
	for (start = end; start > 0 && run[start - 1] != '/'; start--)
		;
	return otp_format("otplan run: %.*s", (int)(end - start), run + start);
}

/* In glob a folder's name must not act as a pattern. */
static char *glob_pattern(const char *run)
{
	char *pattern = otp_calloc(2 * strlen(run) + 32, 1), *to = pattern;
	for (; *run; run++) {
		if (strchr("*?[\\", *run))
			*to++ = '\\';
		*to++ = *run;
	}
	strcpy(to, "/samples/step-*.png");
	return pattern;
}

bool otp_report_run(const char *run, const char *settings, const otp_report_row *rows, int row_count,
		    const otp_report_findings *findings, otp_error *err)
{
	char *page = otp_format("%s/report.html", run), *history = otp_format("%s/metrics.jsonl", run);
	char *pattern = glob_pattern(run), *title = title_of(run);
	otp_metrics *metrics = NULL;
	size_t metric_count = 0;
	otp_report_picture *pictures = NULL;
	glob_t found = {0};
	bool ok = !otp_file_exists(history) || otp_metrics_read(history, &metrics, &metric_count, err);
	if (!ok)
		goto out;
	/* Steps are written with leading zeros: glob's order is time's. */
	if (glob(pattern, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	pictures = otp_calloc(found.gl_pathc, sizeof *pictures);
	for (size_t i = 0; i < found.gl_pathc; i++)
		pictures[i] = (otp_report_picture){found.gl_pathv[i], caption_of(found.gl_pathv[i])};
	otp_report report = {
	    .title = title,
	    .rows = rows,
	    .row_count = row_count,
	    .findings = findings,
	    .metrics = metrics,
	    .metric_count = metric_count,
	    .pictures = pictures,
	    .picture_count = (int)found.gl_pathc,
	    .pictures_note = "Images: each row is a source, then samples of what the plan makes of it. "
			     "Points: lines join sources to their samples. Inputs and noise are the same at "
			     "every step.",
	    .settings = settings};
	ok = otp_report_write(page, &report, err);
out:
	for (size_t i = 0; pictures && i < found.gl_pathc; i++)
		otp_free((char *)pictures[i].caption);
	otp_free(pictures);
	globfree(&found);
	otp_free(metrics);
	otp_free(title);
	otp_free(pattern);
	otp_free(history);
	otp_free(page);
	return ok;
}
