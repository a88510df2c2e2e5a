#include "analyze/walk.h"

_Thread_local uint64_t walk_steps;
