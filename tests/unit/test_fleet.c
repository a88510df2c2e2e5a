/* What databases have in common when they are merged: which tables are renumbered, what
 * becomes of ids, and which parts of which database count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/fleet_plan.h"
#include "analyze/idruns.h"
#include "analyze/store_fleet.h"
#include "tests/unit/rows.h"

/* ------------------------------------------------------------- the schema -- */

/* Calls each for the lines of what a query of a fresh database gives. */
static void each_line(const char *sql, void (*each)(const char *line))
{
	char *text = rows_ask(rows_target, sql), *next;

	for (char *line = text; line != NULL && *line != '\0'; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		each(line);
	}
}

#define TABLES "(SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*')"

static bool has_reference(const char *table, const char *column)
{
	for (const struct store_reference *r = store_references; r->table != NULL; r++)
		if (strcmp(r->table, table) == 0 &&
		    (column == NULL || strcmp(r->column, column) == 0))
			return true;
	return false;
}

/* Of these a merged database has its own rows: they are of the schema itself, or added up from
 * others. */
static bool is_not_taken(const char *table)
{
	static const char *const not_taken[] = {
		"setting", "column_help",    "rule",	       "reason",  "carry",
		"period",  "process_bucket", "process_period", "verdict", "kernel_end",
	};

	for (size_t i = 0; i < sizeof(not_taken) / sizeof(*not_taken); i++) {
		if (strcmp(not_taken[i], table) == 0)
			return true;
	}
	return false;
}

static void table_is_taken_or_not(const char *table)
{
	if (has_reference(table, NULL))
		assert_false(is_not_taken(table));
	else if (!is_not_taken(table))
		fail_msg("table %s: neither in store_references nor in not_taken", table);
}

static void every_table_is_taken_or_is_not(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	each_line("SELECT group_concat(name, char(10)) FROM " TABLES, table_is_taken_or_not);
}

/* "table column target" */
static void key_is_renumbered(const char *line)
{
	char table[64], column[64], target[64];

	assert_int_equal(sscanf(line, "%63s %63s %63s", table, column, target), 3);
	for (const struct store_reference *r = store_references; r->table != NULL; r++)
		if (strcmp(r->table, table) == 0 && strcmp(r->column, column) == 0 &&
		    strcmp(store_numbered_tables[r->to], target) == 0)
			return;
	for (const struct store_verdict_column *v = store_verdict_columns; v->table != NULL; v++)
		if (strcmp(v->table, table) == 0 && strcmp(v->column, column) == 0 &&
		    strcmp(v->verdicts, target) == 0)
			return;
	fail_msg("%s.%s refers to %s, and merge does not know", table, column, target);
}

static void every_foreign_key_is_renumbered(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	each_line(
		"SELECT group_concat(t.name || ' ' || f.\"from\" || ' ' || f.\"table\", char(10)) "
		"FROM " TABLES " t, pragma_foreign_key_list(t.name) f",
		key_is_renumbered);
}

static void column_is_renumbered(const char *line)
{
	char table[64], column[64];

	assert_int_equal(sscanf(line, "%63s %63s", table, column), 2);
	if (!is_not_taken(table) && !has_reference(table, column))
		fail_msg("%s.%s has a row's number, by its name, and merge does not know", table,
			 column);
}

static void every_column_named_after_a_table_is_renumbered(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	each_line("SELECT group_concat(t.name || ' ' || c.name, char(10)) FROM " TABLES " t, "
		  "pragma_table_info(t.name) c WHERE EXISTS (SELECT 1 FROM " TABLES " o "
		  "WHERE c.name = o.name || '_id' OR c.name GLOB '*[_]' || o.name || '_id')",
		  column_is_renumbered);
}

static void every_reference_is_in_the_schema_and_comes_after_its_target(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	for (const struct store_reference *r = store_references; r->table != NULL; r++) {
		int own = 0;
		char sql[256];

		while (own < STORE_NUMBERED && strcmp(store_numbered_tables[own], r->table) != 0)
			own++;
		if (r->kind == STORE_OWNER && own < STORE_NUMBERED)
			assert_true((int)r->to < own);
		if (r->kind == STORE_OWN_NUMBER)
			assert_int_equal(own, r->to);
		snprintf(sql, sizeof(sql),
			 "SELECT count(*) FROM pragma_table_info('%s') WHERE name = '%s'", r->table,
			 r->column);
		assert_string_equal(rows_ask(rows_target, sql), "1");
	}
}

/* That is how it reads them (store_taker_from), and takes them column by column. */
static void a_table_has_numbers_or_is_an_index_and_begins_with_its_unit(void **state)
{
	(void)state;
	rows_make_small(rows_target);
	for (const struct store_reference *r = store_references; r->table != NULL; r++) {
		char sql[128];

		snprintf(sql, sizeof(sql),
			 "SELECT name FROM pragma_table_info('%s') ORDER BY cid LIMIT 1", r->table);
		assert_string_equal(rows_ask(rows_target, sql),
				    store_reference_of_unit(r->table)->column);
		snprintf(sql, sizeof(sql), "SELECT wr FROM pragma_table_list WHERE name = '%s'",
			 r->table);
		assert_string_equal(
			rows_ask(rows_target, sql),
			store_reference_by_kind(r->table, STORE_OWN_NUMBER) != NULL ? "0" : "1");
	}
}

/* -------------------------------------------------------------------- ids -- */

static void ids_that_follow_each_other_are_one_run(void **state)
{
	(void)state;
	struct idruns ids = {0};
	size_t hint = 0;

	for (int64_t id = 5; id < 1000; id++)
		assert_int_equal(idruns_add(&ids, id, 0, id - 5), IDRUNS_ADDED);
	assert_int_equal(ids.count, 1);
	assert_int_equal(idruns_add(&ids, 2000, 0, 995), IDRUNS_ADDED);
	/* Of another unit, though number and rank go on. */
	assert_int_equal(idruns_add(&ids, 2001, 1, 996), IDRUNS_ADDED);
	assert_int_equal(idruns_add(&ids, INT64_MAX, 1, 997), IDRUNS_ADDED);
	assert_int_equal(ids.count, 4);
	assert_null(idruns_find(&ids, 4, &hint));
	assert_null(idruns_find(&ids, 1000, &hint));
	assert_null(idruns_find(&ids, INT64_MIN, &hint));
	assert_int_equal(idruns_find(&ids, 999, &hint)->rank, 0);
	assert_int_equal(idruns_find(&ids, 2000, &hint)->rank, 995);
	assert_int_equal(idruns_find(&ids, INT64_MAX, &hint)->rank, 997);
	assert_int_equal(idruns_find(&ids, 2001, &hint)->unit, 1);
	idruns_release(&ids);
}

static void ids_out_of_order_are_refused(void **state)
{
	(void)state;
	struct idruns ids = {0};

	assert_int_equal(idruns_add(&ids, 0, 0, 0), IDRUNS_NO_ORDER);
	assert_int_equal(idruns_add(&ids, -1, 0, 0), IDRUNS_NO_ORDER);
	assert_int_equal(idruns_add(&ids, 3, 0, 0), IDRUNS_ADDED);
	assert_int_equal(idruns_add(&ids, 3, 0, 1), IDRUNS_NO_ORDER);
	assert_int_equal(idruns_add(&ids, 2, 0, 1), IDRUNS_NO_ORDER);
	idruns_release(&ids);
}

/* --------------------------------------------------------------- the plan -- */

static char names[][16] = {"one.db", "two.db", "three.db"};
static char *const paths[] = {names[0], names[1], names[2]};

/* A database of segments "1" to "9" of one recording, each by its digit. */
static size_t add(struct fleet_plan *plan, size_t source, const char *recording, const char *digits)
{
	size_t unit = fleet_plan_unit(plan, source, 1, recording, recording);

	for (const char *at = digits; *at != '\0'; at++) {
		char name[64], hash[16];
		const struct fleet_plan_facts facts = {.recording = recording,
						       .has_packets = true,
						       .pcap_name = name,
						       .pcap_sha256 = hash,
						       .content_sha256 = hash,
						       .snap_sha256 = hash};

		snprintf(name, sizeof(name), "00000%c-20261121T203000.123456789Z.pcap", *at);
		snprintf(hash, sizeof(hash), "%c-%s", *at, recording);
		assert_int_equal(fleet_plan_segment(plan, unit, &facts, &rows_error), 0);
	}
	return unit;
}

static void the_part_that_has_all_of_another_counts(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	size_t less = add(&plan, 0, "a", "12"), more = add(&plan, 1, "a", "321");
	size_t other = add(&plan, 2, "b", "12");

	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_false(plan.units[less].wanted);
	assert_int_equal(plan.units[less].twin, FLEET_NONE);
	assert_true(plan.units[more].wanted);
	assert_int_equal(plan.wanted_count, 2);
	assert_int_equal(plan.order[0], more);
	assert_int_equal(plan.order[1], other);
	fleet_plan_release(&plan);
}

static void of_two_with_the_same_segments_one_counts(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	size_t first = add(&plan, 0, "a", "12"), second = add(&plan, 1, "a", "21");

	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 1);
	assert_true(plan.units[first].wanted);
	assert_int_equal(plan.units[second].twin, first);
	fleet_plan_release(&plan);
}

static void parts_without_a_segment_in_common_both_count(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	size_t late = add(&plan, 0, "a", "34"), early = add(&plan, 1, "a", "12");

	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 2);
	assert_int_equal(plan.order[0], early);
	assert_int_equal(plan.order[1], late);
	fleet_plan_release(&plan);
}

static void parts_that_overlap_are_refused(void **state)
{
	(void)state;
	static const char *const cases[][3] = {
		{"12", "23", ""}, {"123", "34", ""}, {"12", "34", "1234567"}, {"12", "34", "23"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fleet_plan plan = {0};
		struct error error = ERROR_NONE;
		int wanted = i == 2 ? 0 : ERROR_DAMAGED;

		for (size_t source = 0; source < 3; source++)
			if (cases[i][source][0] != '\0')
				add(&plan, source, "a", cases[i][source]);
		assert_int_equal(fleet_plan_make(&plan, paths, &error), wanted);
		if (wanted != 0)
			assert_non_null(strstr(error.message, "each has segments that the other"));
		fleet_plan_release(&plan);
	}
}

static void a_segment_with_other_content_is_refused(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	struct error error = ERROR_NONE;
	size_t unit = add(&plan, 0, "a", "1"), other = fleet_plan_unit(&plan, 1, 1, "a", "a");
	const struct fleet_plan_facts facts = {.recording = "a",
					       .has_packets = true,
					       .pcap_name =
						       "000001-20261121T203000.123456789Z.pcap.gz",
					       .pcap_sha256 = "gz",
					       .content_sha256 = "1-a",
					       .snap_sha256 = "cut"};

	(void)unit;
	OK(fleet_plan_segment(&plan, other, &facts, &rows_error));
	assert_int_equal(fleet_plan_make(&plan, paths, &error), ERROR_DAMAGED);
	assert_non_null(strstr(error.message, "other snapshots"));
	fleet_plan_release(&plan);
}

static void bare_captures_are_the_same_by_their_content(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	struct fleet_plan_facts facts = {.is_bare = true,
					 .has_packets = true,
					 .pcap_name = "x.pcap",
					 .pcap_sha256 = "plain",
					 .content_sha256 = "plain"};
	size_t plain = fleet_plan_unit(&plan, 0, 1, NULL, "pcap-plain");
	size_t packed = fleet_plan_unit(&plan, 1, 1, NULL, "pcap-packed");
	size_t part = fleet_plan_unit(&plan, 1, 2, NULL, "pcap-other");

	OK(fleet_plan_segment(&plan, plain, &facts, &rows_error));
	facts.pcap_name = "y.pcap.gz";
	facts.pcap_sha256 = "packed";
	OK(fleet_plan_segment(&plan, packed, &facts, &rows_error));
	facts.content_sha256 = "other";
	OK(fleet_plan_segment(&plan, part, &facts, &rows_error));
	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 2);
	assert_true(plan.units[packed].wanted); /* by its hash, wherever it stands */
	assert_int_equal(plan.units[plain].twin, packed);
	assert_true(plan.units[part].wanted);
	fleet_plan_release(&plan);
}

static void a_capture_is_the_segment_that_has_its_packets(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	const struct fleet_plan_facts facts = {.is_bare = true,
					       .has_packets = true,
					       .pcap_name = "x.pcap",
					       .pcap_sha256 = "2-a",
					       .content_sha256 = "2-a"};
	size_t bare = fleet_plan_unit(&plan, 0, 1, NULL, "pcap-2-a");
	size_t whole;

	OK(fleet_plan_segment(&plan, bare, &facts, &rows_error));
	whole = add(&plan, 1, "a", "2");
	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 1);
	assert_true(plan.units[whole].wanted);
	assert_int_equal(plan.units[bare].twin, FLEET_NONE);
	fleet_plan_release(&plan);
}

/* A segment without the id of a recording, of packets "p". */
static size_t add_nameless(struct fleet_plan *plan, size_t source, int64_t number, const char *name,
			   const char *snap)
{
	size_t unit = fleet_plan_unit(plan, source, number, NULL, name);
	const struct fleet_plan_facts facts = {.has_packets = true,
					       .pcap_name = name,
					       .pcap_sha256 = name,
					       .content_sha256 = "p",
					       .snap_sha256 = snap};

	OK(fleet_plan_segment(plan, unit, &facts, &rows_error));
	return unit;
}

/* analyze cannot tell before it has read both where they are compressed. */
static void packets_with_other_snapshots_of_no_recording_are_another_segment(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	size_t one = add_nameless(&plan, 0, 1, "000001-20261121T203000.123456789Z.pcap", "s");
	size_t other = add_nameless(&plan, 0, 2, "000002-20261121T203000.123456789Z.pcap.gz", "t");
	size_t again = add_nameless(&plan, 1, 1, "000003-20261121T203000.123456789Z.pcap", "t");
	size_t alone = add_nameless(&plan, 1, 2, "000004-20261121T203000.123456789Z.pcap", NULL);

	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 2);
	assert_true(plan.units[one].wanted);
	assert_int_equal(plan.units[other].wanted + plan.units[again].wanted, 1);
	assert_false(plan.units[alone].wanted);
	fleet_plan_release(&plan);
}

/* Their numbers are in their rows. */
static void captures_of_other_names_count_once_and_are_not_compared(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	const struct fleet_plan_facts bare = {.is_bare = true,
					      .has_packets = true,
					      .pcap_name = "x.pcap",
					      .pcap_sha256 = "x",
					      .content_sha256 = "p"};

	add_nameless(&plan, 0, 1, "000001-20261121T203000.123456789Z.pcap", NULL);
	add_nameless(&plan, 0, 2, "000002-20261121T203000.123456789Z.pcap.gz", NULL);
	OK(fleet_plan_segment(&plan, fleet_plan_unit(&plan, 1, 1, NULL, "x"), &bare, &rows_error));
	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 1);
	for (size_t i = 0; i < plan.unit_count; i++)
		assert_int_equal(plan.units[i].twin, FLEET_NONE);
	fleet_plan_release(&plan);
}

static void a_segment_that_a_database_has_twice_is_refused(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	struct error error = ERROR_NONE;

	add(&plan, 0, "a", "12");
	add(&plan, 1, "a", "122");
	assert_int_equal(fleet_plan_make(&plan, paths, &error), ERROR_DAMAGED);
	assert_string_equal(error.path, "two.db");
	assert_non_null(strstr(error.message, "wanted each segment once"));
	fleet_plan_release(&plan);
}

/* In any order: what a capture alone is alike to need not be alike to what else is. */
static void snapshots_that_differ_are_refused_beside_a_capture_alone(void **state)
{
	static const char *const orders[] = {"012", "021", "102", "120", "201", "210"};
	const struct fleet_plan_facts bare = {.is_bare = true,
					      .has_packets = true,
					      .pcap_name = "x.pcap",
					      .pcap_sha256 = "1-a",
					      .content_sha256 = "1-a"};
	const struct fleet_plan_facts altered = {.recording = "a",
						 .has_packets = true,
						 .pcap_name =
							 "000001-20261121T203000.123456789Z.pcap",
						 .pcap_sha256 = "1-a",
						 .content_sha256 = "1-a",
						 .snap_sha256 = "altered"};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		struct fleet_plan plan = {0};
		struct error error = ERROR_NONE;

		for (size_t source = 0; source < 3; source++) {
			char which = orders[i][source];

			if (which == '0')
				add(&plan, source, "a", "1");
			else
				OK(fleet_plan_segment(
					&plan,
					fleet_plan_unit(&plan, source, 1, "a",
							which == '1' ? "pcap-1-a" : "a"),
					which == '1' ? &bare : &altered, &rows_error));
		}
		assert_int_equal(fleet_plan_make(&plan, paths, &error), ERROR_DAMAGED);
		assert_non_null(strstr(error.message, "other snapshots"));
		fleet_plan_release(&plan);
	}
}

static void the_order_of_parts_hangs_on_nothing_beside_them(void **state)
{
	(void)state;
	struct fleet_plan plan = {0};
	const struct fleet_plan_facts facts = {.is_bare = true,
					       .has_packets = true,
					       .pcap_name = "x.pcap",
					       .pcap_sha256 = "3-a",
					       .content_sha256 = "3-a"};
	size_t late = add(&plan, 0, "a", "34"), early = add(&plan, 1, "a", "12");

	OK(fleet_plan_segment(&plan, fleet_plan_unit(&plan, 2, 1, NULL, "pcap-3-a"), &facts,
			      &rows_error));
	OK(fleet_plan_make(&plan, paths, &rows_error));
	assert_int_equal(plan.wanted_count, 2);
	assert_int_equal(plan.order[0], early);
	assert_int_equal(plan.order[1], late);
	fleet_plan_release(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_table_is_taken_or_is_not, rows_set_up,
						rows_tear_down),
		cmocka_unit_test_setup_teardown(every_foreign_key_is_renumbered, rows_set_up,
						rows_tear_down),
		cmocka_unit_test_setup_teardown(every_column_named_after_a_table_is_renumbered,
						rows_set_up, rows_tear_down),
		cmocka_unit_test_setup_teardown(
			every_reference_is_in_the_schema_and_comes_after_its_target, rows_set_up,
			rows_tear_down),
		cmocka_unit_test_setup_teardown(
			a_table_has_numbers_or_is_an_index_and_begins_with_its_unit, rows_set_up,
			rows_tear_down),
		cmocka_unit_test(ids_that_follow_each_other_are_one_run),
		cmocka_unit_test(ids_out_of_order_are_refused),
		cmocka_unit_test(the_part_that_has_all_of_another_counts),
		cmocka_unit_test(of_two_with_the_same_segments_one_counts),
		cmocka_unit_test(parts_without_a_segment_in_common_both_count),
		cmocka_unit_test(parts_that_overlap_are_refused),
		cmocka_unit_test(a_segment_with_other_content_is_refused),
		cmocka_unit_test(bare_captures_are_the_same_by_their_content),
		cmocka_unit_test(a_capture_is_the_segment_that_has_its_packets),
		cmocka_unit_test(packets_with_other_snapshots_of_no_recording_are_another_segment),
		cmocka_unit_test(captures_of_other_names_count_once_and_are_not_compared),
		cmocka_unit_test(a_segment_that_a_database_has_twice_is_refused),
		cmocka_unit_test(snapshots_that_differ_are_refused_beside_a_capture_alone),
		cmocka_unit_test(the_order_of_parts_hangs_on_nothing_beside_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
