/* help: the options as a text, from the table. */
#include "config/table.h"

#include <string.h>

enum { HELP_INDENT = 30, HELP_COLUMNS = 100 };

/* One word, or something else that is not to be broken, on this line or the next. Returns the column. */
static int print_word(FILE *f, const char *text, size_t bytes, int column)
{
	if (column > HELP_INDENT && column + 1 + (int)bytes > HELP_COLUMNS) {
		fprintf(f, "\n%*s", HELP_INDENT, "");
		column = HELP_INDENT;
	}
	bool space = column > HELP_INDENT;
	fprintf(f, "%s%.*s", space ? " " : "", (int)bytes, text);
	return column + space + (int)bytes;
}

static void print_option(FILE *f, const otp_config *defaults, const otp_option *o)
{
	static const char *const operand[] = {"",	 " N", " N",	" N|WxH",    " X",
					      " X|auto", " N", " WORD", "[=on|off]", " TEXT"};
	int column = fprintf(f, "  --%s%s", o->key, operand[o->kind]);
	if (column >= HELP_INDENT - 1) {
		fputc('\n', f);
		column = 0;
	}
	fprintf(f, "%*s", HELP_INDENT - column, "");
	column = HELP_INDENT;
	for (const char *word = o->help; *word; word += strspn(word, " ")) {
		size_t bytes = strcspn(word, " ");
		column = print_word(f, word, bytes, column);
		word += bytes;
	}

	char *remark = NULL;
	size_t bytes = 0;
	FILE *r = otp_option_text(&remark, &bytes);
	fputc('[', r);
	otp_option_print_value(r, defaults, o);
	if (o->kind == OTP_OPTION_INT || o->kind == OTP_OPTION_OPEN || o->kind == OTP_OPTION_REAL ||
	    o->kind == OTP_OPTION_AUTO)
		fprintf(r, o->most < 1e9 ? "; %g..%g" : "; from %g", o->least, o->most);
	if (o->kind == OTP_OPTION_PICK) {
		fputs("; ", r);
		otp_option_print_words(r, o);
	}
	fputc(']', r);
	fclose(r);
	if (strcmp(remark, "[]") != 0)
		print_word(f, remark, bytes, column);
	fputc('\n', f);
	otp_free(remark);
}

static bool shows(const otp_option *o, bool all)
{
	return o->kind != OTP_OPTION_GROUP && (all || o->tier == OTP_TIER_USER);
}

static bool group_shows(int group, bool all)
{
	bool any = false;
	for (int i = group + 1; i < otp_option_count && otp_option_rows[i].kind != OTP_OPTION_GROUP; i++)
		any = any || shows(&otp_option_rows[i], all);
	return any;
}

char *otp_config_help(bool all)
{
	otp_config defaults;
	otp_config_defaults(&defaults);
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = otp_option_text(&text, &bytes);
	for (int i = 0; i < otp_option_count; i++) {
		const otp_option *o = &otp_option_rows[i];
		if (o->kind == OTP_OPTION_GROUP && group_shows(i, all))
			fprintf(f, "%s%s\n", i ? "\n" : "", o->key);
		else if (shows(o, all))
			print_option(f, &defaults, o);
	}
	fprintf(f, "\npresets\n");
	for (int i = 0; i < otp_preset_count; i++)
		fprintf(f, "  %-*s%s\n", HELP_INDENT - 2, otp_presets[i].name, otp_presets[i].meaning);
	fclose(f);
	return text;
}
