#include "snapshot/format/procnet_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* sctp addresses are printed in full (39 bytes) with a '*' and no zone. */
#define LONGEST_ADDRESS 48
/* Rows that one association may give: 256 addresses at either end, far above
 * what hosts have. Without a limit a line of a megabyte would give 10^9. */
#define MAX_PAIRS 65536

/* One line, without its newline. */
struct line {
	const char *at, *end;
	const char *text_end; /* of the whole text: a value that touches it may be cut off */
};

struct token {
	const char *at;
	size_t length;
	bool cut;
};

/* What a line was not, for the report. */
struct complaint {
	const char *wanted;
	struct token found;
};

struct parse {
	enum snap_table table;
	bool big_endian;
	struct snap_socket row; /* netns and table set; the rest of one line */
	struct procnet_rows *out;
	struct complaint complaint;
};

void procnet_rows_release(struct procnet_rows *rows)
{
	free(rows->rows);
	*rows = (struct procnet_rows){0};
}

static int append(struct procnet_rows *rows, const struct snap_socket *row)
{
	if (rows->count == rows->capacity) {
		size_t capacity = rows->capacity ? rows->capacity * 2 : 256;
		struct snap_socket *grown;

		if (capacity > SIZE_MAX / sizeof(*grown))
			return ERROR_MEMORY;
		grown = realloc(rows->rows, capacity * sizeof(*grown));
		if (!grown)
			return ERROR_MEMORY;
		rows->rows = grown;
		rows->capacity = capacity;
	}
	memcpy(&rows->rows[rows->count++], row, sizeof(*row));
	return 0;
}

/* ------------------------------------------------------------- tokens -- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* At the end of the line the token is empty. */
static struct token next_token(struct line *line)
{
	struct token token;

	while (line->at < line->end && is_space(*line->at))
		line->at++;
	token.at = line->at;
	while (line->at < line->end && !is_space(*line->at))
		line->at++;
	token.length = (size_t)(line->at - token.at);
	token.cut = line->at == line->text_end;
	return token;
}

static bool token_is(const struct token *token, const char *word)
{
	return token->length == strlen(word) && !memcmp(token->at, word, token->length);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Up to 16 digits. */
static bool parse_hex(const char *at, size_t length, uint64_t *out)
{
	uint64_t value = 0;

	if (length == 0 || length > 16)
		return false;
	for (size_t i = 0; i < length; i++) {
		int digit = hex_digit(at[i]);

		if (digit < 0)
			return false;
		value = value << 4 | (uint64_t)digit;
	}
	*out = value;
	return true;
}

static bool parse_decimal(const struct token *token, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (token->length == 0 || token->length > 19)
		return false;
	for (size_t i = 0; i < token->length; i++) {
		if (token->at[i] < '0' || token->at[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(token->at[i] - '0');
	}
	if (value > max)
		return false;
	*out = value;
	return true;
}

/* Kernels before 3.5 print the uid with %d: those from 2^31 on are negative. */
static bool parse_uid(const struct token *token, uint32_t *out)
{
	bool negative = token->length > 0 && token->at[0] == '-';
	struct token digits = *token;
	uint64_t value;

	if (negative) {
		digits.at++;
		digits.length--;
	}
	if (!parse_decimal(&digits, negative ? UINT64_C(1) << 31 : UINT32_MAX, &value))
		return false;
	*out = negative ? (uint32_t)(0 - value) : (uint32_t)value;
	return true;
}

static bool complain(struct parse *parse, const char *wanted, const struct token *found)
{
	parse->complaint.wanted = wanted;
	parse->complaint.found = *found;
	return false;
}

/* ------------------------------------------- tcp, udp, raw, icmp lines -- */

static void word_to_bytes(uint32_t word, bool big_endian, uint8_t bytes[4])
{
	for (unsigned i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(word >> 8 * (big_endian ? 3 - i : i));
}

/* ADDRESS:PORT */
static bool parse_endpoint(const struct parse *parse, const struct token *token,
			   struct endpoint *out)
{
	size_t words = snap_table_is_ipv6(parse->table) ? 4 : 1;
	uint8_t bytes[16];
	uint64_t value;

	if (token->length < words * 8 + 2 || token->length > words * 8 + 5 ||
	    token->at[words * 8] != ':')
		return false;
	for (size_t i = 0; i < words; i++) {
		if (!parse_hex(token->at + i * 8, 8, &value))
			return false;
		word_to_bytes((uint32_t)value, parse->big_endian, bytes + i * 4);
	}
	if (!parse_hex(token->at + words * 8 + 1, token->length - words * 8 - 1, &value))
		return false;
	out->address = words == 4 ? endpoint_from_ipv6(bytes) : endpoint_from_ipv4(bytes);
	out->port = (uint16_t)value;
	return true;
}

/* HEX:HEX */
static bool is_hex_pair(const struct token *token)
{
	const char *colon = token->length ? memchr(token->at, ':', token->length) : NULL;
	uint64_t value;

	return colon && parse_hex(token->at, (size_t)(colon - token->at), &value) &&
	       parse_hex(colon + 1, (size_t)(token->at + token->length - colon - 1), &value);
}

static bool is_integer(struct token token)
{
	uint64_t value;

	if (token.length > 0 && token.at[0] == '-') {
		token.at++;
		token.length--;
	}
	return parse_decimal(&token, UINT64_MAX, &value);
}

/* The unused columns are looked at too: a line that lost one of them would
 * otherwise give its neighbour's number as the inode. */
static bool parse_inet(struct parse *parse, struct line *line, int *result)
{
	struct token token = next_token(line);
	uint64_t value;

	if (token.length < 2 || token.at[token.length - 1] != ':')
		return complain(parse, "slot number and ':' in column 1", &token);
	token = next_token(line);
	if (!parse_endpoint(parse, &token, &parse->row.local))
		return complain(parse, "local ADDRESS:PORT in column 2", &token);
	token = next_token(line);
	if (!parse_endpoint(parse, &token, &parse->row.remote))
		return complain(parse, "remote ADDRESS:PORT in column 3", &token);
	token = next_token(line);
	if (token.length > 2 || !parse_hex(token.at, token.length, &value) || value == 0 ||
	    value > 15)
		return complain(parse, "state 01 to 0F in column 4", &token);
	parse->row.state = (uint8_t)value;
	token = next_token(line);
	if (!is_hex_pair(&token))
		return complain(parse, "tx_queue:rx_queue in column 5", &token);
	token = next_token(line);
	if (!is_hex_pair(&token))
		return complain(parse, "tr:tm->when in column 6", &token);
	token = next_token(line);
	if (!parse_hex(token.at, token.length, &value))
		return complain(parse, "retrnsmt in column 7", &token);
	token = next_token(line);
	if (!parse_uid(&token, &parse->row.uid))
		return complain(parse, "uid in column 8", &token);
	token = next_token(line);
	if (!is_integer(token))
		return complain(parse, "timeout in column 9", &token);
	token = next_token(line);
	if (!parse_decimal(&token, UINT32_MAX, &value))
		return complain(parse, "inode in column 10", &token);
	if (token.cut)
		return complain(parse, "a newline or more columns after the inode", &token);
	parse->row.inode = (uint32_t)value;
	*result = append(parse->out, &parse->row);
	return true;
}

/* ------------------------------------------------------- packet lines -- */

static bool parse_packet(struct parse *parse, struct line *line, int *result)
{
	struct token token = next_token(line); /* sk: a pointer in one of many disguises */
	uint64_t value;

	token = next_token(line);
	if (!is_integer(token))
		return complain(parse, "RefCnt in column 2", &token);
	token = next_token(line);
	if (!is_integer(token))
		return complain(parse, "Type in column 3", &token);
	token = next_token(line);
	if (token.length > 4 || !parse_hex(token.at, token.length, &value))
		return complain(parse, "Proto (hexadecimal) in column 4", &token);
	parse->row.local.port = (uint16_t)value;
	token = next_token(line);
	/* -1: its interface has gone (packet_notifier). */
	if (token_is(&token, "-1"))
		value = 0;
	else if (!parse_decimal(&token, UINT32_MAX, &value))
		return complain(parse, "Iface in column 5", &token);
	parse->row.ifindex = (uint32_t)value;
	token = next_token(line);
	if (!is_integer(token))
		return complain(parse, "R in column 6", &token);
	token = next_token(line);
	if (!is_integer(token))
		return complain(parse, "Rmem in column 7", &token);
	token = next_token(line);
	if (!parse_uid(&token, &parse->row.uid))
		return complain(parse, "User in column 8", &token);
	token = next_token(line);
	if (!parse_decimal(&token, UINT32_MAX, &value))
		return complain(parse, "Inode in column 9", &token);
	if (token.cut)
		return complain(parse, "a newline after the inode", &token);
	parse->row.inode = (uint32_t)value;
	*result = append(parse->out, &parse->row);
	return true;
}

/* --------------------------------------------------------- sctp lines -- */

static bool parse_sctp_address(const struct token *token, struct endpoint_address *out)
{
	char text[LONGEST_ADDRESS];
	size_t skip = token->length > 0 && token->at[0] == '*';
	size_t length = token->length - skip;

	if (length == 0 || length >= sizeof(text) || memchr(token->at, '\0', token->length))
		return false;
	memcpy(text, token->at + skip, length);
	text[length] = '\0';
	return endpoint_parse(text, out) == 0;
}

static bool parse_sctp_port(struct line *line, struct token *token, uint16_t *out)
{
	uint64_t value;

	*token = next_token(line);
	if (!parse_decimal(token, UINT16_MAX, &value))
		return false;
	*out = (uint16_t)value;
	return true;
}

static bool parse_sctp_owner(struct parse *parse, struct line *line, struct token *token)
{
	uint64_t value;

	*token = next_token(line);
	if (!parse_uid(token, &parse->row.uid))
		return complain(parse, "UID", token);
	*token = next_token(line);
	if (!parse_decimal(token, UINT32_MAX, &value))
		return complain(parse, "INODE", token);
	parse->row.inode = (uint32_t)value;
	return true;
}

/* An endpoint that has no address at the moment still is a socket: it stands
 * with the wildcard. */
static bool parse_eps(struct parse *parse, struct line *line, int *result)
{
	struct token token = {0};
	size_t before = parse->out->count;
	uint64_t value;

	for (unsigned i = 0; i < 4; i++)
		token = next_token(line);
	if (!parse_decimal(&token, 15, &value))
		return complain(parse, "SST in column 4", &token);
	parse->row.state = (uint8_t)value;
	token = next_token(line);
	if (!is_integer(token))
		return complain(parse, "HBKT in column 5", &token);
	if (!parse_sctp_port(line, &token, &parse->row.local.port))
		return complain(parse, "LPORT in column 6", &token);
	if (!parse_sctp_owner(parse, line, &token))
		return false;
	token = next_token(line);
	if (!token.length && token.cut)
		return complain(parse, "a newline or LADDRS after the inode", &token);
	do {
		if (token_is(&token, "*"))
			token = next_token(line);
		if (token.length &&
		    (token.cut || !parse_sctp_address(&token, &parse->row.local.address))) {
			parse->out->count = before;
			return complain(parse, "whole addresses in LADDRS", &token);
		}
		*result = append(parse->out, &parse->row);
		token = next_token(line);
	} while (token.length && !*result);
	return true;
}

/* enum sctp_state of include/net/sctp/constants.h, in the terms of TCP. */
static uint8_t assoc_state(uint64_t st)
{
	static const uint8_t states[] = {
		SNAP_CLOSE,	  /* CLOSED */
		SNAP_SYN_SENT,	  /* COOKIE_WAIT */
		SNAP_SYN_SENT,	  /* COOKIE_ECHOED */
		SNAP_ESTABLISHED, /* ESTABLISHED */
		SNAP_FIN_WAIT1,	  /* SHUTDOWN_PENDING */
		SNAP_FIN_WAIT2,	  /* SHUTDOWN_SENT */
		SNAP_CLOSE_WAIT,  /* SHUTDOWN_RECEIVED */
		SNAP_LAST_ACK,	  /* SHUTDOWN_ACK_SENT */
	};

	return st < sizeof(states) ? states[st] : SNAP_UNKNOWN_STATE;
}

/* One row for the remote address with each local one between locals.at and
 * its "<->"; those have been parsed once already. */
static int append_pairs(struct parse *parse, struct line locals,
			const struct endpoint_address *remote)
{
	struct token token = next_token(&locals);
	int result;

	parse->row.remote.address = *remote;
	memset(&parse->row.local.address, 0, sizeof(parse->row.local.address));
	do {
		if (token_is(&token, "*"))
			token = next_token(&locals);
		if (token.length)
			parse_sctp_address(&token, &parse->row.local.address);
		result = append(parse->out, &parse->row);
		token = next_token(&locals);
	} while (token.length && !result);
	return result;
}

static bool is_address_shaped(const struct token *token)
{
	return memchr(token->at, '.', token->length) || memchr(token->at, ':', token->length);
}

static bool parse_assoc_addresses(struct parse *parse, struct line *line, int *result)
{
	struct line locals = *line;
	struct endpoint_address address;
	struct token token;
	size_t before = parse->out->count;

	for (token = next_token(line); !token_is(&token, "<->"); token = next_token(line)) {
		if (!token_is(&token, "*") && !parse_sctp_address(&token, &address))
			return complain(parse, "an address or '<->' in LADDRS", &token);
	}
	locals.end = token.at;
	for (token = next_token(line); token.length; token = next_token(line)) {
		if (token_is(&token, "*"))
			continue;
		if (!is_address_shaped(&token))
			break;
		if (!parse_sctp_address(&token, &address) || token.cut) {
			parse->out->count = before;
			return complain(parse, "whole addresses in RADDRS", &token);
		}
		*result = append_pairs(parse, locals, &address);
		if (*result)
			return true;
		if (parse->out->count - before > MAX_PAIRS) {
			parse->out->count = before;
			return complain(parse, "at most 65536 pairs of addresses", &token);
		}
	}
	if (parse->out->count == before)
		return complain(parse, "an address in RADDRS", &token);
	return true;
}

static bool parse_assocs(struct parse *parse, struct line *line, int *result)
{
	struct token token = {0};
	uint64_t value;

	for (unsigned i = 0; i < 5; i++)
		token = next_token(line);
	if (!parse_decimal(&token, UINT8_MAX, &value))
		return complain(parse, "ST in column 5", &token);
	parse->row.state = assoc_state(value);
	for (unsigned column = 6; column <= 9; column++) {
		token = next_token(line);
		if (!is_integer(token))
			return complain(parse, "HBKT ASSOC-ID TX_QUEUE RX_QUEUE in columns 6 to 9",
					&token);
	}
	if (!parse_sctp_owner(parse, line, &token))
		return false;
	if (!parse_sctp_port(line, &token, &parse->row.local.port))
		return complain(parse, "LPORT in column 12", &token);
	if (!parse_sctp_port(line, &token, &parse->row.remote.port))
		return complain(parse, "RPORT in column 13", &token);
	return parse_assoc_addresses(parse, line, result);
}

/* -------------------------------------------------------------- lines -- */

static bool is_skipped(struct line line)
{
	struct token first = next_token(&line);

	return first.length == 0 || token_is(&first, "sl") || token_is(&first, "sk") ||
	       token_is(&first, "ENDPT") || token_is(&first, "ASSOC");
}

static bool parse_line(struct parse *parse, struct line *line, int *result)
{
	uint64_t netns = parse->row.netns;

	memset(&parse->row, 0, sizeof(parse->row));
	parse->row.netns = netns;
	parse->row.table = parse->table;
	switch (parse->table) {
	case SNAP_PACKET:
		return parse_packet(parse, line, result);
	case SNAP_SCTP_EPS:
		return parse_eps(parse, line, result);
	case SNAP_SCTP_ASSOCS:
		return parse_assocs(parse, line, result);
	default:
		return parse_inet(parse, line, result);
	}
}

/* A message shows at most this much of a column. */
#define SHOWN_BYTES 48

static void report(const struct parse *parse, const char *path, const char *text,
		   const char *line_at, uint64_t line_number, struct error *error)
{
	const struct token *found = &parse->complaint.found;
	int shown = (int)(found->length < SHOWN_BYTES ? found->length : SHOWN_BYTES);

	if (found->length == 0)
		error_damage(error, path, line_at - text, parse->complaint.wanted,
			     "the end of line %" PRIu64, line_number);
	else
		error_damage(error, path, line_at - text, parse->complaint.wanted,
			     "'%.*s' in line %" PRIu64, shown, found->at, line_number);
}

int procnet_text_parse(enum snap_table table, bool big_endian, uint64_t netns, const char *path,
		       const char *text, size_t length, struct procnet_rows *rows,
		       uint64_t *bad_rows, struct error *first_bad)
{
	struct parse parse = {.table = table, .big_endian = big_endian, .out = rows};
	const char *at = text, *end = text + length;
	uint64_t line_number = 0;
	int result = 0;

	parse.row.netns = netns;
	while (at < end && !result) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		struct line line = {at, newline ? newline : end, end};

		line_number++;
		if (!is_skipped(line) && !parse_line(&parse, &line, &result)) {
			if ((*bad_rows)++ == 0)
				report(&parse, path, text, at, line_number, first_bad);
		}
		at = newline ? newline + 1 : end;
	}
	return result;
}

/* --------------------------------------------------------------- order -- */

int procnet_socket_compare(const struct snap_socket *a, const struct snap_socket *b)
{
	int order;

	if (a->netns != b->netns)
		return a->netns < b->netns ? -1 : 1;
	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	order = memcmp(a->local.address.bytes, b->local.address.bytes, 16);
	if (order)
		return order;
	if (a->local.port != b->local.port)
		return a->local.port < b->local.port ? -1 : 1;
	order = memcmp(a->remote.address.bytes, b->remote.address.bytes, 16);
	if (order)
		return order;
	if (a->remote.port != b->remote.port)
		return a->remote.port < b->remote.port ? -1 : 1;
	return (a->inode > b->inode) - (a->inode < b->inode);
}

/* Total over what a row holds, so that the one that stays does not depend on
 * the order of reading. */
static int compare_rows(const void *left, const void *right)
{
	const struct snap_socket *a = left, *b = right;
	int order = procnet_socket_compare(a, b);

	if (order)
		return order;
	if (a->state != b->state)
		return a->state < b->state ? -1 : 1;
	if (a->uid != b->uid)
		return a->uid < b->uid ? -1 : 1;
	return (a->ifindex > b->ifindex) - (a->ifindex < b->ifindex);
}

void procnet_rows_sort(struct procnet_rows *rows, size_t from)
{
	size_t kept = from;

	if (rows->count - from < 2)
		return;
	qsort(rows->rows + from, rows->count - from, sizeof(*rows->rows), compare_rows);
	for (size_t i = from; i < rows->count; i++) {
		if (kept > from &&
		    procnet_socket_compare(&rows->rows[kept - 1], &rows->rows[i]) == 0)
			kept--;
		if (kept != i)
			rows->rows[kept] = rows->rows[i];
		kept++;
	}
	rows->count = kept;
}
