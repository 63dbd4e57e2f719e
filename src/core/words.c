#include "core/words.h"

#include <ctype.h>
#include <string.h>

enum { MOST = 48 };

static char fold(char c) { return c == '_' ? '-' : (char)tolower((unsigned char)c); }

bool otp_word_same(const char *name, const char *word, size_t length)
{
	if (strlen(name) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (fold(name[i]) != fold(word[i]))
			return false;
	return true;
}

static int least(int a, int b) { return a < b ? a : b; }

int otp_word_distance(const char *a, const char *b)
{
	int n = (int)strlen(a), m = (int)strlen(b), d[MOST][MOST];
	if (n >= MOST || m >= MOST)
		return MOST;
	for (int i = 0; i <= n; i++)
		for (int j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			int replaced = d[i - 1][j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
			d[i][j] = least(replaced, least(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
			    fold(a[i - 2]) == fold(b[j - 1]))
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[n][m];
}

otp_word_search otp_word_search_for(const char *word)
{
	otp_word_search search = {word, NULL, 2 + (int)strlen(word) / 3}; /* farther off is no likeness */
	return search;
}

void otp_word_consider(otp_word_search *search, const char *name)
{
	size_t length = strlen(search->word);
	bool begins = length >= 3 && strlen(name) >= length && otp_word_same(search->word, name, length);
	int distance = begins ? 1 : otp_word_distance(search->word, name);
	if (distance < search->distance) {
		search->distance = distance;
		search->nearest = name;
	}
}

const char *otp_plural(int64_t count) { return count == 1 ? "" : "s"; }

/* How many bytes the character at `at` has; 0: it is none (RFC 3629: no surrogates, nothing overlong). */
static int character_at(const unsigned char *at)
{
	static const struct {
		unsigned char least, most, second_least, second_most;
		int bytes;
	} FORMS[] = {{0x00, 0x7f, 0, 0, 1},	  {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		     {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		     {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
	for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
		if (*at < FORMS[i].least || *at > FORMS[i].most)
			continue;
		if (FORMS[i].bytes > 1 && (at[1] < FORMS[i].second_least || at[1] > FORMS[i].second_most))
			return 0;
		for (int k = 2; k < FORMS[i].bytes; k++)
			if ((at[k] & 0xc0) != 0x80)
				return 0;
		return FORMS[i].bytes;
	}
	return 0;
}

char *otp_utf8(const char *text)
{
	char *out = otp_calloc(3 * strlen(text) + 1, 1), *to = out;
	for (const unsigned char *at = (const unsigned char *)text; *at;) {
		int bytes = character_at(at);
		memcpy(to, bytes ? (const char *)at : "\xef\xbf\xbd", bytes ? (size_t)bytes : 3);
		to += bytes ? bytes : 3;
		at += bytes ? bytes : 1;
	}
	return out;
}
