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
