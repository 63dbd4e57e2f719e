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
    ":root{color-scheme:light}*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:960px;padding:28px 20px 60px;background:#fff;color:#222;"
    "font:16px/1.5 system-ui,'DejaVu "
    "Sans',Arial,sans-serif;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}\n"
    "h1{font-size:26px;line-height:1.25;margin:0}h2{font-size:19px;margin:36px 0 10px}\n"
    ".state,.note,dt,figcaption,.unit{color:#595959}.state{margin:4px 0 18px}.note{margin:0 0 12px}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:0}dd{margin:0}\n"
    ".verdict{border-left:5px solid #888;background:#f6f6f6;padding:10px 14px;margin:0}\n"
    ".verdict.good{border-color:#00734f;background:#eef7f3}.verdict.bad{border-color:#b8400a;background:#"
    "fdf2ec}\n"
    ".finding{border-bottom:1px solid #e6e6e6;padding:10px 0}.finding p{margin:2px 0}.finding "
    "b{color:#b8400a}\n"
    "table{border-collapse:collapse;width:100%;max-width:720px}td{padding:5px 12px 5px 0;border-bottom:1px "
    "solid "
    "#e6e6e6;vertical-align:top}td:nth-child(2){text-align:right;white-space:nowrap;font-variant-numeric:"
    "tabular-nums}"
    "td:last-child{padding-right:0}\n"
    ".unit{font-size:14px}\n"
    ".curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:14px "
    "20px}\n"
    ".curves svg{width:100%;height:auto;display:block}\n"
    "figure{margin:0 0 18px}figure img{max-width:100%;height:auto;display:block;image-rendering:auto}"
    "figcaption{margin:0 0 6px}\n"
    "#at{width:100%;max-width:620px;height:32px;margin:0 0 "
    "8px;accent-color:#0072b2;display:block}#at[hidden]{display:none}\n"
    "pre{background:#f6f6f6;padding:14px 16px;overflow:auto;font:13px/1.45 ui-monospace,'DejaVu Sans Mono',"
    "monospace;overflow-wrap:normal}summary{cursor:pointer;font-size:19px;font-weight:600;margin:36px 0 "
    "10px}\n"
    "@media(max-width:560px){body{padding:18px 14px "
    "40px}dl{display:block}dt{margin-top:8px;font-size:14px}}\n";

/* Without script every picture is simply shown, the slider is not. */
static const char script[] =
    "var f=document.querySelectorAll('figure.step'),r=document.getElementById('at');\n"
    "function show(){f.forEach(function(e,i){e.hidden=i!=r.value})}\n"
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

/* A unit, in which ^2 becomes a raised 2. */
static void print_unit(FILE *f, const char *unit)
{
	const char *power;
	for (; (power = strstr(unit, "^2")); unit = power + 2) {
		char *before = otp_format("%.*s", (int)(power - unit), unit);
		print_escaped(f, "", before, "\xc2\xb2");
		otp_free(before);
	}
	print_escaped(f, "", unit, "");
}

static void print_head(FILE *f, const char *title, const otp_report *r)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
	      "<link rel=\"icon\" href=\"data:,\">\n", /* nothing is asked for */
	      f);
	print_escaped(f, "<title>", title, "</title>\n");
	fprintf(f, "<style>\n%s</style></head><body>\n", style);
	print_escaped(f, "<h1>", title, "</h1>\n");
	print_escaped(f, "<p class=\"state\">", r->state, "</p>\n");
	fputs("<dl>\n", f);
	for (int i = 0; i < r->fact_count; i++) {
		print_escaped(f, "<dt>", r->facts[i].name, "</dt>");
		print_escaped(f, "<dd>", r->facts[i].value, "</dd>\n");
	}
	fputs("</dl>\n", f);
}

static void print_verdicts(FILE *f, const otp_report *r)
{
	static const char *const moods[] = {"<p class=\"verdict\">", "<p class=\"verdict good\">",
					    "<p class=\"verdict bad\">"};
	fputs("<h2>Verdict</h2>\n", f);
	print_escaped(f, moods[r->mood], r->verdict, "</p>\n");
	for (int i = 0; i < r->finding_count; i++) {
		const otp_report_finding *v = &r->findings[i];
		print_escaped(f, "<div class=\"finding\"><b>", v->name, "</b>, ");
		print_escaped(f, "", v->when, "\n");
		print_escaped(f, "<p>", v->figures, "</p>\n");
		print_escaped(f, "<p>Try ", v->advice, "</p></div>\n");
	}
}

static void print_figures(FILE *f, const otp_report *r)
{
	if (r->figure_count == 0)
		return;
	print_escaped(f, "<h2>", r->figures_of, "</h2>\n<table>\n");
	for (int i = 0; i < r->figure_count; i++) {
		const otp_report_row *row = &r->figures[i];
		print_escaped(f, "<tr><td>", row->name, "");
		if (row->note[0]) {
			fputs(" <span class=\"unit\">", f);
			print_unit(f, row->note);
			fputs("</span>", f);
		}
		print_escaped(f, "</td><td>", row->value, "</td></tr>\n");
	}
	fputs("</table>\n", f);
}

static bool print_picture(FILE *f, const char *class, const char *path, const char *caption, otp_error *err)
{
	size_t bytes = 0;
	void *png = otp_file_read(path, &bytes, err);
	if (!png)
		return false;
	char *text = otp_base64(png, bytes);
	fprintf(f, "<figure class=\"%s\">", class);
	print_escaped(f, "<figcaption>", caption, "</figcaption>");
	print_escaped(f, "<img alt=\"", caption, "\"");
	fprintf(f, " src=\"data:image/png;base64,%s\"></figure>\n", text);
	otp_free(text);
	otp_free(png);
	return true;
}

/* ---- what lies in the folder --------------------------------------------------- */

typedef struct folder {
	otp_metrics *metrics;
	size_t metric_count;
	glob_t found;  /* pictures over time */
	char *targets; /* NULL: there is none */
} folder;

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

static bool look(const char *run, folder *in, otp_error *err)
{
	char *history = otp_format("%s/metrics.jsonl", run), *pattern = glob_pattern(run);
	memset(in, 0, sizeof *in);
	in->targets = otp_format("%s/samples/targets.png", run);
	if (!otp_file_exists(in->targets)) {
		otp_free(in->targets);
		in->targets = NULL;
	}
	bool ok =
	    !otp_file_exists(history) || otp_metrics_read(history, &in->metrics, &in->metric_count, err);
	/* Steps are written with leading zeros: glob's order is time's. */
	if (glob(pattern, 0, NULL, &in->found) != 0)
		in->found.gl_pathc = 0;
	otp_free(history);
	otp_free(pattern);
	return ok;
}

static void leave(folder *in)
{
	globfree(&in->found);
	otp_free(in->metrics);
	otp_free(in->targets);
}

static bool print_pictures(FILE *f, const folder *in, const char *note, otp_error *err)
{
	int count = (int)in->found.gl_pathc, shown = count < MOST_PICTURES ? count : MOST_PICTURES;
	if (count == 0)
		return true;
	fputs("<h2>Samples</h2>\n", f);
	print_escaped(f, "<p class=\"note\">", note, "</p>\n");
	if (count > 1)
		fputs(
		    "<input id=\"at\" type=\"range\" min=\"0\" aria-label=\"step of the pictures\" hidden>\n",
		    f);
	for (int i = 0; i < shown; i++) {
		/* the first and the last among them */
		int at = shown > 1 ? (int)((int64_t)i * (count - 1) / (shown - 1)) : 0;
		char *caption = caption_of(in->found.gl_pathv[at]);
		bool ok = print_picture(f, "step", in->found.gl_pathv[at], caption, err);
		otp_free(caption);
		if (!ok)
			return false;
	}
	if (in->targets && !print_picture(f, "targets", in->targets, "real targets, to compare with", err))
		return false;
	if (count > 1)
		fprintf(f, "<script>\n%s</script>\n", script);
	return true;
}

static bool print_page(FILE *f, const char *run, const folder *in, const otp_report *r, otp_error *err)
{
	char *title = title_of(run);
	print_head(f, title, r);
	otp_free(title);
	print_verdicts(f, r);
	if (!print_pictures(f, in, r->pictures_note, err))
		return false;
	print_figures(f, r);
	if (in->metric_count > 0) {
		char *curves = otp_plot_training(in->metrics, in->metric_count, OTP_PLOT_TILES);
		fprintf(f, "<h2>Curves</h2>\n<div class=\"curves\">\n%s</div>\n", curves);
		otp_free(curves);
	}
	if (r->settings)
		print_escaped(f, "<details><summary>Settings</summary>\n<pre>", r->settings,
			      "</pre></details>\n");
	fputs("</body></html>\n", f);
	return true;
}

bool otp_report_write(const char *run, const otp_report *report, otp_error *err)
{
	char *page = NULL, *path = otp_format("%s/report.html", run);
	size_t bytes = 0;
	folder in;
	FILE *f = open_memstream(&page, &bytes);
	OTP_ASSERT(f, "no memory for a page");
	bool ok = look(run, &in, err) && print_page(f, run, &in, report, err);
	fclose(f);
	ok = ok && otp_file_write(path, page, bytes, err);
	leave(&in);
	free(page);
	otp_free(path);
	return ok;
}
