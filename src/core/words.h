/* words: which known name somebody may have meant, and a few forms of text. Hyphens and underscores, and
 * capitals and small letters, count as the same. */
#ifndef OTP_WORDS_H
#define OTP_WORDS_H

#include "core/base.h"

/* Whether `word`, of which `length` characters count, is `name`. */
bool otp_word_same(const char *name, const char *word, size_t length);

/* Insertions, deletions, replacements and swaps of neighbours that lead from a
 * to b (Damerau-Levenshtein); names of 48 characters and more are far from all. */
int otp_word_distance(const char *a, const char *b);

/* A search over names that are offered one by one. */
typedef struct otp_word_search {
	const char *word;
	const char *nearest; /* NULL: none is alike */
	int distance;
} otp_word_search;

otp_word_search otp_word_search_for(const char *word);
/* A name that begins with the word counts as near, however long it goes on. */
void otp_word_consider(otp_word_search *search, const char *name);

/* What stands behind a regular noun that is counted: otp_log("%lld sample%s", n, otp_plural(n)). */
const char *otp_plural(int64_t count);

/* A copy that is UTF-8: bytes that are none become U+FFFD. otp_free it. */
char *otp_utf8(const char *text);

#endif
