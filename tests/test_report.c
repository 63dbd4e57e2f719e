/* test_report: the history of metrics, the progress line, pictures, curves and the page. */
#include "core/file.h"
#include "core/log.h"
#include "report/figures.h"
#include "report/grid.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/otplan-report-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	static const char *const names[] = {"samples/step-0000000.png",
					    "samples/step-0000500.png",
					    "samples/targets.png",
					    "samples",
					    "metrics.jsonl",
					    "rolled.jsonl",
					    "report.html",
					    "points.png",
					    "log.txt"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		remove(path_of(names[i]));
	return rmdir(folder);
}

static void assert_ok(bool ok, const otp_error *err)
{
	if (!ok)
		print_message("%s\n", err->text);
	assert_true(ok);
}

static int occurrences(const char *text, const char *word)
{
	int count = 0;
	for (; (text = strstr(text, word)); text++)
		count++;
	return count;
}

static void append(const char *path, int64_t step, double cost)
{
	otp_error err = {0};
	otp_metrics_log *log = otp_metrics_open(path, &err);
	assert_non_null(log);
	otp_metrics m = otp_metrics_at(step);
	m.cost = cost;
	m.sigma = INFINITY;
	m.lr_g = 1.0 / 3;
	assert_ok(otp_metrics_append(log, &m, &err), &err);
	otp_metrics_close(log);
}

/* Steps written again after a resume replace what came after the checkpoint; torn lines are harmless. */
static void test_metrics(void **state)
{
	(void)state;
	otp_error err = {0};
	const char *path = path_of("metrics.jsonl");
	append(path, 100, 1);
	append(path, 200, 2);
	append(path, 300, 3);
	FILE *f = fopen(path, "a");
	fputs("{\"step\": 400, \"co", f);
	fclose(f);
	append(path, 200, 4);
	append(path, 250, 5);

	otp_metrics *rows = NULL;
	size_t count = 0, bytes = 0;
	assert_ok(otp_metrics_read(path, &rows, &count, &err), &err);
	assert_int_equal(count, 3);
	static const int64_t steps[] = {100, 200, 250};
	static const double costs[] = {1, 4, 5};
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(rows[i].step, steps[i]);
		assert_true(rows[i].cost == costs[i]);
		assert_true(rows[i].lr_g == 1.0 / 3);
		assert_true(isnan(rows[i].sigma) && isnan(rows[i].r1));
	}
	otp_free(rows);

	char *text = otp_file_read(path, &bytes, &err);
	assert_non_null(strstr(text, "\"sigma\":null"));
	int lines = 0;
	for (size_t i = 0; i < bytes; i++)
		lines += text[i] == '\n';
	assert_int_equal(lines, 6);
	otp_free(text);
	assert_false(otp_metrics_read(path_of("absent"), &rows, &count, &err));
	assert_null(rows);
}

/* What a rollback takes back: the lines before it that are of later steps than it went back to. */
static void test_rollback(void **state)
{
	(void)state;
	otp_error err = {0};
	const char *path = path_of("rolled.jsonl");
	append(path, 100, 1);
	append(path, 200, 2);
	append(path, 300, 3);
	otp_metrics_log *log = otp_metrics_open(path, &err);
	const otp_rollback_record record = {200, 310, 1, 0.5, "a \"reason\""};
	assert_ok(otp_metrics_append_rollback(log, &record, &err), &err);
	otp_metrics_close(log);
	append(path, 250, 4);

	otp_metrics *rows = NULL;
	size_t count = 0, bytes = 0;
	assert_ok(otp_metrics_read(path, &rows, &count, &err), &err);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(rows[i].step, i == 2 ? 250 : 100 * (i + 1));
		assert_true(rows[i].cost == (i == 2 ? 4 : (double)(i + 1)));
	}
	otp_free(rows);
	char *text = otp_file_read(path, &bytes, &err);
	assert_non_null(strstr(text, "\"rollback\":1,\"from_step\":310,\"rate_factor\":0.5"));
	otp_free(text);
}

/* Verdicts are names in the file, so that a later version may know more. */
static void test_verdicts(void **state)
{
	(void)state;
	otp_error err = {0};
	const char *path = path_of("metrics.jsonl");
	const unsigned both = 1u << OTP_VERDICT_NOISE | 1u << OTP_VERDICT_IDENTITY;
	otp_metrics_log *log = otp_metrics_open(path, &err);
	otp_metrics m = otp_metrics_at(1000);
	m.verdicts = both;
	assert_ok(otp_metrics_append(log, &m, &err), &err);
	otp_metrics_close(log);
	FILE *f = fopen(path, "a");
	fputs("{\"step\":1001,\"verdicts\":[\"mode collapse\",\"bad weather\",7]}\n{\"step\":1002}\n", f);
	fclose(f);

	otp_metrics *rows = NULL;
	size_t count = 0, bytes = 0;
	assert_ok(otp_metrics_read(path, &rows, &count, &err), &err);
	assert_int_equal(rows[count - 3].verdicts, both);
	assert_int_equal(rows[count - 2].verdicts, 1u << OTP_VERDICT_MODES);
	assert_int_equal(rows[count - 1].verdicts, 0);
	otp_free(rows);
	char *text = otp_file_read(path, &bytes, &err);
	assert_non_null(strstr(text, "\"verdicts\":[\"identity collapse\",\"noise ignored\"]"));
	otp_free(text);

	char words[128], line[256];
	otp_verdicts_text(both, words, sizeof words);
	assert_string_equal(words, "identity collapse, noise ignored");
	otp_verdicts_text((1u << OTP_VERDICT_COUNT) - 1, words, sizeof words);
	assert_true(strlen(words) < sizeof words - 1);
	otp_verdicts_text(0, words, sizeof words);
	assert_string_equal(words, "none");
	m.target_distance = 0.25;
	m.target_floor = 0.125;
	otp_progress_line(&m, 2000, -1, 200, line, sizeof line);
	assert_string_equal(
	    line,
	    "step 1000/2000  50%  identity collapse, noise ignored  target distance 0.25 (floor 0.125)");
	m.patch_distance = 0.5;
	m.patch_floor = 0.0625;
	otp_progress_line(&m, 2000, -1, 200, line, sizeof line);
	assert_string_equal(
	    line, "step 1000/2000  50%  identity collapse, noise ignored  patch distance 0.5 (floor 0.0625)");
	m.measured_at = 123456789;
	m.patch_distance = 0.000123456;
	m.patch_floor = 0.0000123456;
	otp_progress_line(&m, 2000, -1, 200, line, sizeof line);
	assert_non_null(strstr(line, "patch distance 0.000123 at step 123456789 (floor 1.23e-05)"));
}

static void test_progress_line(void **state)
{
	(void)state;
	char line[256], full[256];
	otp_metrics m = otp_metrics_at(1200);
	otp_progress_line(&m, 4000, -1, 100, line, sizeof line);
	assert_string_equal(line, "step 1200/4000  30%");
	m.sigma = 0.5;
	m.loss_transport = 0.25;
	m.loss_potential = -0.125;
	m.cost = 12.5;
	m.images_per_s = 812.4;
	otp_progress_line(&m, 4000, 3725, 200, full, sizeof full);
	assert_string_equal(
	    full, "step 1200/4000  30%  ETA 1:02:05  sigma 0.500  training cost 12.5  loss of T +0.25  "
		  "loss of V -0.125  samples/s 812");
	/* Narrow terminals lose whole figures, never halves. */
	for (int columns = 0; columns <= (int)strlen(full); columns++) {
		otp_progress_line(&m, 4000, 3725, columns, line, sizeof line);
		assert_true((int)strlen(line) <= columns);
	}
	assert_string_equal(line, full);
	m.step = 3999;
	otp_progress_line(&m, 4000, 9, 30, line, sizeof line);
	assert_string_equal(line, "step 3999/4000  99%  ETA 0:09");
}

static void test_log(void **state)
{
	(void)state;
	otp_error err = {0};
	assert_ok(otp_log_open(path_of("log.txt"), &err), &err);
	otp_progress *p = otp_progress_new(10);
	otp_metrics m = otp_metrics_at(10);
	otp_progress_show(p, &m);
	otp_progress_free(p);
	otp_log_quietly("quiet %d", 7);
	otp_log_close();
	otp_log_quietly("nowhere");
	size_t bytes = 0;
	char *text = otp_file_read(path_of("log.txt"), &bytes, &err);
	assert_non_null(text);
	assert_non_null(strstr(text, "  step 10/10 100%\n"));
	assert_non_null(strstr(text, "  quiet 7\n"));
	assert_null(strstr(text, "nowhere"));
	otp_free(text);
	assert_false(otp_log_open(path_of("absent/log.txt"), &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
}

static void test_ticks(void **state)
{
	(void)state;
	double t[16];
	assert_int_equal(otp_plot_ticks(0, 1, 5, t), 3);
	assert_true(t[0] == 0 && t[1] == 0.5 && t[2] == 1);
	assert_int_equal(otp_plot_ticks(-0.1, 0.1, 5, t), 5);
	assert_false(signbit(t[2]));
	assert_int_equal(otp_plot_ticks(1, 1, 5, t), 0);
	assert_int_equal(otp_plot_ticks(0, INFINITY, 5, t), 0);
	for (double high = 1e-6; high < 1e7; high *= 1.7) {
		int count = otp_plot_ticks(-high / 3, high, 6, t);
		assert_in_range(count, 2, 6);
		assert_true(t[0] >= -high / 3 - 1e-9 * high && t[count - 1] <= high * (1 + 1e-9));
	}
}

/* Whatever was measured or not, the curves hold finite coordinates alone. */
static void test_plot(void **state)
{
	(void)state;
	otp_metrics rows[100];
	for (int i = 0; i < 100; i++) {
		rows[i] = otp_metrics_at(50 * i);
		rows[i].cost = i == 40 ? NAN : i == 50 ? 1e300 : sin(i);
		rows[i].r1 = 0.001 * i;
		rows[i].sigma = 0.1;
	}
	for (size_t count = 0; count <= 100; count += count < 3 ? 1 : 97) {
		char *svg = otp_plot_training(rows, count, OTP_PLOT_SHEET);
		assert_memory_equal(svg, "<svg ", 5);
		assert_null(strstr(svg, "nan"));
		assert_null(strstr(svg, "inf"));
		assert_true((strstr(svg, "training cost") != NULL) == (count > 0));
		assert_null(strstr(svg, "loss of V"));
		otp_free(svg);
	}
}

static void assert_png(const char *path, uint32_t w, uint32_t h)
{
	size_t bytes = 0;
	otp_error err = {0};
	uint8_t *png = otp_file_read(path, &bytes, &err);
	assert_non_null(png);
	assert_memory_equal(png, "\x89PNG", 4);
	assert_int_equal((uint32_t)png[18] << 8 | png[19], w);
	assert_int_equal((uint32_t)png[22] << 8 | png[23], h);
	otp_free(png);
}

static void test_pictures(void **state)
{
	(void)state;
	otp_error err = {0};
	float sources[2 * 16 * 16], outputs[2 * 3 * 16 * 16];
	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
		sources[i] = i % 7 ? -1 : 2;
	for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
		outputs[i] = i % 5 ? NAN : 0;
	assert_ok(otp_file_make_folder(path_of("samples"), &err), &err);
	/* four cells of 64, two gaps of 2 between three, 12 behind the source, margins of 8 */
	assert_ok(
	    otp_grid_write(path_of("samples/step-0000000.png"), sources, outputs, 2, 3, 16, 16, 1, &err),
	    &err);
	assert_png(path_of("samples/step-0000000.png"), 8 + 64 + 12 + 3 * 64 + 2 * 2 + 8,
		   8 + 64 + 2 + 64 + 8);
	assert_ok(otp_grid_write(path_of("samples/step-0000500.png"), sources, outputs, 1, 1, 8, 10, 3, &err),
		  &err);

	float points[] = {0, 0, 1, 0}, far[] = {1e30f, 0, NAN, 1, 0, 1, 1, 1}, target[] = {0, 1, 1, -1};
	assert_ok(otp_grid_write_points(path_of("points.png"), points, far, 2, 2, target, 2, 2, &err), &err);
	assert_ok(otp_grid_write_points(path_of("points.png"), points, far, 4, 2, target, 4, 1, &err), &err);
	assert_ok(otp_grid_write_points(path_of("points.png"), points, far, 1, 1, NULL, 0, 2, &err), &err);
	assert_false(otp_grid_write(path_of("no/x.png"), sources, outputs, 2, 3, 16, 16, 1, &err));
}

static void test_text(void **state)
{
	(void)state;
	char *text = otp_html_escape("<a href='x'>\"&</a>");
	assert_string_equal(text, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&lt;/a&gt;");
	otp_free(text);
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		text = otp_base64(pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(text, pairs[i][1]);
		otp_free(text);
	}
}

/* Runs after the tests that left metrics and samples in the folder. */
static void test_page(void **state)
{
	(void)state;
	otp_error err = {0};
	const otp_report_row facts[] = {{"Source", "<x> & y", ""}};
	const otp_report_row figures[] = {{"transport cost", "0.67", "per sample"}, {"<script>", "1", ""}};
	const otp_report_finding raised = {"mode <collapse>", "step 3 to the end", "1 < 2", "--tau 1 -> 10"};
	const float targets[3 * 8 * 10] = {0};
	assert_ok(otp_grid_write_images(path_of("samples/targets.png"), targets, 3, 2, 8, 10, 1, &err), &err);
	assert_png(path_of("samples/targets.png"), 8 + 60 + 2 + 60 + 8, 8 + 48 + 2 + 48 + 8);
	const otp_report report = {.state = "Finished & done.",
				   .facts = facts,
				   .fact_count = 1,
				   .verdict = "Nothing <stands>.",
				   .mood = OTP_MOOD_GOOD,
				   .findings = &raised,
				   .finding_count = 1,
				   .figures_of = "What was learned",
				   .figures = figures,
				   .figure_count = 2,
				   .pictures_note = "Rows.",
				   .settings = "source = <x>\n"};
	assert_ok(otp_report_write(folder, &report, &err), &err);
	size_t bytes = 0;
	char *page = otp_file_read(path_of("report.html"), &bytes, &err);
	assert_non_null(page);
	assert_int_equal(occurrences(page, "data:image/png;base64,"), 3);
	assert_non_null(strstr(page, "<figcaption>step 500</figcaption>"));
	assert_non_null(strstr(page, "<figcaption>real targets, to compare with</figcaption>"));
	assert_non_null(strstr(page, "name=\"viewport\""));
	assert_non_null(strstr(page, "training cost</tspan>"));
	assert_non_null(strstr(page, "source = &lt;x&gt;"));
	assert_non_null(strstr(page, "<dt>Source</dt><dd>&lt;x&gt; &amp; y</dd>"));
	assert_non_null(strstr(page, "<p class=\"verdict good\">Nothing &lt;stands&gt;.</p>"));
	assert_non_null(
	    strstr(page, "transport cost <span class=\"unit\">per sample</span></td><td>0.67</td>"));
	assert_non_null(strstr(page, "<b>mode &lt;collapse&gt;</b>, step 3 to the end\n<p>1 &lt; 2</p>\n"
				     "<p>Try --tau 1 -&gt; 10</p>"));
	assert_int_equal(occurrences(page, "<script>"), 1);
	/* Nothing is fetched: the only address is SVG's name for itself. */
	assert_int_equal(occurrences(page, "http"),
			 occurrences(page, "xmlns=\"http://www.w3.org/2000/svg\""));
	otp_free(page);
}

/* One name for one figure: whatever a curve, the live line or an evaluation shows is a row of figures.def,
 * and no two rows read alike. */
static void test_figures(void **state)
{
	(void)state;
	static const char *const keys[] = {
#define FIGURE(key, name, unit, sliced) #key,
#include "report/figures.def"
	};
	enum { COUNT = sizeof keys / sizeof *keys };
	for (size_t i = 0; i < COUNT; i++)
		for (size_t k = 0; k < i; k++) {
			const char *a = otp_figure_find(keys[i])->name, *b = otp_figure_find(keys[k])->name;
			assert_string_not_equal(keys[i], keys[k]);
			/* "..." goes on from the line before it. */
			assert_true(strncmp(a, "...", 3) == 0 || strcmp(a, b) != 0);
		}
	assert_null(otp_figure_find("absent"));

	otp_figure list[OTP_MAX_FIGURES];
	otp_figures f = {.each = list, .sliced = true};
	otp_figures_add(&f, "target_distance", 0.5, "floor 0.1");
	otp_figures_add_as(&f, "floor", "target_floor", 0.1, "");
	char *label = otp_figure_label(&list[0]);
	assert_string_equal(label, "target distance, sliced W2^2, per direction");
	assert_string_equal(list[1].key, "floor");
	otp_free(label);
}

/* What a curve is held against is drawn in its panel, and within its scale. */
static void test_references(void **state)
{
	(void)state;
	otp_metrics rows[3];
	for (int i = 0; i < 3; i++) {
		rows[i] = otp_metrics_at(100 * i + 100);
		rows[i].measured_at = i == 1 ? 100 : 100 * i + 100;
		rows[i].patch_distance = 0.3 - 0.1 * i;
		rows[i].patch_floor = 0.01;
		rows[i].source_patch_distance = 0.9;
		rows[i].target_distance = 1;
	}
	char *svg = otp_plot_training(rows, 3, OTP_PLOT_SHEET);
	assert_int_equal(occurrences(svg, "<svg "), 1 + 2);
	assert_non_null(strstr(svg, ">floor</text>"));
	assert_non_null(strstr(svg, ">doing nothing</text>"));
	assert_non_null(strstr(svg, ">step</text>"));
	assert_non_null(strstr(svg, "sliced W2\xc2\xb2, per direction"));
	assert_int_equal(occurrences(svg, "stroke-dasharray"), 2);
	/* Only what was measured is a point: two of three rows, in two panels. */
	assert_int_equal(occurrences(svg, "<circle"), 4);
	otp_free(svg);
	svg = otp_plot_training(rows, 3, OTP_PLOT_TILES);
	assert_int_equal(occurrences(svg, "<svg xmlns"), 2);
	otp_free(svg);
}

/* "end", or "start": at which end of its line a reference is named in the first panel. */
static void assert_named(const char *svg, const char *name, const char *anchor)
{
	char *text = otp_format(">%s</text>", name);
	const char *end = strstr(svg, text), *at = end;
	assert_non_null(end);
	while (strncmp(at, "<text ", 6) != 0)
		at--;
	const char *found = strstr(at, anchor);
	assert_true(found && found < end);
	otp_free(text);
}

/* The name of a reference stands beside curves, not on them. */
static void test_names(void **state)
{
	(void)state;
	enum { COUNT = 5 };
	static const double falling[COUNT] = {0.9, 0.7, 0.5, 0.3, 0.2},
			    crossing[COUNT] = {0.3, 0.3, 0.3, 0.5, 1.3};
	otp_metrics rows[COUNT];
	for (int crosses = 0; crosses < 2; crosses++) {
		for (int i = 0; i < COUNT; i++) {
			rows[i] = otp_metrics_at(100 * i + 100);
			rows[i].measured_at = 100 * i + 100;
			rows[i].patch_distance = (crosses ? crossing : falling)[i];
			rows[i].patch_floor = 0.01;
			rows[i].source_patch_distance = 0.9;
		}
		char *svg = otp_plot_training(rows, COUNT, OTP_PLOT_SHEET);
		assert_named(svg, "doing nothing", crosses ? "\"start\"" : "\"end\"");
		assert_named(svg, "floor", "\"end\"");
		otp_free(svg);
	}
}

/* The least distance that was measured, the first of equal ones. */
static void test_best(void **state)
{
	(void)state;
	enum { COUNT = 6 };
	const double distances[COUNT] = {NAN, 3, 1, INFINITY, 1, 2};
	otp_metrics rows[COUNT];
	for (int i = 0; i < COUNT; i++) {
		rows[i] = otp_metrics_at(i);
		rows[i].target_distance = distances[i];
	}
	assert_int_equal(otp_metrics_best(rows, 0), 0);
	assert_int_equal(otp_metrics_best(rows, 1), 1); /* none */
	assert_int_equal(otp_metrics_best(rows, 2), 1);
	assert_int_equal(otp_metrics_best(rows, 3), 2);
	assert_int_equal(otp_metrics_best(rows, COUNT), 2);
	rows[5].patch_distance = 0.5; /* patches come before whole pictures */
	assert_int_equal(otp_metrics_best(rows, COUNT), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_metrics),  cmocka_unit_test(test_rollback),
	    cmocka_unit_test(test_verdicts), cmocka_unit_test(test_progress_line),
	    cmocka_unit_test(test_log),	     cmocka_unit_test(test_ticks),
	    cmocka_unit_test(test_plot),     cmocka_unit_test(test_pictures),
	    cmocka_unit_test(test_text),     cmocka_unit_test(test_page),
	    cmocka_unit_test(test_figures),  cmocka_unit_test(test_references),
	    cmocka_unit_test(test_names),    cmocka_unit_test(test_best),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
