#include "analyze/community.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "analyze/decode_icmp.h"

/* Looked up once, for as long as the program runs: that takes longer than to hash so few bytes. */
static EVP_MD *sha1;
static pthread_once_t sha1_once = PTHREAD_ONCE_INIT;

static void fetch_sha1(void)
{
	sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
}

static size_t put_address(uint8_t *to, const struct flow_key *key, int side)
{
	if (key->ip_version == 6) {
		memcpy(to, key->address[side], 16);
		return 16;
	}
	memcpy(to, key->address[side] + 12, 4);
	return 4;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       decode_is_icmp(protocol);
}

const char *community_id(const struct flow_key *key, uint8_t originator, char id[COMMUNITY_ID_SIZE])
{
	uint8_t bytes[2 + 16 + 16 + 2 + 4] = {0, 0}, digest[EVP_MAX_MD_SIZE];
	unsigned char base64[32];
	unsigned int digest_length;
	size_t used = 2;
	int first = 0; /* the key has the smaller end first */

	if (decode_is_icmp(key->protocol) &&
	    decode_icmp_counterpart(key->protocol, (uint8_t)key->port[originator]) < 0)
		first = originator; /* one-way: never swapped */
	used += put_address(bytes + used, key, first);
	used += put_address(bytes + used, key, !first);
	bytes[used++] = key->protocol;
	bytes[used++] = 0;
	if (has_ports(key->protocol)) {
		bytes[used++] = (uint8_t)(key->port[first] >> 8);
		bytes[used++] = (uint8_t)key->port[first];
		bytes[used++] = (uint8_t)(key->port[!first] >> 8);
		bytes[used++] = (uint8_t)key->port[!first];
	}
	if (pthread_once(&sha1_once, fetch_sha1) != 0 || sha1 == NULL ||
	    EVP_Digest(bytes, used, digest, &digest_length, sha1, NULL) != 1)
		return NULL;
	EVP_EncodeBlock(base64, digest, (int)digest_length);
	memcpy(id, "1:", 2);
	memcpy(id + 2, base64, 28);
	id[COMMUNITY_ID_SIZE - 1] = '\0';
	return id;
}
