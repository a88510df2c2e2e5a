#include "analyze/query_print.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "snapshot/format/escape.h"
#include "snapshot/format/quantity.h"

/* A table's columns are as wide as their widest cell, so rows are held back
 * until this much is there; what comes later may widen a column. */
#define BLOCK_ROWS  1000
#define BLOCK_BYTES (8u << 20)
#define COLUMN_GAP  2

struct cell {
	char *text; /* printable */
	size_t length, capacity;
	size_t width; /* in columns of a terminal */
};

struct query_printer {
	sqlite3_stmt *statement;
	const struct query_output *output;
	int columns;
	bool began; /* header printed, or first row of JSON */
	/* table only */
	bool *human;
	size_t *widths;
	bool *has_number, *has_text; /* of each column, so far */
	bool *numeric;		     /* has numbers and no text: set to the right */
	struct cell *cells;	     /* row by row; row 0 is the header */
	size_t rows, bytes;
	locale_t locale;
};

/* --------------------------------------------------------- characters -- */

static size_t character_width(uint32_t c)
{
	int width = c < 0x7f ? 1 : wcwidth((wchar_t)c);

	return width < 0 ? 1 : (size_t)width;
}

static int reserve(struct cell *cell, size_t more)
{
	size_t wanted = cell->length + more;

	if (wanted <= cell->capacity)
		return 0;
	wanted = wanted < 32 ? 32 : wanted + wanted / 2;
	char *text = realloc(cell->text, wanted);
	if (!text)
		return ERROR_MEMORY;
	cell->text = text;
	cell->capacity = wanted;
	return 0;
}

static int append(struct cell *cell, const void *bytes, size_t length, size_t width)
{
	if (reserve(cell, length) != 0)
		return ERROR_MEMORY;
	memcpy(cell->text + cell->length, bytes, length);
	cell->length += length;
	cell->width += width;
	return 0;
}

/* Text that can steer no terminal. keep_lines lets line ends through (CSV). */
static int append_visible(struct cell *cell, const void *text, size_t length, bool keep_lines)
{
	const uint8_t *at = text, *end = at + length;
	char shown[ESCAPE_SHOWN_SIZE];
	int code = 0;

	while (at < end && code == 0) {
		size_t shown_length;
		size_t size = escape_show(at, (size_t)(end - at), shown, &shown_length);

		if (keep_lines && (*at == '\n' || *at == '\r'))
			code = append(cell, at, 1, 1);
		else if (*at == '\n' || *at == '\t' || *at == '\r')
			code = append(cell,
				      *at == '\n'   ? "\\n"
				      : *at == '\t' ? "\\t"
						    : "\\r",
				      2, 2);
		else
			code = append(cell, shown, shown_length,
				      shown_length > size
					      ? shown_length
					      : character_width(escape_code_point(at, size)));
		at += size;
	}
	return code;
}

static int append_hex(struct cell *cell, const uint8_t *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";

	if (length == 0)
		return 0;
	if (reserve(cell, length * 2) != 0 || !cell->text)
		return ERROR_MEMORY;
	for (size_t i = 0; i < length; i++) {
		cell->text[cell->length++] = digits[bytes[i] >> 4];
		cell->text[cell->length++] = digits[bytes[i] & 15];
	}
	cell->width += length * 2;
	return 0;
}

/* -------------------------------------------------------------- table -- */

static void put_spaces(FILE *stream, size_t count)
{
	fprintf(stream, "%*s", (int)count, "");
}

/* As much of <text, length> as fits into width columns. */
static void put_cut(FILE *stream, const char *text, size_t length, size_t width)
{
	const uint8_t *start = (const uint8_t *)text, *at = start, *end = at + length;

	while (at < end) {
		size_t size = escape_utf8_length(at, (size_t)(end - at));
		size_t wide = character_width(escape_code_point(at, size));
		if (wide > width)
			break;
		width -= wide;
		at += size;
	}
	fwrite(start, 1, (size_t)(at - start), stream);
}

static void put_row(struct query_printer *printer, const struct cell *cells)
{
	FILE *stream = printer->output->stream;
	size_t left = SIZE_MAX, total = 0;

	for (int i = 0; i < printer->columns; i++) {
		bool last = i + 1 == printer->columns;
		size_t padded = last && !printer->numeric[i] ? cells[i].width : printer->widths[i];
		total += padded + (last ? 0 : COLUMN_GAP);
	}
	bool cut = printer->output->terminal && printer->output->width > 1 &&
		   total > printer->output->width;
	if (cut)
		left = printer->output->width - 1;
	for (int i = 0; i < printer->columns && left > 0; i++) {
		const struct cell *cell = &cells[i];
		bool last = i + 1 == printer->columns;
		size_t padding = printer->widths[i] - cell->width;
		size_t before = printer->numeric[i] ? padding : 0;
		size_t after = last ? 0 : padding - before + COLUMN_GAP;

		before = before < left ? before : left;
		put_spaces(stream, before);
		left -= before;
		if (cell->width <= left) {
			if (cell->length > 0)
				fwrite(cell->text, 1, cell->length, stream);
			left -= cell->width;
		} else {
			put_cut(stream, cell->text, cell->length, left);
			left = 0;
		}
		after = after < left ? after : left;
		put_spaces(stream, after);
		left -= after;
	}
	fputs(cut ? "…\n" : "\n", stream);
}

static void put_block(struct query_printer *printer)
{
	size_t columns = (size_t)printer->columns;

	for (size_t row = 0; row <= printer->rows; row++) {
		for (size_t i = 0; i < columns; i++) {
			const struct cell *cell = &printer->cells[row * columns + i];
			if (cell->width > printer->widths[i])
				printer->widths[i] = cell->width;
		}
	}
	for (size_t i = 0; i < columns; i++)
		printer->numeric[i] = printer->has_number[i] && !printer->has_text[i];
	for (size_t row = printer->began ? 1 : 0; row <= printer->rows; row++)
		put_row(printer, printer->cells + row * columns);
	printer->began = true;
	printer->rows = printer->bytes = 0;
}

static int render(struct query_printer *printer, int column, struct cell *cell)
{
	sqlite3_stmt *statement = printer->statement;
	int type = sqlite3_column_type(statement, column);
	int64_t number = sqlite3_column_int64(statement, column);
	char text[64];

	cell->length = cell->width = 0;
	if (type == SQLITE_NULL)
		return append(cell, "-", 1, 1);
	if (type == SQLITE_INTEGER || type == SQLITE_FLOAT)
		printer->has_number[column] = true;
	else
		printer->has_text[column] = true;
	if (type == SQLITE_INTEGER && printer->human[column] && number >= 0) {
		quantity_format_bytes((uint64_t)number, text, sizeof text);
		return append(cell, text, strlen(text), strlen(text));
	}
	if (type == SQLITE_BLOB) {
		const uint8_t *blob = sqlite3_column_blob(statement, column);
		return append_hex(cell, blob, (size_t)sqlite3_column_bytes(statement, column));
	}
	const unsigned char *value = sqlite3_column_text(statement, column);
	if (!value)
		return ERROR_MEMORY;
	return append_visible(cell, value, (size_t)sqlite3_column_bytes(statement, column), false);
}

static int table_row(struct query_printer *printer)
{
	struct cell *row = printer->cells + (printer->rows + 1) * (size_t)printer->columns;

	for (int i = 0; i < printer->columns; i++) {
		if (render(printer, i, &row[i]) != 0)
			return ERROR_MEMORY;
		printer->bytes += row[i].length;
	}
	printer->rows++;
	if (printer->rows == BLOCK_ROWS || printer->bytes > BLOCK_BYTES)
		put_block(printer);
	return 0;
}

static bool is_listed(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

static int table_begin(struct query_printer *printer)
{
	size_t columns = (size_t)printer->columns;

	printer->human = calloc(columns, sizeof *printer->human);
	printer->widths = calloc(columns, sizeof *printer->widths);
	printer->numeric = calloc(columns, sizeof *printer->numeric);
	printer->has_number = calloc(columns, sizeof *printer->has_number);
	printer->has_text = calloc(columns, sizeof *printer->has_text);
	printer->cells = calloc((BLOCK_ROWS + 1) * columns, sizeof *printer->cells);
	if (!printer->human || !printer->widths || !printer->numeric || !printer->has_number ||
	    !printer->has_text || !printer->cells)
		return ERROR_MEMORY;
	for (int i = 0; i < printer->columns; i++) {
		const char *name = sqlite3_column_name(printer->statement, i);
		if (!name || append_visible(&printer->cells[i], name, strlen(name), false) != 0)
			return ERROR_MEMORY;
		printer->human[i] = is_listed(printer->output->human, name);
	}
	return 0;
}

/* ------------------------------------------------------- csv and json -- */

static int csv_text(struct query_printer *printer, const char *text, size_t length, bool quote)
{
	FILE *stream = printer->output->stream;
	struct cell visible = {0};

	/* To a file the bytes as they are: it is evidence. To a terminal, harmless. */
	if (printer->output->terminal) {
		if (append_visible(&visible, text, length, true) != 0) {
			free(visible.text);
			return ERROR_MEMORY;
		}
		text = visible.text ? visible.text : "";
		length = visible.length;
	}
	for (size_t i = 0; i < length && !quote; i++)
		quote = strchr(",\"\r\n", text[i]) != NULL;
	if (quote)
		putc('"', stream);
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"')
			putc('"', stream);
		putc(text[i], stream);
	}
	if (quote)
		putc('"', stream);
	free(visible.text);
	return 0;
}

static int csv_begin(struct query_printer *printer)
{
	for (int i = 0; i < printer->columns; i++) {
		const char *name = sqlite3_column_name(printer->statement, i);

		if (i > 0)
			putc(',', printer->output->stream);
		if (!name || csv_text(printer, name, strlen(name), false) != 0)
			return ERROR_MEMORY;
	}
	fputs("\r\n", printer->output->stream);
	return 0;
}

static int csv_row(struct query_printer *printer)
{
	struct cell hex = {0};
	int code = 0;

	for (int i = 0; i < printer->columns && code == 0; i++) {
		int type = sqlite3_column_type(printer->statement, i);
		const char *text =
			type == SQLITE_BLOB
				? sqlite3_column_blob(printer->statement, i)
				: (const char *)sqlite3_column_text(printer->statement, i);
		size_t length = (size_t)sqlite3_column_bytes(printer->statement, i);

		if (i > 0)
			putc(',', printer->output->stream);
		if (type == SQLITE_NULL)
			continue;
		if (type == SQLITE_BLOB) {
			hex.length = 0;
			code = append_hex(&hex, (const uint8_t *)text, length);
			text = hex.text ? hex.text : "";
			length = hex.length;
		}
		if (code == 0 && length > 0 && !text)
			code = ERROR_MEMORY;
		if (code == 0)
			code = csv_text(printer, text, length, length == 0);
	}
	fputs("\r\n", printer->output->stream);
	free(hex.text);
	return code;
}

void query_json_text(FILE *stream, const char *text, size_t length)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + length;

	putc('"', stream);
	while (at < end) {
		size_t size = escape_utf8_length(at, (size_t)(end - at));
		uint32_t c = size ? escape_code_point(at, size) : 0xfffd;

		if (size == 0) {
			fputs("\xef\xbf\xbd", stream);
			size = 1;
		} else if (c == '"' || c == '\\') {
			fprintf(stream, "\\%c", (int)c);
		} else if (escape_is_unsafe(c)) {
			fprintf(stream, "\\u%04" PRIx32, c);
		} else {
			fwrite(at, 1, size, stream);
		}
		at += size;
	}
	putc('"', stream);
}

static int json_value(struct query_printer *printer, int column)
{
	FILE *stream = printer->output->stream;
	int type = sqlite3_column_type(printer->statement, column);
	struct cell hex = {0};
	int code = 0;

	if (type == SQLITE_FLOAT && !isfinite(sqlite3_column_double(printer->statement, column)))
		type = SQLITE_NULL; /* JSON has no infinity */
	if (type == SQLITE_NULL) {
		fputs("null", stream);
	} else if (type == SQLITE_BLOB) {
		const uint8_t *blob = sqlite3_column_blob(printer->statement, column);
		size_t length = (size_t)sqlite3_column_bytes(printer->statement, column);
		code = append_hex(&hex, blob, length);
		query_json_text(stream, hex.text ? hex.text : "", hex.length);
		free(hex.text);
	} else {
		const char *text = (const char *)sqlite3_column_text(printer->statement, column);
		if (!text)
			code = ERROR_MEMORY;
		else if (type == SQLITE_TEXT)
			query_json_text(stream, text,
					(size_t)sqlite3_column_bytes(printer->statement, column));
		else
			fputs(text, stream);
	}
	return code;
}

static int json_row(struct query_printer *printer)
{
	FILE *stream = printer->output->stream;
	int code = 0;

	fputs(printer->began ? ",\n{" : "[\n{", stream);
	printer->began = true;
	for (int i = 0; i < printer->columns && code == 0; i++) {
		const char *name = sqlite3_column_name(printer->statement, i);

		if (!name)
			return ERROR_MEMORY;
		if (i > 0)
			putc(',', stream);
		query_json_text(stream, name, strlen(name));
		putc(':', stream);
		code = json_value(printer, i);
	}
	putc('}', stream);
	return code;
}

/* -------------------------------------------------------------- outside -- */

struct query_printer *query_printer_new(struct sqlite3_stmt *statement,
					const struct query_output *output)
{
	struct query_printer *printer = calloc(1, sizeof *printer);
	int code = 0;

	if (!printer)
		return NULL;
	printer->statement = statement;
	printer->output = output;
	printer->columns = sqlite3_column_count(statement);
	/* Widths are those of UTF-8 whatever the user's locale. */
	printer->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (output->format == QUERY_TABLE)
		code = table_begin(printer);
	else if (output->format == QUERY_CSV)
		code = csv_begin(printer);
	if (code != 0) {
		query_printer_free(printer);
		return NULL;
	}
	return printer;
}

static int row_or_block(struct query_printer *printer, bool is_end)
{
	locale_t before = printer->locale ? uselocale(printer->locale) : (locale_t)0;
	int code = 0;

	if (is_end)
		put_block(printer);
	else
		code = table_row(printer);
	if (printer->locale)
		uselocale(before);
	return code;
}

int query_printer_row(struct query_printer *printer)
{
	switch (printer->output->format) {
	case QUERY_CSV:
		return csv_row(printer);
	case QUERY_JSON:
		return json_row(printer);
	default:
		return row_or_block(printer, false);
	}
}

int query_printer_end(struct query_printer *printer)
{
	if (printer->output->format == QUERY_TABLE)
		return row_or_block(printer, true);
	if (printer->output->format == QUERY_JSON)
		fputs(printer->began ? "\n]\n" : "[]\n", printer->output->stream);
	return 0;
}

void query_printer_free(struct query_printer *printer)
{
	if (!printer)
		return;
	if (printer->cells)
		for (size_t i = 0; i < (BLOCK_ROWS + 1) * (size_t)printer->columns; i++)
			free(printer->cells[i].text);
	free(printer->cells);
	free(printer->human);
	free(printer->widths);
	free(printer->numeric);
	free(printer->has_number);
	free(printer->has_text);
	if (printer->locale)
		freelocale(printer->locale);
	free(printer);
}
