/* world.c - processes, clocks and chance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/model.h"
#include "tests/unit/scene.h"

/* The host had been up for so long. */
#define UP_NS (1000 * SEC)

const char *const model_mode_names[MODEL_MODES] = {"snapshots", "look-ups", "told"};

void *model_grow(void *items, size_t count, size_t *capacity, size_t size)
{
	if (count == *capacity) {
		*capacity = *capacity == 0 ? 16 : 2 * *capacity;
		items = realloc(items, *capacity * size);
		if (items == NULL) {
			perror("model");
			exit(1);
		}
	}
	memset((char *)items + count * size, 0, size);
	return items;
}

uint64_t model_random(struct model_world *world)
{
	uint64_t z = world->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

int64_t model_between(struct model_world *world, int64_t low, int64_t high)
{
	return high <= low ? low
			   : low + (int64_t)(model_random(world) % (uint64_t)(high - low + 1));
}

int64_t model_scaled(struct model_world *world, int64_t low, int64_t high)
{
	int64_t top = low;
	unsigned magnitudes = 0;

	while (top < high) {
		top *= 2;
		magnitudes++;
	}
	low <<= model_between(world, 0, magnitudes > 0 ? magnitudes - 1 : 0);
	return model_between(world, low, 2 * low < high ? 2 * low : high);
}

bool model_chance(struct model_world *world, double probability)
{
	return (double)(model_random(world) >> 11) < probability * 9007199254740992.0;
}

/* --------------------------------------------------------------- clocks -- */

int64_t model_real(const struct model_world *world, int64_t at)
{
	int64_t real = SCENE_ZERO_NS + at;

	for (size_t i = 0; i < world->jumps.count; i++) {
		if (world->jumps.items[i].at <= at)
			real += world->jumps.items[i].step + world->jumps.items[i].suspend;
	}
	return real;
}

int64_t model_monotonic(int64_t at)
{
	return UP_NS + at;
}

int64_t model_boot(const struct model_world *world, int64_t at)
{
	int64_t boot = UP_NS + at;

	for (size_t i = 0; i < world->jumps.count; i++) {
		if (world->jumps.items[i].at <= at)
			boot += world->jumps.items[i].suspend;
	}
	return boot;
}

uint64_t model_ticks(const struct model_world *world, int64_t at)
{
	return (uint64_t)(model_boot(world, at) / MODEL_TICK_NS);
}

/* ------------------------------------------------------------ questions -- */

bool model_lives(const struct model_process *process, int64_t at)
{
	return process->born <= at && at < process->exit;
}

bool model_holds(const struct model_world *world, int process, int socket, int64_t at)
{
	for (size_t i = 0; i < world->holds.count; i++) {
		const struct model_hold *h = &world->holds.items[i];

		if (h->process == process && h->socket == socket && h->from <= at && at < h->until)
			return true;
	}
	return false;
}

bool model_ever_held(const struct model_world *world, int process, int socket)
{
	for (size_t i = 0; i < world->holds.count; i++) {
		if (world->holds.items[i].process == process &&
		    world->holds.items[i].socket == socket)
			return true;
	}
	return false;
}

uint32_t model_program(const struct model_process *process, int64_t at)
{
	uint32_t program = process->image[0].program;

	for (unsigned i = 1; i < process->images && process->image[i].at <= at; i++)
		program = process->image[i].program;
	return program;
}

/* ----------------------------------------------------------------- make -- */

static void make_jumps(struct model_world *world)
{
	int kind = (int)model_between(world, 0, 11);

	if (kind < 3) {
		struct model_jump *jump = MODEL_ADD(&world->jumps);

		jump->at = model_between(world, SEC / 2, world->until - SEC);
		if (kind == 0) {
			jump->suspend = model_scaled(world, 100 * MS, 20 * SEC);
		} else {
			jump->step = model_scaled(world, 20 * MS, 5 * SEC);
			if (kind == 2)
				jump->step = -jump->step;
		}
	}
}

static int compare_born(const void *left, const void *right)
{
	const struct model_process *a = *(struct model_process *const *)left;
	const struct model_process *b = *(struct model_process *const *)right;

	if (a->born != b->born)
		return a->born < b->born ? -1 : 1;
	return a < b ? -1 : a > b;
}

/* Few numbers, so that they come again; but not within two ticks of another
 * start, which nothing on the host could tell apart. */
static void number_processes(struct model_world *world)
{
	enum { FIRST_PID = 300, PIDS = 64 };
	size_t count = world->processes.count;
	struct model_process **order = calloc(count + 1, sizeof(*order));
	struct model_process *last[PIDS] = {NULL};

	for (size_t i = 0; i < count; i++) {
		order[i] = &world->processes.items[i];
		order[i]->start_ticks = model_ticks(world, order[i]->born);
	}
	qsort(order, count, sizeof(struct model_process *), compare_born);
	for (size_t i = 0; i < count; i++) {
		size_t slot = (size_t)model_between(world, 0, PIDS - 1), tried = 0;

		while (tried < PIDS && last[slot] != NULL &&
		       (last[slot]->exit > order[i]->born - MS ||
			last[slot]->start_ticks + 2 >= order[i]->start_ticks)) {
			slot = (slot + 1) % PIDS;
			tried++;
		}
		order[i]->pid = tried < PIDS ? (uint32_t)(FIRST_PID + slot) : 1000 + (uint32_t)i;
		if (tried < PIDS)
			last[slot] = order[i];
	}
	free(order);
}

static int compare_packets(const void *left, const void *right)
{
	const struct model_packet *a = left, *b = right;

	return (a->at > b->at) - (a->at < b->at);
}

static int compare_acts(const void *left, const void *right)
{
	const struct model_act *a = left, *b = right;

	return (a->at > b->at) - (a->at < b->at);
}

void model_make(struct model_world *world, uint64_t seed)
{
	*world = (struct model_world){.seed = seed, .random = seed * 0x2545f4914f6cdd1dull};
	world->mode = (enum model_mode)(seed % MODEL_MODES);
	/* By number, as the mode is, so that each mode has its share. */
	world->is_busy = seed / MODEL_MODES % 5 == 1 || seed / MODEL_MODES % 5 == 2;
	world->until = model_between(world, 4 * SEC, 9 * SEC);
	world->miss_rate = model_chance(world, 0.3) ? 0.05 : 0;
	world->drop_rate = model_chance(world, 0.2) ? 0.05 : 0;
	make_jumps(world);
	model_make_traffic(world);
	number_processes(world);
	qsort(world->packets.items, world->packets.count, sizeof(*world->packets.items),
	      compare_packets);
	qsort(world->acts.items, world->acts.count, sizeof(*world->acts.items), compare_acts);
}

void model_free(struct model_world *world)
{
	free(world->processes.items);
	free(world->sockets.items);
	free(world->holds.items);
	free(world->packets.items);
	free(world->acts.items);
	free(world->jumps.items);
	*world = (struct model_world){0};
}

static void print_end(const struct endpoint *end)
{
	char text[ENDPOINT_TEXT_SIZE];

	printf(" %s:%u", endpoint_format(&end->address, text), end->port);
}

void model_print(const struct model_world *world)
{
	for (size_t i = 0; i < world->jumps.count; i++)
		printf("# clock %.6f: step %.6f suspended %.6f\n",
		       (double)world->jumps.items[i].at / 1e9,
		       (double)world->jumps.items[i].step / 1e9,
		       (double)world->jumps.items[i].suspend / 1e9);
	for (size_t i = 0; i < world->processes.count; i++) {
		const struct model_process *p = &world->processes.items[i];

		printf("# process %zu: pid %u start %" PRIu64 " parent %d born %.6f exit %.6f\n", i,
		       p->pid, p->start_ticks, p->parent, (double)p->born / 1e9,
		       p->exit == MODEL_NEVER ? 0 : (double)p->exit / 1e9);
	}
	for (size_t i = 0; i < world->sockets.count; i++) {
		const struct model_socket *s = &world->sockets.items[i];

		printf("# socket %zu: %s inode %u open %.6f connect %.6f named %.6f closed %.6f "
		       "gone "
		       "%.6f",
		       i, snap_table_name(s->table), s->inode, (double)s->open / 1e9,
		       (double)s->connect / 1e9, (double)s->named / 1e9, (double)s->closed / 1e9,
		       (double)s->gone / 1e9);
		print_end(&s->bound);
		print_end(&s->local);
		print_end(&s->remote);
		for (size_t k = 0; k < world->holds.count; k++) {
			const struct model_hold *h = &world->holds.items[k];

			if (h->socket == (int)i)
				printf(" [%d: %.6f-%.6f]", h->process, (double)h->from / 1e9,
				       (double)h->until / 1e9);
		}
		putchar('\n');
	}
}
