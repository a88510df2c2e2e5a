#include "analyze/merge_internal.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

/* Looked up once, for as long as the program runs: that takes longer than to hash so few bytes. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* Its length first, so that what ends one text never begins the next. */
static bool add_text(EVP_MD_CTX *context, const struct merge_text *text)
{
	uint64_t length = text->bytes == NULL ? UINT64_MAX : text->length;
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(length >> 8 * i);
	return EVP_DigestUpdate(context, bytes, sizeof(bytes)) == 1 &&
	       (text->bytes == NULL || EVP_DigestUpdate(context, text->bytes, text->length) == 1);
}

int merge_digest(const struct merge_text *texts, size_t count, struct merge_digest *out,
		 struct error *error)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *context = NULL;
	bool done = pthread_once(&sha256_once, fetch_sha256) == 0 && sha256 != NULL &&
		    (context = EVP_MD_CTX_new()) != NULL &&
		    EVP_DigestInit_ex(context, sha256, NULL) == 1;

	for (size_t i = 0; i < count && done; i++)
		done = add_text(context, &texts[i]);
	done = done && EVP_DigestFinal_ex(context, digest, NULL) == 1;
	EVP_MD_CTX_free(context);
	if (!done)
		return error_set(error, ERROR_MEMORY, NULL, -1, "SHA-256 failed");
	*out = (struct merge_digest){0};
	for (int i = 0; i < 16; i++)
		out->words[i / 8] |= (uint64_t)digest[i] << 8 * (i % 8);
	return 0;
}

struct merge_text merge_text(const char *text)
{
	return (struct merge_text){text, text == NULL ? 0 : strlen(text)};
}

bool merge_same_digest(const struct merge_digest *a, const struct merge_digest *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}
